internal import CKernels

/// A matrix of a checkpoint and its bias: `y = x·Wᵀ + b`. Int8 or float32, by what the file holds.
///
/// Int8: `name.weight` I8 [ceil(out/8), paddedIn/8, 8, 8] (8 outputs × 8 inputs, paddedIn = in rounded up to 16),
/// `name.scale` F32, `name.sum` I32 and `name.bias` F32, each [out rounded up to 8]. Rows of x are quantized on the
/// fly, one scale per row. Float: `name.weight` F32 [out, in], `name.bias` F32 [out].
///
/// Unchecked: the pointers lead into the read-only map that `checkpoint` keeps.
public struct Linear: @unchecked Sendable {
    public let name: String
    public let inputs: Int
    public let outputs: Int
    private let checkpoint: Checkpoint
    private let storage: Storage

    private enum Storage {
        case int8(ck_matrix_i8)
        case float(weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?)
    }

    /// Finds the tensors of `name` and checks types and shapes; touches no weight.
    ///
    /// - Parameter bias: whether the layer has one; false leaves a `name.bias` in the file unread.
    public init(
        _ checkpoint: Checkpoint, _ name: String, in inputs: Int, out outputs: Int, bias: Bool = true
    ) throws(CheckpointError) {
        try checkpoint.require(name, inputs, in: 1...Self.largestDimension, "inputs")
        try checkpoint.require(name, outputs, in: 1...Self.largestDimension, "outputs")
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.checkpoint = checkpoint
        let weight = try checkpoint.tensor(name + ".weight")
        if weight.type == .i8 {
            let padded = (outputs + 7) / 8 * 8
            let shape = [padded / 8, Self.paddedInputs(inputs) / 8, 8, 8]
            let blocks = try checkpoint.tensor(name + ".weight", .i8, shape: shape)
            guard blocks.readableBytesAfter >= 64 else {
                throw .noSlack(file: checkpoint.path, tensor: blocks.name, bytes: blocks.readableBytesAfter)
            }
            let scale = try checkpoint.tensor(name + ".scale", .f32, shape: [padded]).floats
            let sum = try checkpoint.tensor(name + ".sum", .i32, shape: [padded]).int32s
            let offset = bias ? try checkpoint.tensor(name + ".bias", .f32, shape: [padded]).floats : nil
            storage = .int8(
                ck_matrix_i8(
                    weight: blocks.int8s, scale: scale, sum: sum, bias: offset, in: Int32(inputs), out: Int32(outputs)))
        } else {
            storage = .float(
                weight: try checkpoint.tensor(name + ".weight", .f32, shape: [outputs, inputs]).floats,
                bias: bias ? try checkpoint.tensor(name + ".bias", .f32, shape: [outputs]).floats : nil)
        }
    }

    /// Sums of products of int8 up to this many stay inside int32.
    static let largestDimension = 131_072

    static func paddedInputs(_ inputs: Int) -> Int { (inputs + 15) & ~15 }

    /// Whether the file holds int8 weights.
    public var isQuantized: Bool {
        if case .int8 = storage { true } else { false }
    }

    /// Bytes of scratch that a call with up to `rows` rows needs; 0 for float weights.
    public func scratchBytes(rows: Int) -> Int {
        isQuantized ? QuantizedRows.scratchBytes(rows: rows, width: inputs) : 0
    }

    /// `y = activation(x·Wᵀ + b)`.
    ///
    /// x is [rows, strideX], y is [rows, strideY], strides in floats, nil is contiguous. `scratch` is 64-byte aligned
    /// and holds `scratchBytes(rows:)`. With a normalization x is normalized first; float weights need `floats`,
    /// [rows, inputs], to do so.
    public func callAsFunction(
        _ x: UnsafePointer<Float>, strideX: Int? = nil, rows: Int, normalization: Normalization? = nil,
        floats: UnsafeMutablePointer<Float>? = nil, into y: UnsafeMutablePointer<Float>, strideY: Int? = nil,
        activation: Activation = .none, compute: Compute, scratch: UnsafeMutableRawPointer
    ) {
        let source = RowSource(
            x: x, stride: strideX ?? inputs, rows: rows, width: inputs, normalization: normalization)
        run(
            source, floats, Output(y: y, stride: strideY ?? outputs, activation: activation), compute,
            scratch: scratch)
    }

    /// `y += gate * (x·Wᵀ + b)`: what stands at the end of a transformer's branches.
    ///
    /// y is [rows, outputs]; `temporary` has room for [rows, outputs] and holds what is not finished.
    public func add(
        _ x: UnsafePointer<Float>, rows: Int, gate: RowVectors? = nil, to y: UnsafeMutablePointer<Float>,
        temporary: UnsafeMutablePointer<Float>, compute: Compute, scratch: UnsafeMutableRawPointer
    ) {
        let source = RowSource(x: x, stride: inputs, rows: rows, width: inputs)
        let output = Output(y: y, stride: outputs, activation: .none, adds: true, gate: gate, temporary: temporary)
        run(source, nil, output, compute, scratch: scratch)
    }

