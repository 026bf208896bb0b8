import Video

extension MP4 {
    /// What is read of one file at most.
    static let maximumBytes = 1 << 30

    /// What an MP4 of H.264 holds; the pictures are not decoded yet.
    struct Contents: Sendable {
        /// Where a frame's NAL units stand in the file, in the order in which they are decoded.
        struct Sample: Sendable, Equatable {
            var range: Range<Int>
            /// Its place among all frames in the order in which they are shown.
            var number: Int
        }

        var format: SampleFormat
        /// How many quarters the picture is turned clockwise before it is shown.
        var quarterTurns: Int
        var samples: [Sample]
        /// When each frame is shown, in ticks, ascending.
        fileprivate(set) var times: [Int]
        /// Ticks a second.
        fileprivate var timescale: Int
        /// What of the track is shown, in ticks.
        fileprivate var shown: Range<Int>
        /// Frames a second on the average, as a fraction.
        var rate: (frames: Int, seconds: Int)
        fileprivate var bytes: [UInt8]

        var size: Size {
            let size = format.parameters.size
            guard quarterTurns % 2 == 1 else { return size }
            return Size(width: size.height, height: size.width)!
        }

        /// Frames that are shown.
        var count: Int { lastNumber(at: shown.upperBound - 1) - lastNumber(at: shown.lowerBound) + 1 }

        /// Frames it has at `fps` a second: at least one.
        func count(at fps: Int) -> Int { max(1, (2 * shown.count * fps + timescale) / (2 * timescale)) }

        /// The number of the frame that is shown in the middle of frame `index` at `fps` a second.
        func source(_ index: Int, at fps: Int) -> Int {
            let time = shown.lowerBound + (2 * index + 1) * timescale / (2 * fps)
            return lastNumber(at: min(time, shown.upperBound - 1))
        }

        /// The last frame that does not begin after `time`.
        private func lastNumber(at time: Int) -> Int {
            var (low, high) = (0, times.count)
            while low < high {
                let middle = (low + high) / 2
                if times[middle] <= time { low = middle + 1 } else { high = middle }
            }
            return max(0, low - 1)
        }
    }

    /// Reads the first video track, which must be H.264; other tracks are passed over. `bytes` may come from anyone.
    static func read(_ bytes: [UInt8]) throws(MediaError) -> Contents {
        guard bytes.count <= maximumBytes else { throw .tooLarge("an MP4 of more than \(maximumBytes) bytes") }
        var boxes = Boxes(bytes: bytes, range: bytes.indices)
        var movie: Boxes?
        var isFragmented = false
        while let box = try boxes.next() {
            if box.name == "moov", movie == nil { movie = boxes.inside(box) }
            if box.name == "moof" { isFragmented = true }
        }
        guard let movie else { throw .malformed("MP4: no moov") }
        if try movie.first("mvex") != nil { isFragmented = true }
        guard !isFragmented else { throw .unsupported("a fragmented MP4") }
        var header = try movie.fields("mvhd")
        try header.skip(header.version() == 1 ? 16 : 8)
        let movieTimescale = try header.number(4)
        var tracks = movie
        while let box = try tracks.next() {
            guard box.name == "trak" else { continue }
            let track = tracks.inside(box)
            guard let media = try track.first("mdia"), let handler = try media.first("hdlr") else { continue }
            var fields = Fields(handler)
            try fields.skip(8)
            if try fields.text(4) == "vide" {
                return try contents(of: track, media, movieTimescale: movieTimescale)
            }
        }
        throw .malformed("MP4: no video track")
    }

    private static func contents(
        of track: Boxes, _ media: Boxes, movieTimescale: Int
    ) throws(MediaError) -> Contents {
        guard let table = try media.first("minf")?.first("stbl") else { throw .malformed("MP4: no stbl") }
        let format = try SampleFormat(description: table.fields("stsd"))
        var header = try media.fields("mdhd")
        try header.skip(header.version() == 1 ? 16 : 8)
        let timescale = try header.number(4)
        guard timescale > 0 else { throw .malformed("MP4: mdhd has a timescale of 0") }

        let ranges = try sampleRanges(table)
        let (times, end) = try sampleTimes(table, count: ranges.count)
        let order = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }
        var samples = ranges.map { Contents.Sample(range: $0, number: 0) }
        for (number, index) in order.enumerated() { samples[index].number = number }

