import Video

/// All frames of a video in one picture, row by row.
public enum ContactSheet {
    /// - Parameter columns: as square as possible when `nil`.
    public static func make(_ frames: [Frame], columns: Int? = nil) throws(MediaError) -> Frame {
        guard let first = frames.first, frames.allSatisfy({ $0.size == first.size }) else {
            throw .frames("a sheet needs frames of one size")
        }
        var wide = columns ?? 1
        if columns == nil { while wide * wide < frames.count { wide += 1 } }
        let high = (frames.count + wide - 1) / wide
        guard let size = Size(width: wide * first.size.width, height: high * first.size.height) else {
            throw .tooLarge("a sheet of \(wide)x\(high) frames of \(first.size); sides are 1 to \(Size.maximumSide)")
        }
        var pixels = [UInt8](repeating: 0, count: size.pixels * 3)
        let row = first.size.width * 3
        for (index, frame) in frames.enumerated() {
            let corner = (index / wide * first.size.height * size.width + index % wide * first.size.width) * 3
            for line in 0..<first.size.height {
                let target = corner + line * size.width * 3
                pixels.replaceSubrange(target..<target + row, with: frame.pixels[line * row..<(line + 1) * row])
            }
        }
        return Frame(size: size, pixels: pixels)
    }
}
