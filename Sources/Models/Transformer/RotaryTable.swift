/// Angles of the rotary position embedding for every token of a grid (reference: diffusers `WanRotaryPosEmbed`).
///
/// A head's pairs are shared out between the three axes: rows and columns get `2 * (headDimension / 6)` numbers each,
/// time the rest. Pair i of an axis of dimension d at position p turns by `p / 10000^(2i/d)`.
struct RotaryTable {
    let headDimension: Int
    let frames: Int
    let rows: Int
    let columns: Int

    var tokens: Int { frames * rows * columns }
    /// Floats in each of the two tables, `[tokens, headDimension / 2]`.
    var count: Int { tokens * (headDimension / 2) }

    /// Writes cosines and sines, `[tokens, headDimension / 2]` each; tokens run over columns, then rows, then frames.
    func fill(cosines: UnsafeMutablePointer<Float>, sines: UnsafeMutablePointer<Float>) {
        let side = headDimension / 6
        let time = headDimension / 2 - 2 * side
        let pairs = headDimension / 2
        var offset = 0
        for (axis, count) in [(0, time), (1, side), (2, side)] {
            let extent = [frames, rows, columns][axis]
            for pair in 0..<count {
                let frequency = 1 / TableMath.exp(TableMath.log(10000) * Double(2 * pair) / Double(2 * count))
                for position in 0..<extent {
                    let (sine, cosine) = TableMath.sincos(Double(position) * frequency)
                    forEachToken(of: axis, at: position) { token in
                        cosines[token * pairs + offset + pair] = Float(cosine)
                        sines[token * pairs + offset + pair] = Float(sine)
                    }
                }
            }
            offset += count
        }
    }

    private func forEachToken(of axis: Int, at position: Int, _ body: (Int) -> Void) {
        let frameRange = axis == 0 ? position..<position + 1 : 0..<frames
        let rowRange = axis == 1 ? position..<position + 1 : 0..<rows
        let columnRange = axis == 2 ? position..<position + 1 : 0..<columns
        for frame in frameRange {
            for row in rowRange {
                for column in columnRange { body((frame * rows + row) * columns + column) }
            }
        }
    }
}

/// The sinusoidal embedding of a timestep (reference: diffusers `get_timestep_embedding` with `flip_sin_to_cos` and no
/// shift): cosines, then sines, of `timestep * 10000^(-i / (dimension / 2))`. Angles are rounded to `Float` as there.
func embedTimestep(_ timestep: Float, dimension: Int, into output: UnsafeMutablePointer<Float>) {
    let half = dimension / 2
    for i in 0..<half {
        let exponent = Float(-9.210340371976184 * Double(i)) / Float(half)
        let angle = timestep * Float(TableMath.exp(Double(exponent)))
        let (sine, cosine) = TableMath.sincos(Double(angle))
        output[i] = Float(cosine)
        output[half + i] = Float(sine)
    }
}
