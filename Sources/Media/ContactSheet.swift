import Video

/// All frames of a video in one picture, row by row.
public enum ContactSheet {
    /// - Parameters:
    ///   - columns: as square as possible when `nil`.
    ///   - scale: every pixel becomes a square of so many pixels a side.
    public static func make(_ frames: [Frame], columns: Int? = nil, scale: Int = 1) throws(MediaError) -> Frame {
        let small = try FrameLimits.size(of: frames)
        guard (1...Size.maximumSide).contains(columns ?? 1), (1...Size.maximumSide).contains(scale) else {
            throw .tooLarge("columns and scale of a sheet must be 1 to \(Size.maximumSide)")
        }
        var wide = columns ?? 1
        if columns == nil { while wide * wide < frames.count { wide += 1 } }
        let high = (frames.count + wide - 1) / wide
        let (width, height) = (small.width * scale, small.height * scale)
        guard let size = Size(width: wide * width, height: high * height) else {
            throw .tooLarge(
                "a sheet of \(wide)x\(high) frames of \(width)x\(height); sides are 1 to \(Size.maximumSide)")
        }
        var pixels = [UInt8](repeating: 0, count: size.pixels * 3)
        for (index, frame) in frames.enumerated() {
            let corner = (index / wide * height * size.width + index % wide * width) * 3
            for line in 0..<small.height {
                let row = stretched(frame.pixels[line * small.width * 3..<(line + 1) * small.width * 3], by: scale)
                for copy in 0..<scale {
                    let target = corner + (line * scale + copy) * size.width * 3
                    pixels.replaceSubrange(target..<target + row.count, with: row)
                }
            }
        }
        return Frame(size: size, pixels: pixels)
    }

    /// A row of RGB pixels with each pixel repeated.
    private static func stretched(_ row: ArraySlice<UInt8>, by scale: Int) -> ArraySlice<UInt8> {
        guard scale > 1 else { return row }
        var wide: [UInt8] = []
        wide.reserveCapacity(row.count * scale)
        for pixel in stride(from: row.startIndex, to: row.endIndex, by: 3) {
            for _ in 0..<scale { wide += row[pixel..<pixel + 3] }
        }
        return wide[...]
    }
}
