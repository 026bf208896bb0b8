import Engine
import Video

/// An autoencoder of TAEHV's graph (reference: madebyollin/taehv, `TAEHV`). Each memory block sees a frame and the one
/// before it, so that frames go in and come out one after another in constant memory. The encoder may be missing.
public struct Autoencoder: Sendable {
    public let configuration: ModelDescription.Autoencoder
    let encoder: Encoder?
    let first: Convolution
    let stages: [Stage]
    let last: Convolution

    /// Memory blocks at one width, then more frames (1x1), more pixels (nearest), and a convolution to the next width.
    struct Stage: Sendable {
        let blocks: [MemoryBlock]
        let grow: Convolution
        let convolution: Convolution
        let width: Int
        let space: Int
        let time: Int
    }

    /// taehv.py's `MemBlock`, whose skip is the identity as its widths are equal.
    struct MemoryBlock: Sendable {
        let first: Convolution
        let second: Convolution
        let third: Convolution
    }

    /// Modules are numbered as upstream's `nn.Sequential`, those without weights included.
    public init(_ checkpoint: Checkpoint, _ configuration: ModelDescription.Autoencoder) throws(CheckpointError) {
        let decoder = configuration.decoder
        self.configuration = configuration
        if let stages = configuration.encoder {
            encoder = try Encoder(checkpoint, configuration, stages)
        } else {
            encoder = nil
        }
        first = try Convolution(
            checkpoint, "decoder.1", in: configuration.latentChannels, out: decoder.widths[0], kernel: 3)
        var index = 3
        var stages: [Stage] = []
        for stage in decoder.blocks.indices {
            let (width, next) = (decoder.widths[stage], decoder.widths[stage + 1])
            var blocks: [MemoryBlock] = []
            for _ in 0..<decoder.blocks[stage] {
                blocks.append(try MemoryBlock(checkpoint, "decoder.\(index)", width: width))
                index += 1
            }
            let time = decoder.time[stage]
            stages.append(
                Stage(
                    blocks: blocks,
                    grow: try Convolution(
                        checkpoint, "decoder.\(index + 1).conv", in: width, out: width * time, kernel: 1, bias: false),
                    convolution: try Convolution(
                        checkpoint, "decoder.\(index + 2)", in: width, out: next, kernel: 3, bias: false),
                    width: width, space: decoder.space[stage], time: time))
            index += 3
        }
        self.stages = stages
        let pixels = configuration.imageChannels * configuration.patchSize * configuration.patchSize
        last = try Convolution(
            checkpoint, "decoder.\(index + 1)", in: decoder.widths[decoder.widths.count - 1], out: pixels, kernel: 3)
    }

    /// Multiplications and additions of the decoder's convolutions as the reference implementation does them: every
    /// frame, also those that are thrown away, and frames made from pixels that are enlarged already.
    public func operations(latentHeight: Int, latentWidth: Int, latentFrames: Int) -> Int {
        var (height, width, frames) = (latentHeight, latentWidth, latentFrames)
        var total = frames * first.operations(height: height, width: width)
        for stage in stages {
            for block in stage.blocks {
                for layer in [block.first, block.second, block.third] {
                    total += frames * layer.operations(height: height, width: width)
                }
            }
            (height, width) = (height * stage.space, width * stage.space)
            total += frames * stage.grow.operations(height: height, width: width)
            frames *= stage.time
            total += frames * stage.convolution.operations(height: height, width: width)
        }
        return total + frames * last.operations(height: height, width: width)
    }

    /// The picture's size for latents of this height and width.
    public func size(latentHeight: Int, latentWidth: Int) throws(ModelError) -> Size {
        let factor = configuration.spaceFactor
        guard latentHeight > 0, latentWidth > 0, latentHeight <= Size.maximumSide, latentWidth <= Size.maximumSide,
            let size = Size(width: latentWidth * factor, height: latentHeight * factor)
        else {
            throw .shape(
                "latents of \(latentWidth)x\(latentHeight); sides of pictures are 1...\(Size.maximumSide) pixels")
        }
        return size
    }
}

extension Autoencoder.MemoryBlock {
    init(_ checkpoint: Checkpoint, _ name: String, width: Int) throws(CheckpointError) {
        first = try Convolution(checkpoint, "\(name).conv.0", in: width, pastIn: width, out: width, kernel: 3)
        second = try Convolution(checkpoint, "\(name).conv.2", in: width, out: width, kernel: 3)
        third = try Convolution(checkpoint, "\(name).conv.4", in: width, out: width, kernel: 3)
    }

    /// The block over `input`, whose quantization is its first layer's; the output, of `target`'s, goes where `past` lies.
    func callAsFunction(
        _ input: UnsafeMutableRawPointer, past: UnsafeMutableRawPointer, into target: Quantization?, height: Int,
        width: Int, inner: UnsafeMutableRawPointer, outer: UnsafeMutableRawPointer, compute: Compute,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let before = FeatureMap(input, first.quantization)
        let between = FeatureMap(inner, second.quantization)
        let after = FeatureMap(outer, third.quantization)
        first(
            before, past: FeatureMap(past, first.quantization), height: height, width: width, into: between,
            activation: .relu, compute: compute, scratch: scratch)
        second(
            between, height: height, width: width, into: after, activation: .relu, compute: compute, scratch: scratch)
        third(
            after, height: height, width: width, residual: before, into: FeatureMap(past, target), activation: .relu,
            compute: compute, scratch: scratch)
    }
}
