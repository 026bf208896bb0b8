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
    /// and holds `scratchBytes(rows:)`.
    public func callAsFunction(
        _ x: UnsafePointer<Float>, strideX: Int? = nil, rows: Int, into y: UnsafeMutablePointer<Float>,
        strideY: Int? = nil, activation: Activation = .none, compute: Compute, scratch: UnsafeMutableRawPointer
    ) {
        guard rows > 0 else { return }
        switch storage {
        case .int8(let matrix):
            let quantized = QuantizedRows(
                x, stride: strideX ?? inputs, rows: rows, width: inputs, compute: compute, scratch: scratch)
            multiply(quantized, matrix, into: y, strideY: strideY ?? outputs, activation, compute)
        case .float(let weight, let bias):
            let (strideX, strideY) = (strideX ?? inputs, strideY ?? outputs)
            let kernel = compute.kernels.linear_f32.unsafelyUnwrapped
            let width = Int32(inputs)
            Tiles(rows: rows, outputs: outputs, bytesPerOutput: inputs * 4, threads: compute.pool.threads)
                .run(compute) { rows, outputs in
                    kernel(
                        x + rows.lowerBound * strideX, strideX, Int32(rows.count), weight, bias, width,
                        Int32(outputs.lowerBound), Int32(outputs.upperBound), activation.kernel,
                        y + rows.lowerBound * strideY, strideY)
                }
        }
    }

    /// The same over rows that were quantized once for several layers (query, key and value projections).
    public func callAsFunction(
        _ x: QuantizedRows, into y: UnsafeMutablePointer<Float>, strideY: Int? = nil, activation: Activation = .none,
        compute: Compute
    ) {
        precondition(x.width == inputs, "\(name) takes \(inputs) inputs, the rows have \(x.width)")
        switch storage {
        case .int8(let matrix):
            guard x.rows > 0 else { return }
            multiply(x, matrix, into: y, strideY: strideY ?? outputs, activation, compute)
        case .float:
            // Float weights never look at the quantized copy, nor at scratch.
            self(
                x.source, strideX: x.stride, rows: x.rows, into: y, strideY: strideY, activation: activation,
                compute: compute, scratch: UnsafeMutableRawPointer(x.q))
        }
    }

    private func multiply(
        _ x: QuantizedRows, _ matrix: ck_matrix_i8, into y: UnsafeMutablePointer<Float>, strideY: Int,
        _ activation: Activation, _ compute: Compute
    ) {
        let kernel = compute.kernels.linear_i8.unsafelyUnwrapped
        let paddedIn = Self.paddedInputs(inputs)
        withUnsafePointer(to: matrix) { matrix in
            Tiles(rows: x.rows, outputs: outputs, bytesPerOutput: paddedIn, threads: compute.pool.threads)
                .run(compute) { rows, outputs in
                    kernel(
                        x.q + rows.lowerBound * paddedIn, x.scale + rows.lowerBound, Int32(rows.count), matrix,
                        Int32(outputs.lowerBound), Int32(outputs.upperBound), activation.kernel,
                        y + rows.lowerBound * strideY, strideY)
                }
        }
    }
}

/// Rows quantized to int8, one scale per row; they live in the caller's scratch.
public struct QuantizedRows {
    let source: UnsafePointer<Float>
    let stride: Int
    let q: UnsafeMutablePointer<Int8>
    let scale: UnsafeMutablePointer<Float>
    public let rows: Int
    public let width: Int

    /// Bytes of scratch for `rows` rows of `width` floats.
    public static func scratchBytes(rows: Int, width: Int) -> Int {
        quantizedBytes(rows: rows, width: width) + (rows * 4 + 63) & ~63
    }

    /// The quantized rows, and 64 bytes that a kernel may read past their end.
    private static func quantizedBytes(rows: Int, width: Int) -> Int {
        (rows * Linear.paddedInputs(width) + 64 + 63) & ~63
    }

    /// Quantizes x, [rows, stride] with `width` floats used, into `scratch` (64-byte aligned, `scratchBytes`).
    /// x stays referenced: layers with float weights read it.
    public init(
        _ x: UnsafePointer<Float>, stride: Int? = nil, rows: Int, width: Int, compute: Compute,
        scratch: UnsafeMutableRawPointer
    ) {
        let stride = stride ?? width
        let padded = Linear.paddedInputs(width)
        let q = scratch.bindMemory(to: Int8.self, capacity: rows * padded)
        let scale = (scratch + Self.quantizedBytes(rows: rows, width: width)).bindMemory(to: Float.self, capacity: rows)
        (self.source, self.stride, self.q, self.scale, self.rows, self.width) = (x, stride, q, scale, rows, width)
        let kernel = compute.kernels.quantize_rows.unsafelyUnwrapped
        compute.parallel(count: rows, cost: width * 2) { range in
            kernel(
                x + range.lowerBound * stride, stride, Int32(range.count), Int32(width), q + range.lowerBound * padded,
                scale + range.lowerBound)
        }
    }
}
