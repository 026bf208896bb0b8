import Testing
import Video

@Suite struct ResamplingTests {
    private func size(_ width: Int, _ height: Int) throws -> Size { try #require(Size(width: width, height: height)) }

    private func frame(_ size: Size, _ value: (Int, Int) -> UInt8) -> Frame {
        var pixels: [UInt8] = []
        for y in 0..<size.height {
            for x in 0..<size.width { pixels += [value(x, y), 255 - value(x, y), 9] }
        }
        return Frame(size: size, pixels: pixels)
    }

    @Test func theSameSizeIsThePictureItself() throws {
        let picture = frame(try size(16, 12)) { x, y in UInt8(x * 16 ^ y) }
        #expect(picture.resampled(to: picture.size) == picture)
    }

    /// Weights sum to one everywhere: a plain picture stays what it is, to the bit.
    @Test(arguments: [(1, 1), (3, 200), (200, 3), (64, 64), (1000, 700), (4096, 5), (63, 65)])
    func plainPicturesStayPlain(width: Int, height: Int) throws {
        for grey: UInt8 in [0, 1, 127, 254, 255] {
            let small = frame(try size(width, height)) { _, _ in grey }.resampled(to: try size(64, 48))
            #expect(small == frame(try size(64, 48)) { _, _ in grey })
        }
    }

    @Test func theMiddleIsKept() throws {
        // Red outside the middle third, which is as high as the picture.
        let wide = frame(try size(96, 32)) { x, _ in (32..<64).contains(x) ? 200 : 10 }
        let small = wide.resampled(to: try size(16, 16))
        #expect(small == frame(try size(16, 16)) { _, _ in 200 })
        let high = frame(try size(32, 96)) { _, y in (32..<64).contains(y) ? 200 : 10 }
        #expect(high.resampled(to: try size(16, 16)) == small)
    }

    @Test func shrinkingAveragesAndEnlargingIsSmooth() throws {
        let checks = frame(try size(256, 256)) { x, y in (x + y) % 2 == 0 ? 255 : 0 }
        for value in checks.resampled(to: try size(16, 16)).pixels.enumerated() where value.offset % 3 == 0 {
            #expect((126...129).contains(value.element))
        }
        let ramp = frame(try size(4, 4)) { x, _ in UInt8(x * 80) }.resampled(to: try size(64, 64))
        let line = (0..<64).map { ramp.pixels[$0 * 3] }
        #expect(zip(line, line.dropFirst()).allSatisfy { $0 <= $1 && $1 - $0 <= 6 })
        #expect(line.first == 0 && line.last == 240)
    }
}
