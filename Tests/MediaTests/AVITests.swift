import Testing
import Video

@testable import Media

@Suite struct AVITests {
    private static func jpegs(_ frames: [Frame]) throws -> [[UInt8]] {
        try frames.map { try JPEG.encode($0, quality: 95, subsampling: .full) }
    }

    @Test(arguments: [(64, 64, 17, 8), (65, 33, 1, 24), (16, 16, 5, 240), (1, 1, 2, 1)])
    func readsWhatItWrites(width: Int, height: Int, count: Int, fps: Int) throws {
        let frames = clip(width, height, frames: count)
        let jpegs = try Self.jpegs(frames)
        let contents = try AVI.read(AVI.write(jpegs: jpegs, size: frames[0].size, fps: fps))
        #expect(contents == AVI.Contents(size: frames[0].size, fps: fps, jpegs: jpegs))
        let back = try contents.frames(maximumPixels: width * height * count)
        #expect(back.count == count)
        #expect(psnr(back.flatMap(\.pixels), frames.flatMap(\.pixels)) > 35)
    }

    /// ffmpeg writes chunks of its own between ours, and a sound stream before the video.
    @Test(.enabled(if: Tool.hasFFmpeg, "ffmpeg is not installed")) func readsWhatOthersWrite() throws {
        let frames = clip(64, 48, frames: 9)
        let bytes = try Tool.run(
            // To a file: ffmpeg goes back to fill in the lengths.
            "ffmpeg -v error -y -f lavfi -i sine=d=1 -i $IN -map 0:a -map 1:v -c:v mjpeg -q:v 2 -pix_fmt yuvj444p "
                + "$IN.avi && cat $IN.avi && rm $IN.avi",
            on: Y4M.write(frames, fps: 12), "y4m")
        let contents = try AVI.read(bytes)
        #expect(contents.size == frames[0].size)
        #expect(contents.fps == 12)
        // ffmpeg may repeat a frame to keep the rate.
        let back = try contents.frames(maximumPixels: 1 << 20).reduce(into: [Frame]()) {
            if $0.last != $1 { $0.append($1) }
        }
        try #require(back.count == 9)
        #expect(psnr(back.flatMap(\.pixels), frames.flatMap(\.pixels)) > 30)
    }

