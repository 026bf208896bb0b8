internal import CKernels

/// A layer norm and the modulation behind it: `((x - mean) / sqrt(var + eps) * gamma + beta) * (1 + scale) + shift`.
public struct Normalization {
    public var eps: Float
    /// [width] or nil.
    public var gamma: UnsafePointer<Float>?
    public var beta: UnsafePointer<Float>?
    /// [width] for each row, or nil.
    public var scale: RowVectors?
    public var shift: RowVectors?

    public init(
        eps: Float, gamma: UnsafePointer<Float>? = nil, beta: UnsafePointer<Float>? = nil, scale: RowVectors? = nil,
        shift: RowVectors? = nil
    ) {
        self.eps = eps
        self.gamma = gamma
        self.beta = beta
        self.scale = scale
        self.shift = shift
    }
}

/// Float rows that a layer is to see as int8, one scale per row, perhaps normalized first.
struct RowSource {
    var x: UnsafePointer<Float>
    var stride: Int
    var rows: Int
    var width: Int
    var normalization: Normalization?

    var arguments: ck_quantize_args {
        var arguments = ck_quantize_args()
        arguments.x = x
        arguments.stride = stride
        arguments.in = Int32(width)
        if let normalization {
            arguments.normalize = 1
            arguments.eps = normalization.eps
            arguments.gamma = normalization.gamma
            arguments.beta = normalization.beta
            arguments.scale = normalization.scale.kernel
            arguments.shift = normalization.shift.kernel
        }
        return arguments
    }
}

extension RowVectors? {
    var kernel: ck_row_vectors {
        guard let self else { return ck_row_vectors() }
        return ck_row_vectors(base: self.base, stride: self.stride, index: self.index)
    }
}

/// Rows quantized to int8, one scale per row; they live in the caller's scratch, in the layout of the level's kernels.
public struct QuantizedRows {
    /// What float weights multiply: already normalized.
    let floats: UnsafePointer<Float>?
    let stride: Int
    let panels: UnsafeMutablePointer<Int8>
    let scale: UnsafeMutablePointer<Float>
    public let rows: Int
    public let width: Int

    /// Bytes of scratch for `rows` rows of `width` floats.
    public static func scratchBytes(rows: Int, width: Int) -> Int {
        panelBytes(rows: rows, width: width) + (rows * 4 + 63) & ~63
    }

    /// Enough on every level: whole panels of 12 rows, on ARM with each byte twice.
    private static func panelBytes(rows: Int, width: Int) -> Int {
        #if arch(arm64)
            let copies = 2
        #else
            let copies = 1
        #endif
        return ((rows + 11) / 12 * 12 * Linear.paddedInputs(width) * copies + 63) & ~63
    }

    /// Room for rows that a linear quantizes itself.
    init(_ source: RowSource, scratch: UnsafeMutableRawPointer) {
        panels = scratch.bindMemory(to: Int8.self, capacity: source.rows * source.width)
        scale = (scratch + Self.panelBytes(rows: source.rows, width: source.width))
            .bindMemory(to: Float.self, capacity: source.rows)
        floats = source.normalization == nil ? source.x : nil
        (stride, rows, width) = (source.stride, source.rows, source.width)
    }

    /// Quantizes x, [rows, stride] with `width` floats used, into `scratch` (64-byte aligned, `scratchBytes`).
    ///
    /// x stays referenced: layers with float weights read it. With a normalization they read `floats`, [rows, width],
    /// where the normalized rows are written; nil is for rows that int8 weights alone will see.
    public init(
        _ x: UnsafePointer<Float>, stride: Int? = nil, rows: Int, width: Int, normalization: Normalization? = nil,
        floats: UnsafeMutablePointer<Float>? = nil, compute: Compute, scratch: UnsafeMutableRawPointer
    ) {
        var source = RowSource(
            x: x, stride: stride ?? width, rows: rows, width: width, normalization: normalization)
        if let normalization, let floats {
            compute.normalize(source, normalization, into: floats)
            source = RowSource(x: floats, stride: width, rows: rows, width: width)
        }
        self.init(source, scratch: scratch)
        quantize(source, rows: 0..<rows, compute: compute)
    }

    /// Quantizes some of the source's rows, from whole panels.
    func quantize(_ source: RowSource, rows: Range<Int>, compute: Compute) {
        guard !rows.isEmpty else { return }
        let kernel = compute.kernels.quantize_panels.unsafelyUnwrapped
        let (panels, scale) = (panels, scale)
        let grain = Int(compute.kernels.panel.rows)
        withUnsafePointer(to: source.arguments) { arguments in
            compute.parallel(count: (rows.count + grain - 1) / grain, cost: grain * width * 2) { range in
                kernel(
                    arguments, Int32(rows.lowerBound + range.lowerBound * grain),
                    Int32(min(rows.lowerBound + range.upperBound * grain, rows.upperBound)), panels, scale)
            }
        }
    }
}

extension Compute {
    /// Writes normalized rows, [rows, width].
    func normalize(_ source: RowSource, _ normalization: Normalization, into y: UnsafeMutablePointer<Float>) {
        let (kernel, width) = (kernels.layer_norm.unsafelyUnwrapped, source.width)
        parallel(count: source.rows, cost: width * 2) { range in
            for row in range {
                kernel(
                    source.x + row * source.stride, Int32(width), normalization.eps, normalization.gamma,
                    normalization.beta, normalization.scale?(row), normalization.shift?(row), y + row * width)
            }
        }
    }
}