    /// The same over rows that were quantized once for several layers (query, key and value projections).
    public func callAsFunction(
        _ x: QuantizedRows, into y: UnsafeMutablePointer<Float>, strideY: Int? = nil, activation: Activation = .none,
        compute: Compute
    ) {
        precondition(x.width == inputs, "\(name) takes \(inputs) inputs, the rows have \(x.width)")
        guard x.rows > 0 else { return }
        let output = Output(y: y, stride: strideY ?? outputs, activation: activation)
        switch storage {
        case .int8(let matrix):
            multiply(x, nil, matrix, int8Tiles(rows: x.rows, compute), output, compute)
        case .float(let weight, let bias):
            guard let floats = x.floats else { preconditionFailure("\(name) has float weights and needs float rows") }
            multiply(floats, stride: x.stride, rows: x.rows, weight, bias, output, compute)
        }
    }

    /// Where results go.
    private struct Output {
        var y: UnsafeMutablePointer<Float>
        var stride: Int
        var activation: Activation
        /// Added to what y holds, times the gate.
        var adds = false
        var gate: RowVectors?
        var temporary: UnsafeMutablePointer<Float>?
    }

    private func run(
        _ source: RowSource, _ floats: UnsafeMutablePointer<Float>?, _ output: Output, _ compute: Compute,
        scratch: UnsafeMutableRawPointer
    ) {
        guard source.rows > 0 else { return }
        switch storage {
        case .int8(let matrix):
            let tiles = int8Tiles(rows: source.rows, compute)
            let quantized = QuantizedRows(source, scratch: scratch)
            quantized.quantize(source, rows: tiles.shared, compute: compute)
            multiply(quantized, source, matrix, tiles, output, compute)
        case .float(let weight, let bias):
            var x = source.x
            var stride = source.stride
            if let normalization = source.normalization {
                guard let floats else { preconditionFailure("\(name) has float weights and needs float rows") }
                compute.normalize(source, normalization, into: floats)
                (x, stride) = (UnsafePointer(floats), inputs)
            }
            multiply(x, stride: stride, rows: source.rows, weight, bias, output, compute)
        }
    }

    private func int8Tiles(rows: Int, _ compute: Compute) -> Tiles {
        Tiles(
            rows: rows, inputs: Self.paddedInputs(inputs), outputs: outputs, threads: compute.pool.threads,
            slowest: compute.pool.slowest, maximumRows: 1056, panel: Int(compute.kernels.panel.rows))
    }

    /// - Parameter source: what is in chunks of rows is quantized on the way when it is given.
    private func multiply(
        _ x: QuantizedRows, _ source: RowSource?, _ matrix: ck_matrix_i8, _ tiles: Tiles, _ output: Output,
        _ compute: Compute
    ) {
        let kernel = compute.kernels.linear_i8.unsafelyUnwrapped
        withUnsafePointer(to: matrix) { matrix in
            withUnsafePointer(to: source?.arguments ?? ck_quantize_args()) { quantize in
                var arguments = ck_linear_i8_args()
                arguments.panels = x.panels
                arguments.scale_x = x.scale
                arguments.w = matrix
                arguments.activation = output.activation.kernel
                if output.adds {
                    arguments.residual = UnsafePointer(output.y)
                    arguments.stride_residual = output.stride
                    arguments.gate = output.gate.kernel
                    arguments.partial = output.temporary.map {
                        UnsafeMutableRawPointer($0).assumingMemoryBound(to: Int32.self)
                    }
                    arguments.stride_partial = outputs
                }
                arguments.y = output.y
                arguments.stride_y = output.stride
                let shared = arguments
                tiles.run(compute) { call in
                    var arguments = shared
                    if source != nil, !call.isQuantized || !call.ahead.isEmpty {
                        arguments.source = quantize
                        arguments.quantized = call.isQuantized ? 1 : 0
                        arguments.ahead_begin = Int32(call.ahead.lowerBound)
                        arguments.ahead_end = Int32(call.ahead.upperBound)
                    }
                    kernel(
                        &arguments, Int32(call.rows.lowerBound), Int32(call.rows.upperBound),
                        Int32(call.outputs.lowerBound), Int32(call.outputs.upperBound))
                }
            }
        }
    }

    private func multiply(
        _ x: UnsafePointer<Float>, stride: Int, rows: Int, _ weight: UnsafePointer<Float>,
        _ bias: UnsafePointer<Float>?, _ output: Output, _ compute: Compute
    ) {
        let kernel = compute.kernels.linear_f32.unsafelyUnwrapped
        let target = output.adds ? output.temporary.unsafelyUnwrapped : output.y
        let width = Int32(inputs)
        // 12 rows are whole tiles of every level's float kernel.
        Tiles(
            rows: rows, inputs: inputs, outputs: outputs, threads: compute.pool.threads, slowest: compute.pool.slowest,
            maximumRows: 192, panel: 12
        )
        .run(compute) { call in
            kernel(
                x + call.rows.lowerBound * stride, stride, Int32(call.rows.count), weight, bias, width,
                Int32(call.outputs.lowerBound), Int32(call.outputs.upperBound), output.activation.kernel,
                target + call.rows.lowerBound * output.stride, output.stride)
        }
        if output.adds { compute.addGated(target, gate: output.gate, rows: rows, width: outputs, to: output.y) }
    }
}
