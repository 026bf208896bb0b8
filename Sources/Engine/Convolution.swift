internal import CKernels

/// A 2-D convolution of a checkpoint over one image, channels last, zero padding (kernel / 2). Int8 or float32, by what the
/// file holds.
///
/// Float: `name.weight` F32 [kernel, kernel, in + pastIn, out₁₆], `name.bias` F32 [out₁₆], where x₁₆ is x rounded up to a
/// multiple of 16. Int8: `name.weight` I8 [out₁₆/8, kernel, kernel, (in₁₆ + pastIn₁₆)/8, 8, 8] (8 outputs × 8 inputs),
/// `name.scale` F32, `name.sum` I32 and `name.bias` F32, each [out₁₆], and `name.input` F32 [2]: scale and zero of the
/// bytes it takes, found by calibration, which may also give a bias to a layer that has none in float32: it makes up for
/// what rounding does to the mean.
///
/// Unchecked: the pointers lead into the read-only map that `checkpoint` keeps.
public struct Convolution: @unchecked Sendable {
    public let name: String
    /// Channels of the image, and of the second image that continues them (a MemBlock's past; 0 without one).
    public let inputs: Int
    public let pastInputs: Int
    public let outputs: Int
    public let kernel: Int
    public let stride: Int
    private let checkpoint: Checkpoint
    private let storage: Storage

    private enum Storage {
        case int8(Int8Weights)
        case float(weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?)
    }

    private struct Int8Weights {
        let weight: UnsafePointer<Int8>
        let scale: UnsafePointer<Float>
        let sum: UnsafePointer<Int32>
        let bias: UnsafePointer<Float>?
        let input: Quantization
    }

    /// Finds the tensors of `name` and checks types and shapes; of int8 weights the values too, which are few.
    ///
    /// - Parameters:
    ///   - kernel: 1 or 3.
    ///   - stride: 1 or 2.
    public init(
        _ checkpoint: Checkpoint, _ name: String, in inputs: Int, pastIn pastInputs: Int = 0, out outputs: Int,
        kernel: Int, stride: Int = 1, bias: Bool = true
    ) throws(CheckpointError) {
        try checkpoint.require(name, inputs, in: 1...Self.largestDimension, "input channels")
        try checkpoint.require(name, pastInputs, in: 0...Self.largestDimension, "past input channels")
        try checkpoint.require(name, outputs, in: 1...Self.largestDimension, "output channels")
        guard kernel == 1 || kernel == 3 else {
            throw .limit(file: checkpoint.path, layer: name, field: "kernel", value: kernel, allowed: "1 or 3")
        }
        guard stride == 1 || stride == 2 else {
            throw .limit(file: checkpoint.path, layer: name, field: "stride", value: stride, allowed: "1 or 2")
        }
        self.name = name
        self.inputs = inputs
        self.pastInputs = pastInputs
        self.outputs = outputs
        self.kernel = kernel
        self.stride = stride
        self.checkpoint = checkpoint
        let padded = Self.padded(outputs)
        if try checkpoint.tensor(name + ".weight").type == .i8 {
            let channels = Self.padded(inputs) + Self.padded(pastInputs)
            try checkpoint.require(name, channels, in: 1...Self.largestInt8Inputs, "input channels in int8")
            let weight = try checkpoint.tensor(
                name + ".weight", .i8, shape: [padded / 8, kernel, kernel, channels / 8, 8, 8])
            guard weight.readableBytesAfter >= 64 else {
                throw .noSlack(file: checkpoint.path, tensor: weight.name, bytes: weight.readableBytesAfter)
            }
            try checkpoint.checkWeights(of: weight)
            storage = .int8(
                Int8Weights(
                    weight: weight.int8s,
                    scale: try checkpoint.tensor(name + ".scale", .f32, shape: [padded]).floats,
                    sum: try checkpoint.tensor(name + ".sum", .i32, shape: [padded]).int32s,
                    bias: bias || checkpoint.has(name + ".bias")
                        ? try checkpoint.tensor(name + ".bias", .f32, shape: [padded]).floats : nil,
                    input: try Quantization(checkpoint, name + ".input")))
        } else {
            let shape = [kernel, kernel, inputs + pastInputs, padded]
            storage = .float(
                weight: try checkpoint.tensor(name + ".weight", .f32, shape: shape).floats,
                bias: bias ? try checkpoint.tensor(name + ".bias", .f32, shape: [padded]).floats : nil)
        }
    }