        let start = times[order[0]]
        let (frames, seconds) = (times.count * timescale, end - start)
        guard seconds > 0, frames <= FrameLimits.rates.upperBound * seconds else {
            throw .malformed(
                "MP4: \(times.count) frames in \(max(seconds, 0))/\(timescale) seconds; at most "
                    + "\(FrameLimits.rates.upperBound) a second are read")
        }
        let divisor = greatestDivisor(frames, seconds)
        var shown = start..<end
        if let edits = try track.first("edts")?.first("elst") {
            shown = try edited(Fields(edits), shown, timescale: timescale, movieTimescale: movieTimescale)
        }
        return Contents(
            format: format, quarterTurns: try quarterTurns(track.fields("tkhd")), samples: samples,
            times: order.map { times[$0] }, timescale: timescale, shown: shown,
            rate: (frames / divisor, seconds / divisor), bytes: table.bytes)
    }

    private static func greatestDivisor(_ a: Int, _ b: Int) -> Int {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }

    /// Where each sample stands, by `stsz`, `stsc` and `stco`. All of them together are no longer than the file, so that
    /// what is decoded is bounded by what was sent.
    private static func sampleRanges(_ table: Boxes) throws(MediaError) -> [Range<Int>] {
        if try table.first("stz2") != nil { throw .unsupported("an MP4 with stz2; stsz is read") }
        var sizes = try table.fields("stsz")
        try sizes.skip(4)
        let commonSize = try sizes.number(4)
        let count = try sizes.number(4)
        guard count > 0 else { throw .malformed("MP4: no frames") }
        guard count <= FrameLimits.maximumFrames else {
            throw .tooLarge("an MP4 of \(count) frames; the limit is \(FrameLimits.maximumFrames)")
        }
        var runs = try table.fields("stsc")
        try runs.skip(4)
        var runsLeft = try runs.number(4)
        var nextRun = 1
        var perChunk = 0
        let isLong = try table.first("co64") != nil
        var offsets = try table.fields(isLong ? "co64" : "stco")
        try offsets.skip(4)
        let chunks = try offsets.number(4)

        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(count)
        var total = 0
        var chunk = 0
        while ranges.count < count {
            chunk += 1
            guard chunk <= chunks else {
                throw .malformed("MP4: stsc and stco place \(ranges.count) of \(count) frames")
            }
            if chunk == 1 || chunk == nextRun, runsLeft > 0 {
                let first = chunk == 1 ? try runs.number(4) : chunk
                guard first == chunk else { throw .malformed("MP4: stsc does not begin at 1") }
                perChunk = try runs.number(4)
                guard try runs.number(4) == 1 else {
                    throw .malformed("MP4: stsc names a sample description that is not there")
                }
                guard perChunk > 0 else { throw .malformed("MP4: stsc has a chunk of no frames") }
                runsLeft -= 1
                if runsLeft > 0 {
                    nextRun = try runs.number(4)
                    guard nextRun > chunk else { throw .malformed("MP4: stsc is out of order") }
                }
            }
            var place = try offsets.number(isLong ? 8 : 4)
            for _ in 0..<min(perChunk, count - ranges.count) {
                let length = commonSize > 0 ? commonSize : try sizes.number(4)
                guard place <= table.bytes.count, length <= table.bytes.count - place else {
                    throw .malformed("MP4: frame \(ranges.count) is not in the file")
                }
                total += length
                guard total <= table.bytes.count else { throw .malformed("MP4: stsz is larger than the file") }
                ranges.append(place..<place + length)
                place += length
            }
            guard perChunk > 0 else { throw .malformed("MP4: stsc is empty") }
        }
        return ranges
    }

    /// When each sample is shown, by `stts` and `ctts`, and when the last one ends.
    private static func sampleTimes(_ table: Boxes, count: Int) throws(MediaError) -> (times: [Int], end: Int) {
        var times: [Int] = []
        times.reserveCapacity(count)
        var durations: [Int] = []
        durations.reserveCapacity(count)
        var fields = try table.fields("stts")
        try fields.skip(4)
        var time = 0
        for _ in 0..<(try fields.number(4)) {
            let (run, duration) = (try fields.number(4), try fields.number(4))
            guard run <= count - times.count else { throw .malformed("MP4: stts has more frames than stsz") }
            for _ in 0..<run {
                times.append(time)
                durations.append(duration)
                time += duration
            }
        }
        guard times.count == count else { throw .malformed("MP4: stts has \(times.count) of \(count) frames") }
        if let box = try table.first("ctts") {
            var fields = Fields(box)
            try fields.skip(4)
            var index = 0
            for _ in 0..<(try fields.number(4)) {
                // Version 0 says unsigned, but negative offsets are written all the same.
                let (run, offset) = (try fields.number(4), Int(Int32(truncatingIfNeeded: try fields.number(4))))
                guard run <= count - index else { throw .malformed("MP4: ctts has more frames than stsz") }
                for _ in 0..<run {
                    times[index] += offset
                    index += 1
                }
            }
            guard index == count else { throw .malformed("MP4: ctts has \(index) of \(count) frames") }
        }
        var end = times[0]
        for (time, duration) in zip(times, durations) { end = max(end, time + duration) }
        return (times, end)
    }

    /// What an edit list leaves of `all`: one piece at its own speed. An empty edit before it only delays it.
    private static func edited(
        _ list: Fields, _ all: Range<Int>, timescale: Int, movieTimescale: Int
    ) throws(MediaError) -> Range<Int> {
        var list = list
        let isLong = try list.version() == 1
        var shown: Range<Int>?
        for _ in 0..<(try list.number(4)) {
            let duration = try list.number(isLong ? 8 : 4)
            let time: Int
            if isLong {
                time = try list.signed()
            } else {
                time = Int(Int32(truncatingIfNeeded: try list.number(4)))
            }
            let speed = try list.number(4)
            if time == -1 { continue }
            guard shown == nil else { throw .unsupported("an MP4 that is edited of several pieces") }
            guard speed == 0x10000 else { throw .unsupported("an MP4 that is edited to another speed") }
            guard movieTimescale > 0 else { throw .malformed("MP4: mvhd has a timescale of 0") }
            guard time < all.upperBound else { throw .malformed("MP4: elst begins after the last frame") }
            let start = max(all.lowerBound, time)
            // 0, and what is too long to be told, is all the rest.
            let (ticks, overflows) = duration.multipliedReportingOverflow(by: timescale)
            let length = ticks / movieTimescale
            let rest = all.upperBound - start
            shown = start..<start + (duration == 0 || overflows || length > rest ? rest : max(1, length))
        }
        return shown ?? all
    }

    /// From the matrix of `tkhd`.
    private static func quarterTurns(_ header: Fields) throws(MediaError) -> Int {
        var header = header
        try header.skip(header.version() == 1 ? 48 : 36)
        var matrix: [Int32] = []
        for _ in 0..<5 { matrix.append(Int32(truncatingIfNeeded: try header.number(4))) }
        let one: Int32 = 0x10000
        switch (matrix[0], matrix[1], matrix[3], matrix[4]) {
        case (one, 0, 0, one): return 0
        case (0, one, -one, 0): return 1
        case (-one, 0, 0, -one): return 2
        case (0, -one, one, 0): return 3
        default: throw .unsupported("an MP4 that is mirrored or scaled by its tkhd")
        }
    }
}

