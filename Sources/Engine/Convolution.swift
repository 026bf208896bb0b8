internal import CKernels

/// A 2-D convolution of a checkpoint over one image, channels last, zero padding (kernel / 2), float32.
///
/// `name.weight` F32 [kernel, kernel, in + pastIn, out rounded up to 16], `name.bias` F32 [out rounded up to 16].
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
    private let weight: UnsafePointer<Float>
    private let bias: UnsafePointer<Float>?

    /// Finds the tensors of `name` and checks types and shapes.
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
        let padded = (outputs + 15) / 16 * 16
        let shape = [kernel, kernel, inputs + pastInputs, padded]
        self.name = name
        self.inputs = inputs
        self.pastInputs = pastInputs
        self.outputs = outputs
        self.kernel = kernel
        self.stride = stride
        self.checkpoint = checkpoint
        self.weight = try checkpoint.tensor(name + ".weight", .f32, shape: shape).floats
        self.bias = bias ? try checkpoint.tensor(name + ".bias", .f32, shape: [padded]).floats : nil
    }

    static let largestDimension = 65_536
    /// Pixels along a side of an image.
    public static let largestSide = 16_384

    /// Height or width of the output for that of the input.
    public func outputSide(_ side: Int) -> Int { (side + stride - 1) / stride }

    /// `output = activation(convolution(input ‖ past) + bias + residual)`.
    ///
    /// input is [height, width, inputs], past [height, width, pastInputs], output and residual
    /// [outputSide(height), outputSide(width), outputs]. Activation: `.none` or `.relu`.
    public func callAsFunction(
        _ input: UnsafePointer<Float>, past: UnsafePointer<Float>? = nil, height: Int, width: Int,
        residual: UnsafePointer<Float>? = nil, into output: UnsafeMutablePointer<Float>,
        activation: Activation = .none, compute: Compute
    ) {
        precondition(activation == .none || activation == .relu, "\(name): a convolution applies no \(activation)")
        precondition((past != nil) == (pastInputs > 0), "\(name) has \(pastInputs) past channels")
        precondition(
            height <= Self.largestSide && width <= Self.largestSide, "\(name): an image of \(width)x\(height)")
        let rows = outputSide(height)
        guard rows > 0, width > 0 else { return }
        let arguments = ck_convolution_f32_args(
            input: input, input2: past, weight: weight, bias: bias, output: output, height: Int32(height),
            width: Int32(width), in: Int32(inputs), in2: Int32(pastInputs), out: Int32(outputs), kernel: Int32(kernel),
            stride: Int32(stride), residual: residual, activation: activation.kernel)
        let convolve = compute.kernels.convolution_f32.unsafelyUnwrapped
        let cost = outputSide(width) * outputs * (inputs + pastInputs) * kernel * kernel
        compute.parallel(count: rows, cost: cost) { range in
            withUnsafePointer(to: arguments) { convolve($0, Int32(range.lowerBound), Int32(range.upperBound)) }
        }
    }
}