    static let largestDimension = 65_536
    /// Of int8, with its past: what the kernels' window of lines holds, and sums that stay far inside int32.
    static let largestInt8Inputs = 4096
    /// Pixels along a side of an image.
    public static let largestSide = 16_384

    static func padded(_ channels: Int) -> Int { (channels + 15) & ~15 }

    /// What the bytes of the image and of its past mean; nil with float weights, which take floats.
    public var quantization: Quantization? {
        if case .int8(let weights) = storage { weights.input } else { nil }
    }

    /// Height or width of the output for that of the input.
    public func outputSide(_ side: Int) -> Int { (side + stride - 1) / stride }

    /// Multiplications and additions of a call, as the graph counts them.
    public func operations(height: Int, width: Int) -> Int {
        2 * outputSide(height) * outputSide(width) * outputs * (inputs + pastInputs) * kernel * kernel
    }

    /// `output = activation(convolution(input ‖ past) + bias + residual)` with float weights.
    ///
    /// input is [height, width, inputs], past [height, width, pastInputs], output and residual
    /// [outputSide(height), outputSide(width), outputs]. Activation: `.none` or `.relu`.
    public func callAsFunction(
        _ input: UnsafePointer<Float>, past: UnsafePointer<Float>? = nil, height: Int, width: Int,
        residual: UnsafePointer<Float>? = nil, into output: UnsafeMutablePointer<Float>,
        activation: Activation = .none, compute: Compute
    ) {
        check(activation, hasPast: past != nil, height: height, width: width)
        guard case .float(let weight, let bias) = storage else { preconditionFailure("\(name) takes bytes") }
        let rows = outputSide(height)
        guard rows > 0, width > 0 else { return }
        let arguments = ck_convolution_f32_args(
            input: input, input2: past, weight: weight, bias: bias, output: output, height: Int32(height),
            width: Int32(width), in: Int32(inputs), in2: Int32(pastInputs), out: Int32(outputs), kernel: Int32(kernel),
            stride: Int32(stride), residual: residual, activation: activation.kernel)
        let convolve = compute.kernels.convolution_f32.unsafelyUnwrapped
        compute.parallel(count: rows, cost: operations(height: stride, width: width) / 2) { range in
            withUnsafePointer(to: arguments) { convolve($0, Int32(range.lowerBound), Int32(range.upperBound)) }
        }
    }

    /// The same over feature maps. Image and past are of this layer's `quantization`; residual and output are floats or
    /// bytes, as the layers want that made the one and take the other.
    ///
    /// - Parameters:
    ///   - height, width: of the image, enlarged.
    ///   - inputStride: elements from a pixel of the image to the next; nil is `inputs`.
    ///   - enlarge: 1 or 2, the image's factor before the convolution (nearest); 1 with float weights.
    ///   - scratch: `scratchFloats` floats; float weights alone use it.
    public func callAsFunction(
        _ input: FeatureMap, inputStride: Int? = nil, past: FeatureMap? = nil, enlarge: Int = 1, height: Int,
        width: Int, residual: FeatureMap? = nil, into output: FeatureMap, activation: Activation = .none,
        compute: Compute, scratch: UnsafeMutablePointer<Float>
    ) {
        precondition(
            input.quantization == quantization && (past == nil || past?.quantization == quantization),
            "\(name): an image of another quantization")
        guard case .int8(let weights) = storage else {
            precondition(enlarge == 1 && inputStride ?? inputs == inputs, "\(name) has float weights")
            floats(
                input, past, height: height, width: width, residual: residual, into: output, activation: activation,
                compute: compute, scratch: scratch)
            return
        }
        check(activation, hasPast: past != nil, height: height, width: width)
        precondition(height % enlarge == 0 && width % enlarge == 0 && (1...2).contains(enlarge), "\(name): \(enlarge)")
        let rows = outputSide(height)
        guard rows > 0, width > 0, case .bytes(let image, _) = input else { return }
        var arguments = ck_convolution_i8_args()
        arguments.input = UnsafePointer(image)
        if case .bytes(let past, _) = past { arguments.input2 = UnsafePointer(past) }
        arguments.weight = weights.weight
        arguments.scale = weights.scale
        arguments.sum = weights.sum
        arguments.bias = weights.bias
        switch output {
        case .floats(let output): arguments.output_f32 = output
        case .bytes(let output, let quantization):
            arguments.output = output
            arguments.quantization_out = quantization.kernel
        }
        switch residual {
        case .floats(let residual): arguments.residual_f32 = UnsafePointer(residual)
        case .bytes(let residual, let quantization):
            arguments.residual = UnsafePointer(residual)
            arguments.quantization_residual = quantization.kernel
        case nil: break
        }
        arguments.quantization_in = weights.input.kernel
        (arguments.height, arguments.width) = (Int32(height), Int32(width))
        (arguments.in, arguments.in2, arguments.out) = (Int32(inputs), Int32(pastInputs), Int32(outputs))
        arguments.stride_in = Int32(inputStride ?? inputs)
        (arguments.enlarge, arguments.kernel, arguments.stride) = (Int32(enlarge), Int32(kernel), Int32(stride))
        arguments.activation = activation.kernel
        let (convolve, fixed) = (compute.kernels.convolution_i8.unsafelyUnwrapped, arguments)
        // An eighth of the float cost: bytes are that much faster on every level. Some lay their weights out for each chunk:
        // that is worth four tiles or more.
        let smallest = 32 / max(outputSide(width), 1)
        compute.parallel(count: rows, cost: operations(height: stride, width: width) / 16, smallest: smallest) {
            range in
            withUnsafePointer(to: fixed) { convolve($0, Int32(range.lowerBound), Int32(range.upperBound)) }
        }
    }

