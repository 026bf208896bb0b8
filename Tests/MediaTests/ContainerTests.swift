import Testing
import Video

@testable import Media

@Suite struct ContainerTests {
    @Test(
        .enabled(if: Tool.hasFFmpeg, "ffmpeg is not installed"),
        arguments: [(64, 64, 17), (64, 64, 1), (16, 16, 5), (66, 34, 3), (1280, 720, 2)])
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
            let facts = try Tool.facts(bytes, ending)
            let expected = [
                "width=\(width)", "height=\(height)", "r_frame_rate=8/1", "avg_frame_rate=8/1",
                "nb_read_frames=\(count)",
            ]
            #expect(facts.isSuperset(of: expected), "\(ending): \(facts)")
            let back = try Tool.frames(bytes, ending)
            #expect(back.count == pixels.count, "\(ending)")
            if back.count == pixels.count { #expect(psnr(back, pixels) > 30, "\(ending)") }
        }
    }

    /// 4:2:0 has no odd sides; the picture keeps its place and the edge is repeated.
    @Test(.enabled(if: Tool.hasFFmpeg, "ffmpeg is not installed"), arguments: [(65, 33), (33, 64), (17, 17)])
    func oddSidesAreRoundedUp(width: Int, height: Int) throws {
        let frames = clip(width, height, frames: 3)
        let (wide, high) = (width + width % 2, height + height % 2)
        for (ending, bytes) in [("mp4", try MP4.write(frames, fps: 8)), ("y4m", try Y4M.write(frames, fps: 8))] {
            let back = try Tool.frames(bytes, ending)
            try #require(back.count == wide * high * 3 * 3)
            let lines = (0..<3 * high).filter { $0 % high < height }
            let cut = lines.flatMap { (line: Int) -> ArraySlice<UInt8> in
                let start = line * wide * 3
                return back[start..<start + width * 3]
            }
            #expect(psnr(cut, frames.flatMap(\.pixels)) > 30, "\(ending)")
        }
        let avi = try MediaFormat.avi.encode(frames, fps: 8)
        #expect(try Tool.facts(avi, "avi").isSuperset(of: ["width=\(width)", "height=\(height)"]))
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
        // moov stands before mdat; every eighth frame is a key frame: 1 and 9.
        #expect(try #require(found["moov"]).start < data.start)
        let keys = try #require(found["stss"]).start
        #expect([number(keys + 4), number(keys + 8), number(keys + 12)] == [2, 1, 9])
        // Each sample is NAL units with their lengths before them, to the byte.
        var place = data.start
        for index in 0..<9 {
            let end = place + number(sizes + 12 + 4 * index)
            while place + 4 < end { place += 4 + number(place) }
            #expect(place == end, "sample \(index)")
        }
    }

    @Test func refusesWhatCannotBe() {
        let frame = clip(64, 64, frames: 1)
        for format in MediaFormat.allCases {
            #expect(throws: MediaError.frames("a video needs a frame")) { try format.encode([], fps: 8) }
            #expect(throws: MediaError.frames("frames of 64x64 and 64x32 in one video; they must be of one size")) {
                try format.encode(frame + clip(64, 32, frames: 1), fps: 8)
            }
        }
        for fps in [Int.min, -1, 0, 241, .max] {
            for format in [MediaFormat.mp4, .avi, .y4m] {
                #expect(throws: MediaError.frames("fps is \(fps); it must be 1 to 240")) {
                    try format.encode(frame, fps: fps)
                }
            }
        }
        #expect(throws: MediaError.frames("H.264 needs at least 16 pixels a side, not 8x64")) {
            try MP4.write(clip(8, 64, frames: 1), fps: 8)
        }
        let largest = Size(width: Size.maximumSide, height: Size.maximumSide)!
        #expect(throws: MediaError.codec("libopenh264", reason: "it does not take 4096x4096 at 8 frames a second")) {
            try MP4.write([Frame(size: largest, pixels: [UInt8](repeating: 0, count: largest.pixels * 3))], fps: 8)
        }
    }

    @Test func sameFramesSameBytes() throws {
        let frames = clip(48, 32, frames: 4)
        for format in MediaFormat.allCases {
            #expect(try format.encode(frames, fps: 12) == format.encode(frames, fps: 12), "\(format)")
        }
    }
}