extension MP4.Contents {
    /// The slices of a frame, each behind a start code. All else is left out, so that nothing of a frame changes what
    /// the decoder was told before it.
    func slices(of sample: Sample) throws(MediaError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(sample.range.count + 16)
        var place = sample.range.lowerBound
        let end = sample.range.upperBound
        while place < end {
            guard end - place >= format.lengthBytes else { throw cut(sample) }
            var length = 0
            for byte in bytes[place..<place + format.lengthBytes] { length = length << 8 | Int(byte) }
            place += format.lengthBytes
            guard length <= end - place else { throw cut(sample) }
            let unit = bytes[place..<place + length]
            place += length
            guard let first = unit.first else { continue }
            switch first & 0x1F {
            case 1, 5:
                guard let whole = H264.withoutTrailingZeros(unit) else {
                    throw .malformed("MP4: frame \(sample.number) has a start code inside")
                }
                result += H264.startCode
                result += whole
            case 2, 3, 4: throw .unsupported("an MP4 of H.264 in data partitions")
            case 7, 8:
                // Some writers repeat them before every key frame.
                guard format.parameterSets.contains(where: { $0.elementsEqual(unit) }) else {
                    throw .unsupported("an MP4 whose parameter sets change")
                }
            default: break
            }
        }
        guard !result.isEmpty else { throw .malformed("MP4: frame \(sample.number) has no picture") }
        return result
    }

    private func cut(_ sample: Sample) -> MediaError {
        .malformed("MP4: a NAL unit of frame \(sample.number) is longer than the frame")
    }
}
