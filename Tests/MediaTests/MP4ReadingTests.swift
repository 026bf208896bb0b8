import Glibc
import Testing
import Video

@testable import Media

@Suite struct MP4ReadingTests {
    /// `clip(96, 64, frames: 24)` at 12 frames a second by x264, with B-frames, after a sound track and with moov at the end:
    /// `ffmpeg -f lavfi -i sine=d=2:f=330 -i clip.y4m -map 0:a -map 1:v -c:v libx264
    /// -x264-params b-adapt=0:bframes=3:keyint=12:scenecut=0 -crf 16 -pix_fmt yuv420p -c:a aac -b:a 8k -ar 16000 -ac 1 x264.mp4`
    static let x264 = {
        let path = String(#filePath.dropLast("MediaTests/MP4ReadingTests.swift".count)) + "Goldens/mp4/x264.mp4"
        guard let file = fopen(path, "rb") else { return [UInt8]() }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 15)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        return bytes
    }()
    /// Of the video.
    private static let track = "moov/trak.1"
    private static let table = track + "/mdia/minf/stbl"

    private static func frames(_ bytes: [UInt8], at fps: Int, _ size: Size) throws -> [Frame] {
        try UploadedVideo(bytes).frames(at: fps, size: size)
    }

    private static func native(_ bytes: [UInt8]) throws -> [Frame] {
        let video = try UploadedVideo(bytes)
        return try video.frames(at: max(1, video.rate.frames / video.rate.seconds), size: video.size)
    }

    private static func refusal(_ bytes: [UInt8]) -> String? {
        do { _ = try native(bytes) } catch { return "\(error)" }
        return nil
    }

    @Test(arguments: [(64, 64, 17, 8), (16, 16, 1, 1), (66, 34, 5, 24), (176, 144, 3, 240), (65, 33, 2, 8)])
    func ourOwnFramesComeBack(width: Int, height: Int, count: Int, fps: Int) throws {
        let frames = clip(width, height, frames: count)
        let video = try UploadedVideo(MP4.write(frames, fps: fps))
        #expect(video.size == Size(width: width + width % 2, height: height + height % 2))
        #expect(video.count == count && video.count(at: fps) == count && video.rate == (fps, 1))
        let back = try video.frames(at: fps, size: video.size)
        try #require(back.count == count)
        for (index, (a, b)) in zip(frames, back).enumerated() {
            let lines = (0..<height).flatMap { b.pixels[$0 * b.size.width * 3..<($0 * b.size.width + width) * 3] }
            #expect(psnr(a.pixels, lines) > (width > 16 ? 35 : 30), "frame \(index)")
        }
    }

    @Test func anotherWritersFramesComeBackInTheirOrder() throws {
        let frames = clip(96, 64, frames: 24)
        let video = try UploadedVideo(Self.x264)
        #expect(video.size == frames[0].size && video.count == 24 && video.rate == (12, 1))
        let back = try video.frames(at: 12, size: video.size)
        try #require(back.count == 24)
        for (index, frame) in back.enumerated() {
            let near = frames.map { psnr($0.pixels, frame.pixels) }
            #expect(near[index] > 35, "frame \(index)")
            #expect(near.max() == near[index], "frame \(index)")
        }
    }

