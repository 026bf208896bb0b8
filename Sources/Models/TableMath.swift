/// TableMath functions for tables computed once: additions, multiplications and divisions of `Double` alone, in one
/// order, so that a table has the same bits on every machine. A C library's functions differ from board to board.
///
/// The error is below 1e-14 over the ranges given, far below the `Float` that tables are rounded to.
enum TableMath {
    /// e^x for |x| ≤ 700.
    static func exp(_ x: Double) -> Double {
        let k = (x * 1.4426950408889634).rounded(.toNearestOrEven)
        let r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
        var sum = 1.0
        for n in stride(from: 16.0, through: 1.0, by: -1.0) { sum = 1 + r * sum / n }
        return sum * Double(sign: .plus, exponent: Int(k), significand: 1)
    }

    /// ln x for finite x > 0.
    static func log(_ x: Double) -> Double {
        var exponent = Double(x.exponent)
        var significand = x.significand
        if significand > 1.4142135623730951 {
            significand /= 2
            exponent += 1
        }
        let s = (significand - 1) / (significand + 1)
        var sum = 0.0
        for n in stride(from: 27.0, through: 1.0, by: -2.0) { sum = sum * s * s + 1 / n }
        return exponent * 0.6931471805599453 + 2 * s * sum
    }

    /// sin x and cos x for |x| ≤ 1e6.
    static func sincos(_ x: Double) -> (sin: Double, cos: Double) {
        let k = (x * 0.6366197723675814).rounded(.toNearestOrEven)
        // π/2 in three parts, the first two with so few bits that their products with k are exact.
        let r = ((x - k * 1.5707963267341256) - k * 6.077100506303966e-11) - k * 2.0222662487959506e-21
        let square = r * r
        var sine = 1.0
        for n in stride(from: 18.0, through: 2.0, by: -2.0) { sine = 1 - square * sine / (n * (n + 1)) }
        sine *= r
        var cosine = 1.0
        for n in stride(from: 18.0, through: 2.0, by: -2.0) { cosine = 1 - square * cosine / (n * (n - 1)) }
        switch Int(k) & 3 {
        case 0: return (sine, cosine)
        case 1: return (cosine, -sine)
        case 2: return (-sine, -cosine)
        default: return (-cosine, sine)
        }
    }
}
