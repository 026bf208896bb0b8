import Video

extension AVI {
    /// What an AVI of Motion JPEG holds; the pictures are not looked into yet.
    public struct Contents: Sendable, Equatable {
        public var size: Size
        /// Frames a second.
        public var fps: Int
        /// One JPEG each, in order.
        public var jpegs: [[UInt8]]

        public init(size: Size, fps: Int, jpegs: [[UInt8]]) {
            self.size = size
            self.fps = fps
            self.jpegs = jpegs
        }

        func frame(_ index: Int) throws(MediaError) -> Frame {
            let frame = try JPEG.decode(jpegs[index], maximumPixels: size.pixels)
            guard frame.size == size else {
                throw .malformed("AVI: frame \(index) is \(frame.size) in a video of \(size)")
            }
            return frame
        }

        /// - Parameter maximumPixels: of all frames together; looked at before anything is decoded.
        public func frames(maximumPixels: Int) throws(MediaError) -> [Frame] {
            guard jpegs.count <= maximumPixels / size.pixels else {
                throw .tooLarge("an AVI of \(jpegs.count) frames of \(size); the limit is \(maximumPixels) pixels")
            }
            var frames: [Frame] = []
            for index in jpegs.indices { frames.append(try frame(index)) }
            return frames
        }
    }

    /// Reads the first video stream, which must be Motion JPEG at a whole number of frames a second. Other streams and
    /// unknown chunks are passed over; the index is not needed. `bytes` may come from anyone.
    public static func read(_ bytes: [UInt8]) throws(MediaError) -> Contents {
        guard bytes.count <= maximumBytes else { throw .tooLarge("an AVI of more than \(maximumBytes) bytes") }
        var outer = Chunks(bytes: bytes, range: bytes.indices)
        guard let riff = try outer.next(), riff.name == code("RIFF"), riff.form == code("AVI ") else {
            throw .malformed("AVI: it does not begin with RIFF and AVI")
        }
        var chunks = Chunks(bytes: bytes, range: riff.contents)
        var stream: Stream?
        var jpegs: [[UInt8]] = []
        while let chunk = try chunks.next() {
            guard chunk.name == code("LIST") else { continue }
            if chunk.form == code("hdrl"), stream == nil {
                stream = try videoStream(Chunks(bytes: bytes, range: chunk.contents))
            } else if chunk.form == code("movi") {
                guard let stream else { throw .malformed("AVI: frames before the header") }
                try collect(Chunks(bytes: bytes, range: chunk.contents), stream.dataNames, &jpegs)
            }
        }
        guard let stream else { throw .malformed("AVI: no header") }
        guard !jpegs.isEmpty else { throw .malformed("AVI: no frames") }
        return Contents(size: stream.size, fps: stream.fps, jpegs: jpegs)
    }

    private struct Stream {
        var size: Size
        var fps: Int
        /// `00dc`, `00db` for stream 0.
        var dataNames: [UInt32]
    }