    /// The same are taken as of an AVI.
    @Test(arguments: [1, 2, 5, 8, 11, 12, 24, 30, 240]) func framesAreTakenInTheMiddleOfTheirTime(fps: Int) throws {
        let avi = try MediaFormat.avi.encode(clip(32, 32, frames: 12), fps: 12)
        let mp4 = try MP4.write(clip(32, 32, frames: 12), fps: 12)
        let (all, others) = (try Self.native(mp4), try Self.native(avi))
        let expected = try Self.frames(avi, at: fps, all[0].size).map { all[try #require(others.firstIndex(of: $0))] }
        #expect(try Self.frames(mp4, at: fps, all[0].size) == expected)
        #expect(try UploadedVideo(mp4).count(at: fps) == UploadedVideo(avi).count(at: fps))
    }

    /// Three frames of 1, 1 and 6 eighths of a second.
    @Test func framesOfDifferentLengthsAreShownThatLong() throws {
        let bytes = try Self.changed(MP4.write(clip(32, 32, frames: 3), fps: 8), "moov/trak.0/mdia/minf/stbl/stts") {
            $0 = [0, 0, 0, 0, 0, 0, 0, 2] + Self.big(2) + Self.big(1000) + Self.big(1) + Self.big(6000)
        }
        // The box grew by 8 bytes in front of the data.
        let shifted = Self.changed(bytes, "moov/trak.0/mdia/minf/stbl/stco") {
            Self.put(&$0, 8, Self.number($0, 8) + 8)
        }
        let video = try UploadedVideo(shifted)
        #expect(video.count(at: 8) == 8 && video.count == 3 && video.rate == (3, 1))
        let back = try video.frames(at: 8, size: video.size)
        #expect(back[0] != back[1] && back[1] != back[2] && back[2...].allSatisfy { $0 == back[2] })
    }

    @Test func aPieceThatIsEditedOutOfAFileIsRead() throws {
        let all = try Self.native(Self.x264)
        // 12288 ticks a second, 1000 of the film's; its own list begins at the first frame, 2048.
        func cut(_ entries: [(duration: Int, time: Int, speed: Int)], isLong: Bool = false) -> [UInt8] {
            Self.changed(Self.x264, Self.track + "/edts/elst") { list in
                list = [isLong ? 1 : 0, 0, 0, 0] + Self.big(entries.count)
                for entry in entries {
                    list += Self.big(entry.duration, isLong ? 8 : 4) + Self.big(entry.time, isLong ? 8 : 4)
                    list += Self.big(entry.speed)
                }
            }
        }
        let one = 0x10000
        for isLong in [false, true] {
            let part = cut([(500, 2048 + 3 * 1024, one)], isLong: isLong)
            #expect(try UploadedVideo(part).count == 6)
            #expect(try Self.native(part) == Array(all[3..<9]))
            #expect(try Self.native(cut([(700, -1, one), (500, 2048, one)], isLong: isLong)) == Array(all[..<6]))
            #expect(try Self.native(cut([(0, 2048 + 20 * 1024, one)], isLong: isLong)) == Array(all[20...]))
        }
        #expect(try Self.native(cut([(.max, 0, one)], isLong: true)) == all)
        #expect(try Self.native(cut([])) == all)
        #expect(
            Self.refusal(cut([(100, 2048, one), (100, 4096, one)])) == "an MP4 that is edited of several pieces")
        #expect(Self.refusal(cut([(100, 2048, one / 2)])) == "an MP4 that is edited to another speed")
        #expect(Self.refusal(cut([(100, 1 << 30, one)])) == "MP4: elst begins after the last frame")
    }

    /// As telephones write it.
    @Test func picturesAreTurnedAsTheFileSays() throws {
        let bytes = try MP4.write(clip(48, 32, frames: 2), fps: 8)
        let upright = try Self.native(bytes)[1]
        func turned(_ a: Int, _ b: Int, _ c: Int, _ d: Int) -> [UInt8] {
            Self.changed(bytes, "moov/trak.0/tkhd") { header in
                for (place, value) in [(40, a), (44, b), (52, c), (56, d)] { Self.put(&header, place, value << 16) }
            }
        }
        func pixel(_ frame: Frame, _ x: Int, _ y: Int) -> [UInt8] {
            let start = (y * frame.size.width + x) * 3
            return Array(frame.pixels[start..<start + 3])
        }
        let right = try Self.native(turned(0, 1, -1, 0))[1]
        let around = try Self.native(turned(-1, 0, 0, -1))[1]
        let left = try Self.native(turned(0, -1, 1, 0))[1]
        #expect(right.size == Size(width: 32, height: 48) && left.size == right.size && around.size == upright.size)
        for (x, y) in [(0, 0), (47, 0), (0, 31), (20, 9), (47, 31)] {
            let wanted = pixel(upright, x, y)
            #expect(pixel(right, 31 - y, x) == wanted)
            #expect(pixel(around, 47 - x, 31 - y) == wanted)
            #expect(pixel(left, y, 47 - x) == wanted)
        }
        #expect(Self.refusal(turned(-1, 0, 0, 1)) == "an MP4 that is mirrored or scaled by its tkhd")
    }

    @Test func coloursAreWhatTheFileSays() throws {
        for (isBT709, isFullRange, red) in [
            (false, false, (81, 90, 240)), (false, true, (76, 85, 255)), (true, false, (63, 102, 240)),
            (true, true, (54, 99, 255)),
        ] {
            let matrix = RGBMatrix(isBT709: isBT709, isFullRange: isFullRange)
            var rgb = [UInt8](repeating: 7, count: 9)
            matrix.convert(red.0, red.1, red.2, into: &rgb, at: 0)
            matrix.convert(isFullRange ? 255 : 235, 128, 128, into: &rgb, at: 3)
            matrix.convert(isFullRange ? 0 : 16, 128, 128, into: &rgb, at: 6)
            #expect(rgb[0] > 250 && rgb[1] < 5 && rgb[2] < 5 && rgb[3...] == [255, 255, 255, 0, 0, 0], "\(rgb)")
        }
        let bytes = try MP4.write(clip(32, 32, frames: 1), fps: 8)
        func format(_ colour: [UInt8]?) throws -> MP4.SampleFormat {
            try MP4.read(
                Self.changed(bytes, "moov/trak.0/mdia/minf/stbl/stsd/avc1/" + (colour == nil ? "avcC" : "colr")) {
                    if let colour { $0 = colour }
                }
            ).format
        }
        let nclx = Array("nclx".utf8)
        #expect(try format(nil).colour == RGBMatrix(isBT709: false, isFullRange: false))
        #expect(
            try format(nclx + [0, 1, 0, 1, 0, 1, 0x80]).colour == RGBMatrix(isBT709: true, isFullRange: true))
        #expect(
            try format(nclx + [0, 6, 0, 6, 0, 6, 0x80]).colour == RGBMatrix(isBT709: false, isFullRange: true))
        #expect(
            try format(Array("nclc".utf8) + [0, 1, 0, 1, 0, 1, 9]).colour
                == RGBMatrix(isBT709: true, isFullRange: false))
    }

    @Test(
        .enabled(if: Tool.hasFFmpeg, "ffmpeg is not installed"),
        arguments: [
            "-c:v libx264 -bf 0", "-c:v libx264 -profile:v baseline -g 4", "-c:v libx264 -bf 0 -movflags +faststart",
            "-c:v libx264 -bf 0 -x264-params slices=4:repeat-headers=1", "-c:v libx264 -bf 2 -f mov",
            "-c:v libx264 -bf 0 -vf scale=out_color_matrix=bt709:out_range=pc,format=yuv420p -color_range pc "
                + "-colorspace bt709",
        ])
    func ffmpegsFilesAreReadAsByItself(options: String) throws {
        let frames = clip(80, 48, frames: 10)
        let bytes = try Tool.run(
            "ffmpeg -v error -y -i $IN \(options) -pix_fmt yuv420p $IN.mp4 && cat $IN.mp4 && rm $IN.mp4",
            on: Y4M.write(frames, fps: 10), "y4m")
        let back = try Self.native(bytes)
        try #require(back.count == 10)
        let theirs = try Tool.frames(bytes, "mp4")
        try #require(theirs.count == 10 * 80 * 48 * 3)
        for (index, frame) in back.enumerated() {
            #expect(psnr(frame.pixels, Array(theirs[index * 11520..<(index + 1) * 11520])) > 35, "frame \(index)")
        }
    }

    @Test func whatIsNotReadIsNamed() throws {
        let own = try MP4.write(clip(32, 32, frames: 3), fps: 8)
        let stsd = Self.table + "/stsd"
        for (name, words) in [
            ("hvc1", "an MP4 of HEVC (hvc1); H.264 (avc1) is read"), ("av01", "an MP4 of AV1; H.264 (avc1) is read"),
            ("vp09", "an MP4 of VP9; H.264 (avc1) is read"), ("encv", "an encrypted MP4"),
            ("\u{7}\nab", "an MP4 of ??ab; H.264 (avc1) is read"),
        ] {
            #expect(
                Self.refusal(Self.changed(Self.x264, stsd) { $0.replaceSubrange(12..<16, with: name.utf8) }) == words)
        }
        #expect(
            Self.refusal(Self.changed(Self.x264, stsd) { Self.put(&$0, 4, 2) })
                == "an MP4 of 2 sample descriptions; one is read")
        #expect(
            Self.refusal(
                Self.changed(Self.x264, Self.track + "/mdia/hdlr") { $0.replaceSubrange(8..<12, with: "text".utf8) })
                == "MP4: no video track")
        #expect(
            Self.refusal(Array(own[..<28]))
                == "MP4: ftyp at byte 0 is longer than what holds it, or shorter than itself")
        #expect(Self.refusal(Self.changed(Self.x264, "moov") { $0 += Self.box("mvex", []) }) == "a fragmented MP4")
        #expect(Self.refusal(Self.x264 + Self.box("moof", [])) == "a fragmented MP4")
        #expect(Self.refusal(Self.box("ftyp", Array("isom".utf8))) == "MP4: no moov")
        #expect(
            Self.refusal(Self.changed(Self.x264, Self.table) { $0 += Self.box("stz2", []) })
                == "an MP4 with stz2; stsz is read")
        for name in ["mvhd", "trak.1/mdia/mdhd", "trak.1/tkhd", "trak.1/mdia/minf/stbl/stsc"] {
            let word = name.split(separator: "/").last!
            #expect(Self.refusal(Self.changed(Self.x264, "moov/" + name) { $0 = [] }) == "MP4: \(word) is cut short")
        }
        let avcC = stsd + "/avc1/avcC"
        #expect(
            Self.refusal(Self.changed(Self.x264, avcC) { $0[5] = 0xE2 })
                == "an MP4 of 2 sequence parameter sets; one is read")
        #expect(
            Self.refusal(Self.changed(Self.x264, avcC) { $0[9] = 110 })
                == "an MP4 of H.264 in profile 110; 66, 77 and 100 (Baseline, Main and High) are read")
        // Parameter sets in the frames may only be the ones that are known.
        let (start, length) = try Self.firstSample(own)
        var repeated = own
        repeated.replaceSubrange(start..<start + 4, with: Self.big(1) as [UInt8])
        repeated[start + 4] = 0x67
        repeated.replaceSubrange(start + 5..<start + 9, with: Self.big(length - 9) as [UInt8])
        #expect(Self.refusal(repeated) == "an MP4 whose parameter sets change")
    }

    /// A file may end where it ends, and not a byte before.
    @Test func aFileThatIsCutShortAnywhereIsRefused() throws {
        for whole in [try MP4.write(clip(32, 32, frames: 2), fps: 8), Self.x264] {
            #expect(throws: Never.self) { try UploadedVideo(whole) }
            for length in 0..<whole.count {
                #expect(throws: MediaError.self, "\(length)") { try UploadedVideo(Array(whole[..<length])) }
            }
        }
    }

    @Test func tablesThatLieAreRefused() throws {
        func stsz(_ place: Int, _ value: Int) -> String? {
            Self.refusal(Self.changed(Self.x264, Self.table + "/stsz") { Self.put(&$0, place, value) })
        }
        func table(_ name: String, _ numbers: [Int]) -> String? {
            Self.refusal(
                Self.changed(Self.x264, Self.table + "/" + name) {
                    $0 = [0, 0, 0, 0] + numbers.flatMap { Self.big($0) }
                })
        }
        #expect(stsz(8, 0) == "MP4: no frames")
        #expect(stsz(8, 100_001) == "an MP4 of 100001 frames; the limit is 100000")
        #expect(stsz(8, 0xFFFF_FFFF) == "an MP4 of 4294967295 frames; the limit is 100000")
        #expect(stsz(8, 25)?.contains("25 frames") == true)
        #expect(stsz(12, 0xFFFF_FFFF) == "MP4: frame 0 is not in the file")
        #expect(stsz(12, 0) == "MP4: frame 0 has no picture")
        #expect(stsz(12, 5) == "MP4: a NAL unit of frame 0 is longer than the frame")
        // All frames the same 8000 bytes: more to decode than was sent.
        #expect(table("stsz", [400, 24]) != nil)
        let stacked = Self.changed(Self.x264, Self.table + "/stco") {
            $0 = [0, 0, 0, 0] + ([24] + [Int](repeating: 48, count: 24)).flatMap { Self.big($0) }
        }
        let single = Self.changed(stacked, Self.table + "/stsc") {
            $0 = [0, 0, 0, 0] + [1, 1, 1, 1].flatMap { Self.big($0) }
        }
        #expect(
            Self.refusal(
                Self.changed(single, Self.table + "/stsz") { $0 = [0, 0, 0, 0] + Self.big(5000) + Self.big(24) })
                == "MP4: stsz is larger than the file")

        #expect(table("stco", [0xFFFF_FFFF]) == "MP4: stco is cut short")
        #expect(table("stco", [1, 0xFFFF_FFFF])?.hasPrefix("MP4: ") == true)
        #expect(table("stco", [24] + [Int](repeating: 0xFFFF_FFFF, count: 24)) == "MP4: frame 0 is not in the file")
        #expect(table("stco", [0]) == "MP4: stsc and stco place 0 of 24 frames")
        #expect(table("stsc", [0]) == "MP4: stsc is empty")
        #expect(table("stsc", [1, 2, 1, 1]) == "MP4: stsc does not begin at 1")
        #expect(table("stsc", [1, 1, 0, 1]) == "MP4: stsc has a chunk of no frames")
        #expect(table("stsc", [1, 1, 1, 2]) == "MP4: stsc names a sample description that is not there")
        #expect(table("stsc", [2, 1, 1, 1, 1, 1, 1]) == "MP4: stsc is out of order")
        #expect(table("stsc", [1, 1, 0xFFFF_FFFF, 1]) != nil)
        #expect(table("stsc", [0xFFFF_FFFF, 1, 1, 1]) == "MP4: stsc is cut short")

        #expect(table("stts", [1, 23, 1024]) == "MP4: stts has 23 of 24 frames")
        #expect(table("stts", [1, 25, 1024]) == "MP4: stts has more frames than stsz")
        #expect(table("stts", [1, 0xFFFF_FFFF, 1024]) == "MP4: stts has more frames than stsz")
        let own = try MP4.write(clip(32, 32, frames: 3), fps: 8)
        func lasting(_ ticks: Int) -> String? {
            Self.refusal(Self.changed(own, "moov/trak.0/mdia/minf/stbl/stts") { Self.put(&$0, 12, ticks) })
        }
        #expect(lasting(0) == "MP4: 3 frames in 0/8000 seconds; at most 240 a second are read")
        #expect(lasting(0xFFFF_FFFF) == "1610613 frames of 32x32 at 1 a second; the limit is 268435456 pixels")
        #expect(table("ctts", [1, 25, 0]) == "MP4: ctts has more frames than stsz")
        #expect(table("ctts", [1, 23, 0]) == "MP4: ctts has 23 of 24 frames")
        // Backwards: every frame but one is early.
        let backwards = [24] + (0..<24).flatMap { [1, 2048 * (24 - $0)] }
        #expect(table("ctts", backwards) == "MP4: frame 0 comes more than 16 frames late")
        #expect(
            Self.refusal(Self.changed(Self.x264, Self.track + "/mdia/mdhd") { Self.put(&$0, 12, 0) })
                == "MP4: mdhd has a timescale of 0")
        #expect(
            Self.refusal(Self.changed(Self.x264, Self.track + "/mdia/mdhd") { Self.put(&$0, 12, 12288 * 21) })
                == "MP4: 24 frames in 24576/258048 seconds; at most 240 a second are read")
    }

    @Test func longOffsetsAreRead() throws {
        var places: [UInt8] = []
        let moved = Self.changed(Self.x264, Self.table + "/stco") { places = $0 }
        #expect(moved == Self.x264)
        let count = Self.number(places, 4)
        let long = (0..<count).flatMap { Self.big(Self.number(places, 8 + 4 * $0), 8) }
        let renamed = Self.changed(Self.x264, Self.table) { table in
            table += Self.box("co64", [0, 0, 0, 0] + Self.big(count) + long)
        }
        let emptied = Self.changed(renamed, Self.table + "/stco") { $0 = [] }
        #expect(try Self.native(emptied) == Self.native(Self.x264))
        let far = Self.changed(emptied, Self.table + "/co64") { $0[8] = 0xFF }
        #expect(Self.refusal(far)?.hasPrefix("MP4: co64 says 18374686479671") == true)
        let beyond = Self.changed(emptied, Self.table + "/co64") { $0[8] = 0x7F }
        #expect(Self.refusal(beyond) == "MP4: frame 0 is not in the file")
    }

    /// Half of any frame is not a frame.
    @Test func brokenFramesAreErrors() throws {
        let contents = try MP4.read(Self.x264)
        for sample in contents.samples {
            var bytes = Self.x264
            // The last NAL unit is the picture; the bytes of its second half become those of a filler.
            var place = sample.range.lowerBound
            while place + 4 + Self.number(bytes, place) < sample.range.upperBound {
                place += 4 + Self.number(bytes, place)
            }
            let half = Self.number(bytes, place) / 2
            let rest = Self.number(bytes, place) - half - 4
            guard half > 4, rest > 0 else { continue }
            bytes.replaceSubrange(place..<place + 4, with: Self.big(half) as [UInt8])
            bytes.replaceSubrange(place + 4 + half..<place + 8 + half, with: Self.big(rest) as [UInt8])
            bytes[place + 8 + half] = 12
            #expect(throws: MediaError.self, "frame \(sample.number)") { try Self.native(bytes) }
        }
        // A unit may end where its frame ends, and not a byte later.
        let own = try MP4.write(clip(32, 32, frames: 2), fps: 8)
        for sample in try MP4.read(own).samples {
            var longer = own
            Self.put(&longer, sample.range.lowerBound, sample.range.count - 3)
            #expect(Self.refusal(longer) == "MP4: a NAL unit of frame \(sample.number) is longer than the frame")
        }
        // The decoder's own opinion.
        var torn = own
        let key = try MP4.read(own).samples[0].range
        for place in key.dropFirst(key.count / 3) { torn[place] = 0x55 }
        #expect(Self.refusal(torn)?.hasPrefix("libopenh264: error ") == true)
        // A start code inside would show the decoder other units.
        let (start, _) = try Self.firstSample(Self.x264)
        let picture = start + 4 + Self.number(Self.x264, start) + 4
        var bytes = Self.x264
        bytes.replaceSubrange(picture + 20..<picture + 24, with: [0, 0, 1, 0x67])
        #expect(Self.refusal(bytes) == "MP4: frame 0 has a start code inside")
    }

    @Test func looksAtTheSizeFirst() throws {
        let video = try UploadedVideo(Self.x264)
        #expect(throws: MediaError.tooLarge("24 frames of 96x64 at 12 a second; the limit is 147455 pixels")) {
            try video.frames(at: 12, size: video.size, maximumPixels: 24 * 96 * 64 - 1)
        }
        #expect(try video.frames(at: 12, size: video.size, maximumPixels: 24 * 96 * 64).count == 24)
        // One frame is wanted, but all may have to be decoded.
        #expect(throws: MediaError.tooLarge("an MP4 of 24 frames of 96x64; the limit is 147452 pixels")) {
            try video.frames(at: 1, size: video.size, maximumPixels: 6 * 96 * 64 - 1)
        }
        #expect(try video.frames(at: 1, size: video.size, maximumPixels: 6 * 96 * 64).count == 2)
    }

    @Test func parameterSetsBoundTheDecoder() throws {
        // Of x264: BT.709, and the same in the full range.
        let known: [UInt8] = [
            0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB2, 0x02, 0x83, 0xF6, 0x02, 0xD4, 0x04, 0x04, 0x05, 0x00, 0x00, 0x03, 0x00,
            0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0F, 0x14, 0x2A, 0x48,
        ]
        var set = try SequenceParameterSet(known)
        #expect(set.size == Size(width: 320, height: 240) && set.macroblocks == 300 && set.references == 3)
        #expect(set.isBT709 && !set.isFullRange)
        var full = known
        full[10] = 0xDC
        set = try SequenceParameterSet(full)
        #expect(set.isBT709 && set.isFullRange)
        for length in 1..<14 {
            #expect(throws: MediaError.malformed("H.264: the sequence parameter set is cut short"), "\(length)") {
                try SequenceParameterSet(Array(known[..<length]))
            }
        }
        func refusal(_ set: [UInt8]) -> String? {
            do { _ = try SequenceParameterSet(set) } catch { return "\(error)" }
            return nil
        }
        #expect(refusal(Self.parameterSet(columns: 6, rows: 4)) == nil)
        #expect(refusal(Self.parameterSet(columns: 256, rows: 144, references: 5)) == nil)
        #expect(
            refusal(Self.parameterSet(columns: 256, rows: 144, references: 6))
                == "an MP4 that wants 6 pictures of 4096x2304 kept; the limit is 16, and 184320 blocks of 16x16 of all")
        #expect(refusal(Self.parameterSet(columns: 1, rows: 1, references: 17))?.contains("17 pictures") == true)
        #expect(
            refusal(Self.parameterSet(columns: 256, rows: 145))
                == "an MP4 of 4096x2320; sides are 1 to 4096, and all of it at most 36864 blocks of 16x16")
        #expect(refusal(Self.parameterSet(columns: 257, rows: 1))?.hasPrefix("an MP4 of 4112x16;") == true)
        let most = (1 << 32) - 1
        #expect(refusal(Self.parameterSet(columns: most, rows: most))?.hasPrefix("an MP4 of 68719476720x") == true)
        #expect(refusal(Self.parameterSet(columns: 1 << 30, rows: 1, crop: (1 << 29) * 16 - 8)) != nil)
        #expect(refusal(Self.parameterSet(columns: 1, rows: 1, crop: 8)) == "H.264: all of the picture is cropped")
        #expect(refusal(Self.parameterSet(columns: 6, rows: 4, isProgressive: false)) == "an MP4 of interlaced H.264")
        #expect(
            refusal(Self.parameterSet(columns: 6, rows: 4, profile: 100, chroma: 2))
                == "an MP4 of H.264 that is not 4:2:0 in 8 bits")
        // In a file: before a decoder is made.
        let huge = Self.changed(Self.x264, Self.table + "/stsd/avc1/avcC") { configuration in
            let set = Self.parameterSet(columns: 4096, rows: 4096)
            let length = Self.number(configuration, 6, 2)
            configuration.replaceSubrange(6..<8 + length, with: Self.big(set.count, 2) + set)
        }
        #expect(
            Self.refusal(huge)
                == "an MP4 of 65536x65536; sides are 1 to 4096, and all of it at most 36864 blocks of 16x16")
    }

    @Test func survivesAnyBytes() throws {
        let own = try MP4.write(clip(32, 32, frames: 5), fps: 8)
        // Where the numbers are, and the pictures.
        let files = [(own, 32..<700), (Self.x264, Self.x264.count - 1500..<Self.x264.count), (own, own.indices)]
        var random = Sequence(state: 20)
        var (refused, taken) = (0, 0)
        let size = Size(width: 16, height: 16)!
        for round in 0..<2400 {
            var (bytes, place) = files[round % 3]
            for _ in 0...random.next(3) {
                bytes[place.lowerBound + random.next(place.count)] =
                    random.next(3) == 0 ? [0, 1, 0x7F, 0x80, 0xFF][random.next(5)] : UInt8(random.next(256))
            }
            if random.next(8) == 0 { bytes.removeLast(random.next(bytes.count)) }
            do {
                _ = try UploadedVideo(bytes).frames(at: 8, size: size, maximumPixels: 1 << 18)
                taken += 1
            } catch {
                refused += 1
            }
        }
        #expect(refused > 500 && taken > 200, "\(refused) refused, \(taken) taken")
    }
}

