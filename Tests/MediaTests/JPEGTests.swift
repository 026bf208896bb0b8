import Testing
import Video

@testable import Media

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
        var random = Sequence(state: seed)
        var refused = 0
        for _ in 0..<2000 {
            do { _ = try JPEG.decode(random.damaged(jpeg), maximumPixels: 1 << 20) } catch { refused += 1 }
        }
        #expect(refused > 100, "seed \(seed)")
    }
}
