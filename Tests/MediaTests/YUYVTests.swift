import Media
import Testing
import Video

@Suite struct YUYVTests {
    private func packed(_ pixels: [UInt8], width: Int, height: Int, line: Int, bytes: Int) throws -> [UInt8] {
        let size = try #require(Size(width: width, height: height))
        return YUYV.pack(Frame(size: size, pixels: pixels), bytesPerLine: line, byteCount: bytes)
    }

    /// Values of BT.601's own table of bars.
    @Test(arguments: [
        ([255, 255, 255] as [UInt8], [235, 128, 128] as [UInt8]), ([0, 0, 0], [16, 128, 128]),
        ([255, 0, 0], [81, 90, 240]), ([0, 255, 0], [145, 54, 34]), ([0, 0, 255], [41, 240, 110]),
    ])
    func colours(_ pixel: [UInt8], _ wanted: [UInt8]) throws {
        let bytes = try packed(pixel + pixel, width: 2, height: 1, line: 4, bytes: 4)
        #expect(bytes == [wanted[0], wanted[1], wanted[0], wanted[2]])
    }

    @Test func oddWidthsAndPaddingAreFilled() throws {
        let grey: [UInt8] = [10, 10, 10, 200, 200, 200, 90, 90, 90]
        let bytes = try packed(grey + grey, width: 3, height: 2, line: 10, bytes: 23)
        let line: [UInt8] = [25, 128, 188, 128, 93, 128, 93, 128, 0, 0]
        #expect(bytes == line + line + [0, 0, 0])
    }
}