extension MP4ReadingTests {
    private static func number(_ bytes: [UInt8], _ place: Int, _ length: Int = 4) -> Int {
        bytes[place..<place + length].reduce(0) { $0 << 8 | Int($1) }
    }

    private static func big(_ value: Int, _ length: Int = 4) -> [UInt8] {
        (0..<length).map { UInt8(truncatingIfNeeded: value >> (8 * (length - 1 - $0))) }
    }

    private static func put(_ bytes: inout [UInt8], _ place: Int, _ value: Int) {
        bytes.replaceSubrange(place..<place + 4, with: big(value))
    }

    private static func box(_ name: String, _ contents: [UInt8]) -> [UInt8] {
        big(contents.count + 8) + Array(name.utf8) + contents
    }

    /// With the contents of one box changed, and the lengths of those around it. `a/b.1` is the second b in a.
    private static func changed(_ bytes: [UInt8], _ path: String, _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        let parts = path.split(separator: "/", maxSplits: 1)
        let step = parts[0].split(separator: ".")
        var skip = step.count > 1 ? Int(step[1])! : 0
        var result: [UInt8] = []
        var place = 0
        while place < bytes.count {
            let end = place + number(bytes, place)
            let name = String(decoding: bytes[place + 4..<place + 8], as: UTF8.self)
            var contents = Array(bytes[place + 8..<end])
            place = end
            if name == step[0] {
                if skip == 0 {
                    let head = ["stsd": 8, "avc1": 78][name] ?? 0
                    if parts.count == 1 {
                        change(&contents)
                    } else {
                        let inner = changed(Array(contents[head...]), String(parts[1]), change)
                        contents = Array(contents[..<head]) + inner
                    }
                }
                skip -= 1
            }
            result += box(name, contents)
        }
        return result
    }

