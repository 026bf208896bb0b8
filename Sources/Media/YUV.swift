import Video

/// Colour in the limited range, luma 16...235, in 16 fractional bits.
private enum BT601 {
    static func luma(_ red: Int, _ green: Int, _ blue: Int) -> UInt8 {
        UInt8(16 + ((16829 * red + 33039 * green + 6416 * blue + 32768) >> 16))
    }

    /// Cb and Cr of sums over 2 or 4 pixels; 128 is the middle.
    static func chroma(_ red: Int, _ green: Int, _ blue: Int, pixels: Int) -> (blue: UInt8, red: UInt8) {
        let shift = pixels == 4 ? 18 : 17
        let middle = (128 << shift) + (1 << (shift - 1))
        return (
            UInt8((middle - 9714 * red - 19070 * green + 28784 * blue) >> shift),
            UInt8((middle + 28784 * red - 24103 * green - 4681 * blue) >> shift)
        )
    }
}

/// From luma and the two differences back to RGB, with 8 bits behind the point.
struct RGBMatrix: Sendable, Equatable {
    private let gain: Int
    private let floor: Int
    private let red: Int
    private let greenOfBlue: Int
    private let greenOfRed: Int
    private let blue: Int

    /// - Parameters:
    ///   - isBT709: or else BT.601.
    ///   - isFullRange: luma 0...255, or else 16...235.
    init(isBT709: Bool, isFullRange: Bool) {
        (gain, floor) = isFullRange ? (256, 0) : (298, 16)
        switch (isBT709, isFullRange) {
        case (false, false): (red, greenOfBlue, greenOfRed, blue) = (409, 100, 208, 516)
        case (false, true): (red, greenOfBlue, greenOfRed, blue) = (359, 88, 183, 454)
        case (true, false): (red, greenOfBlue, greenOfRed, blue) = (459, 55, 136, 541)
        case (true, true): (red, greenOfBlue, greenOfRed, blue) = (403, 48, 120, 475)
        }
    }

    /// Writes three bytes at `place`.
    @inline(__always)
    func convert(_ luma: Int, _ blueDifference: Int, _ redDifference: Int, into rgb: inout [UInt8], at place: Int) {
        let (u, v) = (blueDifference - 128, redDifference - 128)
        let grey = gain * (luma - floor) + 128
        rgb[place] = UInt8(clamping: (grey + red * v) >> 8)
        rgb[place + 1] = UInt8(clamping: (grey - greenOfBlue * u - greenOfRed * v) >> 8)
        rgb[place + 2] = UInt8(clamping: (grey + blue * u) >> 8)
    }
}

/// Packed 4:2:2, `Y0 Cb Y1 Cr` for two pixels, with BT.601 colour in the limited range: what cameras speak.
public enum YUYV {
    /// - Parameters:
    ///   - bytesPerLine: from one line to the next, at least twice the width rounded up to even; what is beyond is 0.
    ///   - byteCount: of the whole, at least `bytesPerLine * height`; what is beyond is 0.
    public static func pack(_ frame: Frame, bytesPerLine: Int, byteCount: Int) -> [UInt8] {
        let (width, height) = (frame.size.width, frame.size.height)
        precondition(bytesPerLine >= (width + 1) / 2 * 4 && byteCount >= bytesPerLine * height)
        var bytes = [UInt8](repeating: 0, count: byteCount)
        for y in 0..<height {
            for left in stride(from: 0, to: width, by: 2) {
                // The last pixel of an odd line counts twice.
                let first = (y * width + left) * 3
                let second = left + 1 < width ? first + 3 : first
                let (r0, g0, b0) = (
                    Int(frame.pixels[first]), Int(frame.pixels[first + 1]), Int(frame.pixels[first + 2])
                )
                let (r1, g1, b1) = (
                    Int(frame.pixels[second]), Int(frame.pixels[second + 1]), Int(frame.pixels[second + 2])
                )
                let place = y * bytesPerLine + left * 2
                bytes[place] = BT601.luma(r0, g0, b0)
                bytes[place + 2] = BT601.luma(r1, g1, b1)
                (bytes[place + 1], bytes[place + 3]) = BT601.chroma(r0 + r1, g0 + g1, b0 + b1, pixels: 2)
            }
        }
        return bytes
    }
}

/// 4:2:0 planes with BT.601 colour in the limited range (luma 16...235), sides rounded up to even by repeating the edge.
struct YUV420 {
    let width: Int
    let height: Int
    var luma: [UInt8]
    var blue: [UInt8]
    var red: [UInt8]

    static func sides(of size: Size) -> (width: Int, height: Int) { ((size.width + 1) & ~1, (size.height + 1) & ~1) }

    init(_ frame: Frame) {
        let (sourceWidth, sourceHeight) = (frame.size.width, frame.size.height)
        (width, height) = Self.sides(of: frame.size)
        luma = [UInt8](repeating: 0, count: width * height)
        blue = [UInt8](repeating: 0, count: width * height / 4)
        red = blue
        for top in stride(from: 0, to: height, by: 2) {
            for left in stride(from: 0, to: width, by: 2) {
                var sum = (red: 0, green: 0, blue: 0)
                for place in 0..<4 {
                    let (y, x) = (top + place / 2, left + place % 2)
                    let source = (min(y, sourceHeight - 1) * sourceWidth + min(x, sourceWidth - 1)) * 3
                    let red = Int(frame.pixels[source])
                    let green = Int(frame.pixels[source + 1])
                    let blue = Int(frame.pixels[source + 2])
                    luma[y * width + x] = BT601.luma(red, green, blue)
                    sum.red += red
                    sum.green += green
                    sum.blue += blue
                }
                let place = top / 2 * (width / 2) + left / 2
                (blue[place], red[place]) = BT601.chroma(sum.red, sum.green, sum.blue, pixels: 4)
            }
        }
    }
}