    /// Floats that the call over feature maps takes of its scratch for this output and residual.
    public func scratchFloats(
        height: Int, width: Int, residual: Quantization? = nil, output: Quantization?
    ) -> Int {
        guard case .float = storage else { return 0 }
        let elements = outputSide(height) * outputSide(width) * outputs
        return (output == nil ? 0 : elements) + (residual == nil ? 0 : elements)
    }

    private func floats(
        _ input: FeatureMap, _ past: FeatureMap?, height: Int, width: Int, residual: FeatureMap?,
        into output: FeatureMap, activation: Activation, compute: Compute, scratch: UnsafeMutablePointer<Float>
    ) {
        let elements = outputSide(height) * outputSide(width) * outputs
        guard case .floats(let image) = input else { return }
        var before: UnsafePointer<Float>?
        if case .floats(let past) = past { before = UnsafePointer(past) }
        var free = scratch
        var added: UnsafePointer<Float>?
        switch residual {
        case .floats(let residual): added = UnsafePointer(residual)
        case .bytes(let residual, let quantization):
            compute.dequantize(residual, count: elements, quantization, into: free)
            added = UnsafePointer(free)
            free += elements
        case nil: break
        }
        switch output {
        case .floats(let output):
            self(
                image, past: before, height: height, width: width, residual: added, into: output,
                activation: activation, compute: compute)
        case .bytes(let output, let quantization):
            self(
                image, past: before, height: height, width: width, residual: added, into: free, activation: activation,
                compute: compute)
            compute.quantize(free, count: elements, quantization, into: output)
        }
    }

    private func check(_ activation: Activation, hasPast: Bool, height: Int, width: Int) {
        precondition(activation == .none || activation == .relu, "\(name): a convolution applies no \(activation)")
        precondition(hasPast == (pastInputs > 0), "\(name) has \(pastInputs) past channels")
        precondition(
            height <= Self.largestSide && width <= Self.largestSide, "\(name): an image of \(width)x\(height)")
    }
}

extension Quantization {
    /// Of a tensor F32 [2]: scale and zero.
    init(_ checkpoint: Checkpoint, _ name: String) throws(CheckpointError) {
        let numbers = try checkpoint.tensor(name, .f32, shape: [2]).floats
        let (scale, zero) = (numbers[0], numbers[1])
        guard scale >= Self.smallestScale, scale.isFinite else {
            throw .badNumber(
                file: checkpoint.path, tensor: name, value: scale, allowed: "a scale of \(Self.smallestScale) or more")
        }
        guard let byte = UInt8(exactly: zero) else {
            throw .badNumber(file: checkpoint.path, tensor: name, value: zero, allowed: "a zero of 0...255")
        }
        self.init(scale: scale, zero: byte)
    }

    /// Its inverse is finite, and no product with it is subnormal that matters.
    static let smallestScale: Float = 1e-30
}
