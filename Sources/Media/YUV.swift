import Video

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
                    luma[y * width + x] = UInt8(16 + ((16829 * red + 33039 * green + 6416 * blue + 32768) >> 16))
                    sum.red += red
                    sum.green += green
                    sum.blue += blue
                }
                let place = top / 2 * (width / 2) + left / 2
                // Sums of four pixels, hence a shift of 18; 128 is the middle.
                let middle = (128 << 18) + (1 << 17)
                blue[place] = UInt8((middle - 9714 * sum.red - 19070 * sum.green + 28784 * sum.blue) >> 18)
                red[place] = UInt8((middle + 28784 * sum.red - 24103 * sum.green - 4681 * sum.blue) >> 18)
            }
        }
    }
}
