import Testing
import Video

@testable import Media

@Suite struct UploadedVideoTests {
    private let frames = (0..<5).map { number in
        Frame(
            size: Size(width: 24, height: 10)!,
            pixels: (0..<24 * 10 * 3).map { UInt8(truncatingIfNeeded: 40 + number * 20 + $0 / 30) })
    }

    @Test func framesOfAY4MComeBack() throws {
        let video = try UploadedVideo(Y4M.write(frames, fps: 8))
        #expect(
            video.size == frames[0].size && video.count == 5 && video.count(at: 16) == 10 && video.count(at: 2) == 1)
        let back = try video.frames(at: 8, size: video.size)
        for (a, b) in zip(frames, back) { #expect(psnr(a.pixels, b.pixels) > 35) }
        // Twice as many: each twice; a quarter: the one in the middle of its time.
        #expect(try video.frames(at: 16, size: video.size) == back.flatMap { [$0, $0] })
        #expect(try video.frames(at: 2, size: video.size) == [back[2]])
        let small = Size(width: 12, height: 5)!
        #expect(try video.frames(at: 8, size: small).allSatisfy { $0.size == small })
    }

    @Test func damageIsRefusedOrReadButNeverMore() throws {
        let whole = [
            try Y4M.write(frames, fps: 8),
            try AVI.write(jpegs: frames.map { try JPEG.encode($0, quality: 90) }, size: frames[0].size, fps: 8),
        ]
        let seed = UInt64.random(in: 0 ... .max)
        var random = Sequence(state: seed)
        var (refused, taken) = (0, 0)
        for round in 0..<3000 {
            var bytes = whole[round % 2]
            if round % 3 == 0 {
                bytes = random.damaged(bytes)
            } else {
                for _ in 0...random.next(3) { bytes[random.next(60)] = UInt8(random.next(256)) }
            }
            do {
                _ = try UploadedVideo(bytes).frames(at: 8, size: Size(width: 16, height: 16)!, maximumPixels: 1 << 16)
                taken += 1
            } catch {
                refused += 1
            }
        }
        #expect(refused > 200 && taken > 100, "seed \(seed): \(refused) refused, \(taken) taken")
    }
}