    @Test func emptyChunksRepeatTheFrameBefore() throws {
        let size = Size(width: 8, height: 8)!
        let bytes = try AVI.write(jpegs: [[1, 2], [], [], [3, 4]], size: size, fps: 8)
        #expect(try AVI.read(bytes).jpegs == [[1, 2], [1, 2], [1, 2], [3, 4]])
        #expect(throws: MediaError.malformed("AVI: the first frame is empty")) {
            try AVI.read(AVI.write(jpegs: [[], [1, 2]], size: size, fps: 8))
        }
    }

    @Test func looksAtTheSizeFirst() throws {
        let frames = clip(32, 32, frames: 3)
        let contents = try AVI.read(AVI.write(jpegs: Self.jpegs(frames), size: frames[0].size, fps: 8))
        #expect(throws: MediaError.tooLarge("an AVI of 3 frames of 32x32; the limit is 3071 pixels")) {
            try contents.frames(maximumPixels: 3071)
        }
        #expect(try contents.frames(maximumPixels: 3072).count == 3)
    }

    @Test func framesMustHaveTheVideosSize() throws {
        let jpegs = try Self.jpegs(clip(32, 32, frames: 1) + clip(16, 32, frames: 1))
        let contents = try AVI.read(AVI.write(jpegs: jpegs, size: Size(width: 32, height: 32)!, fps: 8))
        #expect(throws: MediaError.malformed("AVI: frame 1 is 16x32 in a video of 32x32")) {
            try contents.frames(maximumPixels: 1 << 20)
        }
    }

    @Test func namesWhatIsWrong() throws {
        let frames = clip(16, 16, frames: 2)
        let whole = try AVI.write(jpegs: Self.jpegs(frames), size: frames[0].size, fps: 8)
        func changed(_ place: Int, _ bytes: [UInt8]) -> [UInt8] {
            var copy = whole
            copy.replaceSubrange(place..<place + bytes.count, with: bytes)
            return copy
        }
        func refusal(_ bytes: [UInt8]) -> String? {
            do { _ = try AVI.read(bytes) } catch { return "\(error)" }
            return nil
        }
        #expect(refusal(whole) == nil)
        #expect(refusal([]) == "AVI: it does not begin with RIFF and AVI")
        #expect(refusal([1, 2, 3]) == "AVI: half a chunk at byte 0")
        #expect(refusal(changed(8, Array("WAVE".utf8))) == "AVI: it does not begin with RIFF and AVI")
        #expect(refusal(changed(4, [255, 255, 255, 255])) == "AVI: a chunk at byte 0 is longer than what holds it")
        // strh begins at 108: scale, rate; strf at 172: width, height, compression.
        #expect(refusal(changed(128, [0, 0, 0, 0]))?.contains("8/0 frames a second") == true)
        #expect(refusal(changed(128, [3, 0, 0, 0]))?.contains("8/3 frames a second") == true)
        #expect(refusal(changed(132, [0, 0, 0, 0]))?.contains("0/1 frames a second") == true)
        #expect(refusal(changed(176, [255, 255, 255, 255])) == "an AVI of 4294967295x16; sides are 1 to 4096")
        #expect(refusal(changed(188, Array("H264".utf8))) == "AVI: not Motion JPEG")
    }

    /// A chunk may end where what holds it ends, and not a byte later, at every depth.
    @Test func chunksStayInsideWhatHoldsThem() throws {
        let frames = clip(16, 16, frames: 2)
        let whole = try AVI.write(jpegs: Self.jpegs(frames), size: frames[0].size, fps: 8)
        func number(_ place: Int) -> Int { whole[place..<place + 4].reversed().reduce(0) { $0 << 8 | Int($1) } }
        // RIFF; hdrl, movi and idx1 in it; strl in hdrl; strh and strf in strl; the frames in movi.
        let movi = 20 + number(16)
        let index = movi + 8 + number(movi + 4)
        let last = movi + 12 + 8 + number(movi + 16) + number(movi + 16) % 2
        for (name, chunk, end) in [
            ("RIFF", 0, whole.count), ("hdrl", 12, whole.count), ("strl", 88, movi), ("strh", 100, movi),
            ("strf", 164, movi), ("movi", movi, whole.count), ("00dc", last, index), ("idx1", index, whole.count),
        ] {
            let most = end - chunk - 8
            for length in [most + 1, most + 2, most + 8, most + 9] {
                var bytes = whole
                for byte in 0..<4 { bytes[chunk + 4 + byte] = UInt8(truncatingIfNeeded: length >> (8 * byte)) }
                #expect(
                    throws: MediaError.malformed("AVI: a chunk at byte \(chunk) is longer than what holds it"),
                    "\(name)"
                ) { try AVI.read(bytes) }
            }
        }
    }

    @Test func survivesAnyBytes() throws {
        let frames = clip(24, 16, frames: 3)
        let whole = try AVI.write(jpegs: Self.jpegs(frames), size: frames[0].size, fps: 8)
        let seed = UInt64.random(in: 0 ... .max)
        var random = Sequence(state: seed)
        var (refused, taken) = (0, 0)
        for round in 0..<4000 {
            var bytes = whole
            if round % 2 == 0 {
                bytes = random.damaged(whole)
            } else {
                // The header's lengths and numbers, where damage does most.
                for _ in 0...random.next(3) { bytes[random.next(230)] = UInt8(random.next(256)) }
            }
            do {
                _ = try AVI.read(bytes).frames(maximumPixels: 1 << 16)
                taken += 1
            } catch {
                refused += 1
            }
        }
        #expect(refused > 500 && taken > 100, "seed \(seed): \(refused) refused, \(taken) taken")
    }
}