    private static func videoStream(_ header: Chunks) throws(MediaError) -> Stream {
        var header = header
        var number: UInt32 = 0
        while let list = try header.next() {
            guard list.name == code("LIST"), list.form == code("strl") else { continue }
            var parts = Chunks(bytes: header.bytes, range: list.contents)
            if let strh = try parts.next(), strh.name == code("strh"), strh.contents.count >= 28,
                parts.number(strh.contents.lowerBound) == code("vids")
            {
                guard let strf = try parts.next(), strf.name == code("strf"), strf.contents.count >= 20 else {
                    throw .malformed("AVI: a video stream without a format")
                }
                let start = strf.contents.lowerBound
                guard parts.number(start + 16) == code("MJPG") else { throw .malformed("AVI: not Motion JPEG") }
                let (width, height) = (Int(parts.number(start + 4)), Int(parts.number(start + 8)))
                guard let size = Size(width: width, height: height) else {
                    throw .tooLarge("an AVI of \(width)x\(height); sides are 1 to \(Size.maximumSide)")
                }
                let scale = parts.number(strh.contents.lowerBound + 20)
                let rate = parts.number(strh.contents.lowerBound + 24)
                guard scale > 0, rate % scale == 0, FrameLimits.rates.contains(Int(rate / scale)) else {
                    throw .malformed(
                        "AVI: \(rate)/\(scale) frames a second; it must be a whole number, "
                            + "\(FrameLimits.rates.lowerBound) to \(FrameLimits.rates.upperBound)")
                }
                // The name of a chunk of data begins with its stream's number in two digits.
                let digits = (0x30 + number / 10) | (0x30 + number % 10) << 8
                return Stream(
                    size: size, fps: Int(rate / scale),
                    dataNames: [digits | code("  dc") & 0xFFFF_0000, digits | code("  db") & 0xFFFF_0000])
            }
            number += 1
            guard number < 100 else { throw .tooLarge("an AVI of 100 streams or more") }
        }
        throw .malformed("AVI: no video stream")
    }

    private static func collect(
        _ chunks: Chunks, _ names: [UInt32], _ jpegs: inout [[UInt8]]
    ) throws(MediaError) {
        var chunks = chunks
        while let chunk = try chunks.next() {
            if chunk.name == code("LIST"), chunk.form == code("rec ") {
                var records = Chunks(bytes: chunks.bytes, range: chunk.contents)
                while let record = try records.next() { try take(record, of: chunks.bytes, names, &jpegs) }
            } else {
                try take(chunk, of: chunks.bytes, names, &jpegs)
            }
        }
    }

    private static func take(
        _ chunk: Chunks.Chunk, of bytes: [UInt8], _ names: [UInt32], _ jpegs: inout [[UInt8]]
    ) throws(MediaError) {
        guard names.contains(chunk.name) else { return }
        guard jpegs.count < FrameLimits.maximumFrames else {
            throw .tooLarge("an AVI of more than \(FrameLimits.maximumFrames) frames")
        }
        guard chunk.contents.isEmpty else { return jpegs.append(Array(bytes[chunk.contents])) }
        // An empty chunk shows the frame before it once more; writers use it to keep the rate.
        guard let last = jpegs.last else { throw .malformed("AVI: the first frame is empty") }
        jpegs.append(last)
    }

    /// A chunk's name as it reads in little-endian order.
    private static func code(_ name: StaticString) -> UInt32 {
        name.withUTF8Buffer { $0.reversed().reduce(0) { $0 << 8 | UInt32($1) } }
    }

    /// Chunks one after another, each inside `range`.
    private struct Chunks {
        struct Chunk {
            var name: UInt32
            /// What a RIFF or LIST holds; 0 for others.
            var form: UInt32
            /// Without name, length and form.
            var contents: Range<Int>
        }

        let bytes: [UInt8]
        var range: Range<Int>

        func number(_ place: Int) -> UInt32 {
            bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }

        /// `nil` at the end.
        mutating func next() throws(MediaError) -> Chunk? {
            guard !range.isEmpty else { return nil }
            guard range.count >= 8 else { throw .malformed("AVI: half a chunk at byte \(range.lowerBound)") }
            let name = number(range.lowerBound)
            let length = Int(number(range.lowerBound + 4))
            var start = range.lowerBound + 8
            guard length <= range.upperBound - start else {
                throw .malformed("AVI: a chunk at byte \(range.lowerBound) is longer than what holds it")
            }
            let end = start + length
            range = min(end + length % 2, range.upperBound)..<range.upperBound
            var form: UInt32 = 0
            if name == code("RIFF") || name == code("LIST") {
                guard length >= 4 else { throw .malformed("AVI: a list of \(length) bytes") }
                form = number(start)
                start += 4
            }
            return Chunk(name: name, form: form, contents: start..<end)
        }
    }
}
