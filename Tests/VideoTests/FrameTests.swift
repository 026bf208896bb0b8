import Testing
import Video

@Suite struct SizeTests {
    @Test func parsesWidthAndHeight() {
        #expect(Size("64x48") == Size(width: 64, height: 48))
        #expect(Size("1x4096") == Size(width: 1, height: 4096))
        #expect(Size("64x48")?.description == "64x48")
        #expect(Size("640x480".dropLast(1)) == Size(width: 640, height: 48))
    }

    @Test(arguments: [
        "", "x", "64", "64x", "x64", "64x64x64", "64X64", "64 x64", " 64x64", "64x64\n", "-1x64", "+1x64", "0x64",
        "64x0",
        "4097x1", "1x4097", "00064x64", "99999999999999999999x1", "6٤x64", "64×64",
    ])
    func refusesAnythingElse(text: String) { #expect(Size(text) == nil) }

    @Test(arguments: [(0, 1), (1, 0), (-1, 1), (4097, 1), (1, .max), (Int.min, Int.min)])
    func hasLimits(width: Int, height: Int) { #expect(Size(width: width, height: height) == nil) }

    @Test(arguments: [
        ("640x640", "64x64"), ("640x480", "96x64"), ("480x640", "64x96"), ("4096x1", "96x64"), ("1x4096", "64x96"),
        ("600x500", "64x64"),
    ])
    func findsTheNearestShape(size: String, nearest: String) throws {
        let sizes = ["64x64", "96x64", "64x96", "128x128"].compactMap { Size($0) }
        #expect(try #require(Size(size)).nearest(of: sizes).description == nearest)
        #expect(Size(size)?.nearest(of: []).description == size)
    }
}

@Suite struct FrameTests {
    @Test func hashIsOfPixelsInOrder() {
        let size = Size(width: 2, height: 1)!
        let (a, b) = (Frame(size: size, pixels: Array("abcdef".utf8)), Frame(size: size, pixels: Array("ghijkl".utf8)))
        #expect(Frame.sha256(of: [a, b]) == SHA256.hash(Array("abcdefghijkl".utf8)))
        #expect(Frame.sha256(of: [b, a]) != Frame.sha256(of: [a, b]))
        #expect(Frame.sha256(of: []) == SHA256.hash([]))
    }
}
