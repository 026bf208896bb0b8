import Engine
import Video

/// A few convolutions that draw one picture from one latent frame: for looking on while a video is made.
public struct PreviewDecoder: Sendable {
    public let configuration: ModelDescription.Preview
    private let convolutions: [Convolution]

    /// Tensors are named `conv.0`, `conv.1`, …
    init(_ checkpoint: Checkpoint, _ configuration: ModelDescription.Preview, channels: Int) throws(CheckpointError) {
        self.configuration = configuration
        let factor = configuration.pixelShuffle
        let chain = [channels] + configuration.widths + [3 * factor * factor]
        var convolutions: [Convolution] = []
        for index in 0..<chain.count - 1 {
            convolutions.append(
                try Convolution(checkpoint, "conv.\(index)", in: chain[index], out: chain[index + 1], kernel: 3))
        }
        self.convolutions = convolutions
    }

    /// The picture's size for latents of this height and width.
    public func size(latentHeight: Int, latentWidth: Int) throws(ModelError) -> Size {
        let factor = configuration.pixelShuffle
        guard latentHeight > 0, latentWidth > 0, latentHeight <= Size.maximumSide, latentWidth <= Size.maximumSide,
            let size = Size(width: latentWidth * factor, height: latentHeight * factor)
        else {
            throw .shape(
                "latents of \(latentWidth)x\(latentHeight); sides of pictures are 1...\(Size.maximumSide) pixels")
        }
        return size
    }

    /// Counts what `decode` takes from the arena, and gives back.
    public func plan(latentHeight: Int, latentWidth: Int, in plan: inout ArenaPlan) {
        let mark = plan.mark
        Buffers.planRaw(byteCounts(height: latentHeight, width: latentWidth), in: &plan)
        plan.rewind(to: mark)
    }

    /// Draws one latent frame, `[channels, height, width]`, normalised, with `channelStride` floats between channels
    /// (`height * width` unless said). The arena is given back as it was. Throws `.shape`, `.memory`, `.cancelled`.
    public func decode(
        _ frame: UnsafePointer<Float>, channelStride: Int? = nil, latentHeight: Int, latentWidth: Int,
        compute: Compute, arena: Arena
    ) throws(ModelError) -> Frame {
        let size = try size(latentHeight: latentHeight, latentWidth: latentWidth)
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let pixels = try draw(
            frame, channelStride: channelStride, latentHeight: latentHeight, latentWidth: latentWidth,
            compute: compute, arena: arena)
        let bytes = [UInt8](unsafeUninitializedCapacity: size.pixels * 3) { bytes, count in
            shufflePixels(pixels, height: latentHeight, width: latentWidth, factor: configuration.pixelShuffle) {
                bytes[$0] = rounded($1)
            }
            count = size.pixels * 3
        }
        return Frame(size: size, pixels: bytes)
    }

    /// The last convolution's `[height, width, 3 * factor * factor]`, in the arena.
    func draw(
        _ frame: UnsafePointer<Float>, channelStride: Int? = nil, latentHeight: Int, latentWidth: Int,
        compute: Compute, arena: Arena
    ) throws(ModelError) -> UnsafePointer<Float> {
        let area = latentHeight * latentWidth
        let buffers = try Buffers.raw(byteCounts(height: latentHeight, width: latentWidth), in: arena)
        let (latent, scratch) = (buffers[2].assumingMemoryBound(to: Float.self), buffers[3])
        let inputs = convolutions[0].inputs
        interleave(frame, channels: inputs, channelStride: channelStride ?? area, pixels: area, into: latent)
        var input = FeatureMap.floats(latent)
        if let quantization = convolutions[0].quantization {
            input = FeatureMap(buffers[0], quantization)
            compute.quantize(
                latent, count: area * inputs, quantization, into: buffers[0].assumingMemoryBound(to: UInt8.self))
        }
        for (index, convolution) in convolutions.enumerated() {
            let output = FeatureMap(buffers[(index + 1) % 2], quantization(before: index + 1))
            convolution(
                input, height: latentHeight, width: latentWidth, into: output,
                activation: index + 1 == convolutions.count ? .none : .relu, compute: compute,
                scratch: scratch.assumingMemoryBound(to: Float.self))
            input = output
        }
        if compute.isCancelled { throw .cancelled }
        return UnsafePointer(buffers[convolutions.count % 2].assumingMemoryBound(to: Float.self))
    }

    /// What the input of a convolution holds; behind the last one come floats.
    private func quantization(before index: Int) -> Quantization? {
        index < convolutions.count ? convolutions[index].quantization : nil
    }

    /// Bytes of two pictures of the widest convolution, used in turn, of the latent frame, and of scratch.
    private func byteCounts(height: Int, width: Int) -> [Int] {
        let area = height * width
        var (largest, scratch) = (0, 0)
        for (index, convolution) in convolutions.enumerated() {
            let output = quantization(before: index + 1)
            largest = max(
                largest, FeatureMap.byteCount(elements: area * convolution.inputs, convolution.quantization),
                FeatureMap.byteCount(elements: area * convolution.outputs, output))
            scratch = max(scratch, convolution.scratchFloats(height: height, width: width, output: output))
        }
        let latent = area * convolutions[0].inputs
        return [largest, largest, latent * MemoryLayout<Float>.stride, scratch * MemoryLayout<Float>.stride]
    }
}
