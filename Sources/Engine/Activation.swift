internal import CKernels

/// What a linear or a convolution applies to its sums last.
public enum Activation: Sendable, CaseIterable {
    case none
    /// GELU by tanh (Wan's feed-forward).
    case geluTanh
    /// GELU by erf (BERT).
    case geluErf
    case silu
    case relu

    var kernel: ck_activation {
        switch self {
        case .none: CK_ACTIVATION_NONE
        case .geluTanh: CK_ACTIVATION_GELU_TANH
        case .geluErf: CK_ACTIVATION_GELU_ERF
        case .silu: CK_ACTIVATION_SILU
        case .relu: CK_ACTIVATION_RELU
        }
    }
}

/// Elementary functions with the same bits on every machine. Anything that reaches a frame uses these, never libm.
public enum Elementary {
    public static func exp(_ x: Float) -> Float { ck_exp(x) }
    public static func log(_ x: Float) -> Float { ck_log(x) }
    public static func tanh(_ x: Float) -> Float { ck_tanh(x) }
    public static func erf(_ x: Float) -> Float { ck_erf(x) }
    public static func sin(_ x: Float) -> Float { ck_sin(x) }
    public static func cos(_ x: Float) -> Float { ck_cos(x) }
}

/// Counter-based random numbers (Philox 4x32-10): element `i` depends on seed, stream and `i` alone.
public enum Random {
    /// Writes elements `first ..< first + count` of the standard normal sequence of `stream` under `seed`.
    public static func normal(
        seed: UInt64, stream: UInt64, first: UInt64 = 0, count: Int, into output: UnsafeMutablePointer<Float>
    ) {
        precondition(count >= 0)
        ck_normal(seed, stream, first, output, count)
    }
}
