import Engine

extension Autoencoder {
    /// The way from pictures to latents (reference: madebyollin/taehv, `TAEHV.encoder`).
    struct Encoder: Sendable {
        let first: Convolution
        let stages: [EncoderStage]
        let last: Convolution
    }

    /// Fewer frames (1x1 over `time` of them), fewer pixels and the next width (stride `space`), then memory blocks.
    struct EncoderStage: Sendable {
        /// taehv.py's `TPool`. Its input is the earlier frame of a pair, its past the later one: the order of its weights.
        let pool: Convolution
        let convolution: Convolution
        let blocks: [MemoryBlock]
        let width: Int
        let next: Int
        let space: Int
        let time: Int

        /// What the input of block `number` holds; behind the last one it is the next layer's, `following`.
        func quantization(before number: Int, following: Quantization?) -> Quantization? {
            number < blocks.count ? blocks[number].first.quantization : following
        }
    }
}

extension Autoencoder.Encoder {
    /// Modules are numbered as upstream's `nn.Sequential`, those without weights included.
    init(
        _ checkpoint: Checkpoint, _ configuration: ModelDescription.Autoencoder,
        _ encoder: ModelDescription.Autoencoder.Stages
    ) throws(CheckpointError) {
        let pixels = configuration.imageChannels * configuration.patchSize * configuration.patchSize
        first = try Convolution(checkpoint, "encoder.0", in: pixels, out: encoder.widths[0], kernel: 3)
        var index = 2
        var stages: [Autoencoder.EncoderStage] = []
        for stage in encoder.blocks.indices {
            let (width, next, time) = (encoder.widths[stage], encoder.widths[stage + 1], encoder.time[stage])
            let pool = try Convolution(
                checkpoint, "encoder.\(index).conv", in: width, pastIn: width * (time - 1), out: width, kernel: 1,
                bias: false)
            let convolution = try Convolution(
                checkpoint, "encoder.\(index + 1)", in: width, out: next, kernel: 3, stride: encoder.space[stage],
                bias: false)
            index += 2
            var blocks: [Autoencoder.MemoryBlock] = []
            for _ in 0..<encoder.blocks[stage] {
                blocks.append(try Autoencoder.MemoryBlock(checkpoint, "encoder.\(index)", width: next))
                index += 1
            }
            stages.append(
                Autoencoder.EncoderStage(
                    pool: pool, convolution: convolution, blocks: blocks, width: width, next: next,
                    space: encoder.space[stage], time: time))
        }
        self.stages = stages
        last = try Convolution(
            checkpoint, "encoder.\(index)", in: encoder.widths[encoder.widths.count - 1],
            out: configuration.latentChannels, kernel: 3)
    }

    /// What a stage takes, or behind the last one the last convolution.
    func quantization(before stage: Int) -> Quantization? {
        stage < stages.count ? stages[stage].pool.quantization : last.quantization
    }
}
