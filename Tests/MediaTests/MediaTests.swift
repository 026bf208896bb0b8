import Glibc
import Testing
import Video

@testable import Media

/// A ball that rolls over a gradient: smooth, so that codecs can be held to a figure.
private func clip(_ width: Int, _ height: Int, frames: Int) -> [Frame] {
    (0..<frames).map { index in
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                let (dx, dy) = (x - width * (index + 1) / (frames + 1), y - height / 2)
                let ball = exp(-Double(dx * dx + dy * dy) / Double(width * width / 16 + 1))
                for (near, far) in [(220, 60 + 120 * x / width), (40, 60 + 120 * y / height), (30, 140)] {
                    pixels.append(UInt8(ball * Double(near) + (1 - ball) * Double(far)))
                }
            }
        }
        return Frame(size: Size(width: width, height: height)!, pixels: pixels)
    }
}

private func psnr(_ a: [UInt8], _ b: [UInt8]) -> Double {
    let error = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
    return -10 * log10(max(error, 1e-9) / Double(a.count) / 65025)
}

@Suite struct JPEGTests {
    @Test func comesBackAlmostTheSame() throws {
        let frame = clip(65, 33, frames: 1)[0]
        let back = try JPEG.decode(try JPEG.encode(frame, quality: 95, subsampling: .full))
        #expect(back.size == frame.size)
        #expect(psnr(back.pixels, frame.pixels) > 35)
        let small = try JPEG.encode(frame, quality: 40)
        #expect(small.count < (try JPEG.encode(frame, quality: 95, subsampling: .full)).count)
    }

    @Test func looksAtTheSizeFirst() throws {
        let jpeg = try JPEG.encode(clip(64, 64, frames: 1)[0], quality: 90)
        #expect(throws: MediaError.tooLarge("a JPEG of 64x64; the limit is 100 pixels")) {
            try JPEG.decode(jpeg, maximumPixels: 100)
        }
    }

    @Test func survivesAnyBytes() throws {
        let jpeg = try JPEG.encode(clip(48, 32, frames: 1)[0], quality: 80)
        let seed = UInt64.random(in: 0 ... .max)
        var state = seed
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        var refused = 0
        for _ in 0..<2000 {
            var bytes = jpeg
            for _ in 0...random(8) { bytes[random(bytes.count)] = UInt8(random(256)) }
            if random(4) == 0 { bytes.removeLast(random(bytes.count)) }
            do { _ = try JPEG.decode(bytes, maximumPixels: 1 << 20) } catch { refused += 1 }
        }
        #expect(refused > 100, "seed \(seed)")
    }
}

@Suite struct ContainerTests {
    /// Decodes with ffmpeg to RGB frames.
    private func decoded(_ bytes: [UInt8], _ ending: String) throws -> [UInt8] {
        let path = "/tmp/filoscope-media-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer {
            unlink("\(path).\(ending)")
            unlink("\(path).rgb")
        }
        let file = fopen("\(path).\(ending)", "wb")
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
        let status = system("ffmpeg -v error -i \(path).\(ending) -f rawvideo -pix_fmt rgb24 \(path).rgb </dev/null")
        try #require(status == 0)
        let raw = try #require(fopen("\(path).rgb", "rb"))
        defer { fclose(raw) }
        var result = [UInt8](repeating: 0, count: 64 << 20)
        result.removeSubrange(fread(&result, 1, result.count, raw)...)
        return result
    }

    static let hasFFmpeg = system("command -v ffmpeg >/dev/null") == 0

    @Test(
        .enabled(if: hasFFmpeg, "ffmpeg is not installed"),
        arguments: [(64, 64, 17), (64, 64, 1), (16, 16, 5), (66, 34, 3), (640, 360, 3)])
    func ffmpegSeesTheSameFrames(width: Int, height: Int, count: Int) throws {
        let frames = clip(width, height, frames: count)
        let pixels = frames.flatMap(\.pixels)
        let jpegs = try frames.map { try JPEG.encode($0, quality: 95, subsampling: .full) }
        let files: [(String, [UInt8])] = [
            ("mp4", try MP4.write(frames, fps: 8)),
            ("avi", try AVI.write(jpegs: jpegs, size: frames[0].size, fps: 8)),
            ("y4m", try Y4M.write(frames, fps: 8)),
        ]
        for (ending, bytes) in files {
            let back = try decoded(bytes, ending)
            #expect(back.count == pixels.count, "\(ending)")
            if back.count == pixels.count { #expect(psnr(back, pixels) > 30, "\(ending)") }
        }
    }

    @Test(.enabled(if: hasFFmpeg, "ffmpeg is not installed")) func oddSidesAreRoundedUp() throws {
        let bytes = try MP4.write(clip(33, 17, frames: 2), fps: 8)
        #expect(try decoded(bytes, "mp4").count == 34 * 18 * 3 * 2)
    }

    /// Boxes nest without gaps, and the table's sizes add up to the data.
    @Test func boxesAreWhole() throws {
        let bytes = try MP4.write(clip(64, 64, frames: 9), fps: 8)
        func number(_ place: Int) -> Int { bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) } }
        var found: [String: (start: Int, end: Int)] = [:]
        func walk(_ start: Int, _ end: Int) {
            var place = start
            while place + 8 <= end {
                let name = String(decoding: bytes[place + 4..<place + 8], as: UTF8.self)
                found[name] = (place + 8, place + number(place))
                if ["moov", "trak", "mdia", "minf", "stbl"].contains(name) { walk(place + 8, place + number(place)) }
                place += number(place)
            }
            #expect(place == end)
        }
        walk(0, bytes.count)
        let sizes = try #require(found["stsz"]).start
        let data = try #require(found["mdat"])
        #expect(number(sizes + 8) == 9)
        let total = (0..<9).reduce(0) { $0 + number(sizes + 12 + 4 * $1) }
        #expect(total == data.end - data.start)
        #expect(number(try #require(found["stco"]).start + 8) == data.start)
    }

    @Test func refusesWhatCannotBe() {
        #expect(throws: MediaError.self) { try MP4.write([], fps: 8) }
        #expect(throws: MediaError.self) { try MP4.write(clip(8, 8, frames: 1), fps: 8) }
        #expect(throws: MediaError.self) {
            try MP4.write(clip(64, 64, frames: 1) + clip(64, 32, frames: 1), fps: 8)
        }
        #expect(throws: MediaError.self) { try AVI.write(jpegs: [], size: Size(width: 8, height: 8)!, fps: 8) }
    }

    @Test func sheetsHoldEveryFrame() throws {
        let frames = clip(8, 6, frames: 5)
        let sheet = try ContactSheet.make(frames)
        #expect(sheet.size == Size(width: 24, height: 12))
        for (index, frame) in frames.enumerated() {
            for y in 0..<6 {
                let start = ((index / 3 * 6 + y) * 24 + index % 3 * 8) * 3
                #expect(Array(sheet.pixels[start..<start + 24]) == Array(frame.pixels[y * 24..<(y + 1) * 24]))
            }
        }
    }
}
