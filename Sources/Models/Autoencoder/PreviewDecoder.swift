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
        Buffers.plan(counts(latentHeight * latentWidth), in: &plan)
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
        let buffers = try Buffers(counts(area), in: arena).floats
        interleave(
            frame, channels: convolutions[0].inputs, channelStride: channelStride ?? area, pixels: area,
            into: buffers[0])
        for (index, convolution) in convolutions.enumerated() {
            convolution(
                buffers[index % 2], height: latentHeight, width: latentWidth, into: buffers[(index + 1) % 2],
                activation: index + 1 == convolutions.count ? .none : .relu, compute: compute)
        }
        if compute.isCancelled { throw .cancelled }
        return UnsafePointer(buffers[convolutions.count % 2])
    }

    /// Two pictures of the widest convolution, used in turn.
    private func counts(_ area: Int) -> [Int] {
        let widest = convolutions.map { max($0.inputs, $0.outputs) }.reduce(0, max)
        return [area * widest, area * widest]
    }
}