    private static func firstSample(_ bytes: [UInt8]) throws -> (start: Int, length: Int) {
        let range = try MP4.read(bytes).samples[0].range
        return (range.lowerBound, range.count)
    }

    /// A sequence parameter set that says little.
    private static func parameterSet(
        columns: Int, rows: Int, references: Int = 1, crop: Int = 0, isProgressive: Bool = true, profile: Int = 66,
        chroma: Int = 1
    ) -> [UInt8] {
        var bits = ""
        func golomb(_ value: Int) {
            let code = String(value + 1, radix: 2)
            bits += String(repeating: "0", count: code.count - 1) + code
        }
        golomb(0)
        if profile == 100 {
            for value in [chroma, 0, 0] { golomb(value) }
            bits += "00"
        }
        for value in [0, 2, references] { golomb(value) }
        bits += "0"
        golomb(columns - 1)
        golomb(rows - 1)
        bits += (isProgressive ? "1" : "0") + "0" + (crop > 0 ? "1" : "0")
        if crop > 0 { for value in [crop, 0, 0, 0] { golomb(value) } }
        bits += "01"
        while bits.count % 8 != 0 { bits += "0" }
        var unit: [UInt8] = [0x67, UInt8(profile), 0, 52]
        var zeros = 0
        for start in stride(from: 0, to: bits.count, by: 8) {
            let byte = UInt8(bits.dropFirst(start).prefix(8), radix: 2)!
            if zeros >= 2, byte <= 3 {
                unit.append(3)
                zeros = 0
            }
            zeros = byte == 0 ? zeros + 1 : 0
            unit.append(byte)
        }
        return unit
    }
}
