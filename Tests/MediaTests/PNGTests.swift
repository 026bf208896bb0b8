import Testing
import Video

@testable import Media

@Suite struct PNGTests {
    let frame: Frame

    init() throws {
        let size = try #require(Size(width: 33, height: 21))
        frame = Frame(size: size, pixels: (0..<size.pixels * 3).map { UInt8(truncatingIfNeeded: $0 &* 37) })
    }

    @Test func comesBackAsItWas() throws {
        let png = try PNG.encode(frame)
        #expect(Picture.kind(of: png) == .png)
        #expect(try PNG.decode(png) == frame)
        #expect(try Picture.decode(png) == frame)
    }

    @Test func whatIsTransparentLiesOnWhite() throws {
        // 1x1, RGBA (255, 0, 0, 0), made by hand: stored blocks need no compressor.
        let picture = try Picture.decode(grayAlphaPNG(gray: 0, alpha: 0))
        #expect(picture.pixels == [255, 255, 255])
        #expect(try Picture.decode(grayAlphaPNG(gray: 7, alpha: 255)).pixels == [7, 7, 7])
    }

    @Test func damageIsRefused() throws {
        let png = try PNG.encode(frame)
        for end in [0, 7, 8, 20, 33, png.count / 2, png.count - 13] {
            #expect(throws: MediaError.self, "\(end) of \(png.count) bytes") { try Picture.decode(Array(png[..<end])) }
        }
        for place in stride(from: 29, to: png.count - 12, by: 5) {
            var damaged = png
            damaged[place] ^= 0x55
            #expect(throws: MediaError.self, "byte \(place)") { try Picture.decode(damaged) }
        }
    }

    @Test func sizesAreBoundedBeforeDecoding() throws {
        let error = #expect(throws: MediaError.self) { try PNG.decode(PNG.encode(frame), maximumPixels: 600) }
        #expect(error == .tooLarge("a PNG of 33x21; the limit is 600 pixels"))
        // A header that promises 60,000 by 60,000 pixels, and nothing behind it.
        for (width, height) in [(60_000, 60_000), (4097, 1), (1 << 30, 1)] as [(UInt32, UInt32)] {
            let bomb = pngHeader(width: width, height: height, colour: 2) + pngChunk("IDAT", [0x78, 0x9C])
            let error = #expect(throws: MediaError.self) { try Picture.decode(bomb) }
            if width < 1 << 20 {
                #expect("\(try #require(error))".contains("\(width)x\(height)"), "\(String(describing: error))")
            }
        }
    }

    @Test func otherFilesAreUnsupported() {
        for bytes in [[], Array("GIF89a".utf8), Array("RIFF....WEBP".utf8), [0xFF, 0xD8], [0x89, 0x50]] as [[UInt8]] {
            #expect(throws: MediaError.unsupported("neither a JPEG nor a PNG")) { try Picture.decode(bytes) }
        }
    }

    private func grayAlphaPNG(gray: UInt8, alpha: UInt8) -> [UInt8] {
        let row: [UInt8] = [0, gray, alpha]
        var (a, b): (UInt32, UInt32) = (1, 0)
        for byte in row {
            a = (a + UInt32(byte)) % 65521
            b = (b + a) % 65521
        }
        let stored: [UInt8] = [0x78, 0x01, 1, 3, 0, 0xFC, 0xFF] + row + bigEndian(b << 16 | a)
        return pngHeader(width: 1, height: 1, colour: 4) + pngChunk("IDAT", stored) + pngChunk("IEND", [])
    }

    private func pngHeader(width: UInt32, height: UInt32, colour: UInt8) -> [UInt8] {
        [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + pngChunk("IHDR", bigEndian(width) + bigEndian(height) + [8, colour, 0, 0, 0])
    }

    private func pngChunk(_ name: String, _ contents: [UInt8]) -> [UInt8] {
        let body = Array(name.utf8) + contents
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in body {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        return bigEndian(UInt32(contents.count)) + body + bigEndian(~crc)
    }

    private func bigEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
}
