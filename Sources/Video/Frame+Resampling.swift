extension Frame {
    /// The middle of the picture in the shape of `target`, as large as fits, then brought to its size by a triangle
    /// filter (bilinear; when it shrinks, as wide as what a new pixel covers, so that nothing flickers). In whole numbers
    /// over the stored (gamma) values: the same everywhere.
    public func resampled(to target: Size) -> Frame {
        guard size != target else { return self }
        // The largest rectangle of the target's shape; at least one pixel.
        var (width, height) = (size.width, size.height)
        if width * target.height > height * target.width {
            width = max(1, height * target.width / target.height)
        } else {
            height = max(1, width * target.height / target.width)
        }
        let (left, top) = ((size.width - width) / 2, (size.height - height) / 2)
        let across = Taps.make(from: width, to: target.width)
        let down = Taps.make(from: height, to: target.height)

        // Rows first, in 16 bits; only those that the crop holds.
        var lines = [UInt16](repeating: 0, count: height * target.width * 3)
        for row in 0..<height {
            let source = ((top + row) * size.width + left) * 3
            for (column, taps) in across.enumerated() {
                for colour in 0..<3 {
                    var sum = 0
                    var place = source + taps.first * 3 + colour
                    for weight in taps.weights {
                        sum += weight * Int(pixels[place])
                        place += 3
                    }
                    // 8 more bits than a byte has.
                    lines[(row * target.width + column) * 3 + colour] = UInt16((sum + Taps.one / 512) * 256 / Taps.one)
                }
            }
        }
        var result = [UInt8](repeating: 0, count: target.pixels * 3)
        let line = target.width * 3
        for (row, taps) in down.enumerated() {
            for place in 0..<line {
                var sum = 0
                var source = taps.first * line + place
                for weight in taps.weights {
                    sum += weight * Int(lines[source])
                    source += line
                }
                result[row * line + place] = UInt8(min(255, (sum + Taps.one * 128) / (Taps.one * 256)))
            }
        }
        return Frame(size: target, pixels: result)
    }
}

/// The pixels that a new one is made of, and their weights, which sum to `one`.
private struct Taps {
    static let one = 1 << 16
    var first: Int
    var weights: [Int]

    static func make(from source: Int, to target: Int) -> [Taps] {
        // Positions in units of 1 / (2 · target) of a source pixel: centres and distances are whole.
        let radius = 2 * max(source, target)
        return (0..<target).map { index in
            let centre = (2 * index + 1) * source
            let low = max(0, (centre - radius) / (2 * target))
            let high = min(source - 1, (centre + radius) / (2 * target))
            var raw = (low...high).map { max(0, radius - abs((2 * $0 + 1) * target - centre)) }
            if raw.allSatisfy({ $0 == 0 }) { raw[raw.count / 2] = 1 }
            let total = raw.reduce(0, +)
            var weights = raw.map { $0 * one / total }
            // What rounding lost goes to the heaviest.
            let heaviest = weights.indices.max { weights[$0] < weights[$1] } ?? 0
            weights[heaviest] += one - weights.reduce(0, +)
            return Taps(first: low, weights: weights)
        }
    }
}
