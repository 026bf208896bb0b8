import Engine
import Video

/// Decodes one video, latent frame by latent frame, in the memory of one frame and of each memory block's past.
///
/// Between two layers lie floats, or bytes where the layer that takes them is int8.
///
/// The past lives in the arena it was made in, until that is rewound; what one frame needs besides is given back behind it.
public final class DecoderStream {
    /// Of the pictures.
    public let size: Size
    private let autoencoder: Autoencoder
    private let compute: Compute
    private let latentHeight: Int
    private let latentWidth: Int
    private let arena: Arena
    private var stages: [StageState]
    /// Pictures still to be thrown away: the first latent stands for one frame, the network makes `timeFactor`.
    private var dropped: Int

    /// Of a stage: where its input is written, and each block's previous input.
    private struct StageState {
        var height: Int
        var width: Int
        var input: UnsafeMutableRawPointer
        var pasts: [UnsafeMutableRawPointer]
    }

    /// What is needed while a latent frame is decoded.
    private struct Working {
        let latent: UnsafeMutablePointer<Float>
        /// The latent frame as the first convolution takes it.
        let quantized: FeatureMap
        /// Channels after `grow` for a float convolution, one picture before it, two in a memory block, and the last
        /// convolution's.
        let upsampled: UnsafeMutablePointer<Float>
        let inner: UnsafeMutableRawPointer
        let outer: UnsafeMutableRawPointer
        let features: FeatureMap
        let pixels: UnsafeMutablePointer<Float>
        let scratch: UnsafeMutablePointer<Float>
        /// Of each stage: the channels of all its new frames.
        let grown: [UnsafeMutableRawPointer]

        init(_ autoencoder: Autoencoder, bytes: [Int], in arena: Arena) throws(ModelError) {
            var memory = try Buffers.raw(bytes, in: arena)
            func take() -> UnsafeMutableRawPointer { memory.removeFirst() }
            func takeFloats() -> UnsafeMutablePointer<Float> { take().assumingMemoryBound(to: Float.self) }
            (latent, quantized) = (takeFloats(), FeatureMap(take(), autoencoder.first.quantization))
            (upsampled, inner, outer) = (takeFloats(), take(), take())
            features = FeatureMap(take(), autoencoder.last.quantization)
            (pixels, scratch) = (takeFloats(), takeFloats())
            grown = memory
        }
    }

    init(
        _ autoencoder: Autoencoder, latentHeight: Int, latentWidth: Int, compute: Compute, arena: Arena
    ) throws(ModelError) {
        size = try autoencoder.size(latentHeight: latentHeight, latentWidth: latentWidth)
        self.autoencoder = autoencoder
        self.compute = compute
        self.latentHeight = latentHeight
        self.latentWidth = latentWidth
        self.arena = arena
        dropped = autoencoder.configuration.timeFactor - 1
        var memory = try Buffers.raw(
            autoencoder.streamBytes(latentHeight: latentHeight, latentWidth: latentWidth).kept, in: arena)
        func take() -> UnsafeMutableRawPointer { memory.removeFirst() }
        var stages: [StageState] = []
        var scale = 1
        for stage in autoencoder.stages {
            let area = latentHeight * latentWidth * scale * scale
            let input = take()
            let pasts = stage.blocks.map { block in
                let past = take()
                FeatureMap(past, block.first.quantization).clear(area * stage.width)
                return past
            }
            stages.append(
                StageState(
                    height: latentHeight * scale, width: latentWidth * scale, input: input, pasts: pasts))
            scale *= stage.space
        }
        self.stages = stages
    }

    /// Decodes the next latent frame and gives each picture that is ready to `receive`, in order: the first time one,
    /// then `timeFactor`. Throws `.cancelled`, or what `receive` throws; the stream is of no use then.
    ///
    /// `frame` is `[channels, height, width]`, not normalised; `channelStride` is the distance between its channels in
    /// floats, `height * width` unless said.
    public func push(
        _ frame: UnsafePointer<Float>, channelStride: Int? = nil, receive: (Frame) throws -> Void
    ) throws {
        try push(frame, channelStride: channelStride) { try receive(picture($0)) }
    }

    /// The same, before rounding: `receive` gets `[height, width, 3]`, 0...1 and a little beyond.
    func pushUnrounded(
        _ frame: UnsafePointer<Float>, channelStride: Int? = nil, receive: (UnsafePointer<Float>) throws -> Void
    ) throws {
        let shuffled = UnsafeMutablePointer<Float>.allocate(capacity: size.pixels * 3)
        defer { shuffled.deallocate() }
        try push(frame, channelStride: channelStride) {
            shuffle($0) { shuffled[$0] = $1 }
            try receive(shuffled)
        }
    }

    private func push(
        _ frame: UnsafePointer<Float>, channelStride: Int?, ready: (UnsafePointer<Float>) throws -> Void
    ) throws {
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let working = try Working(
            autoencoder, bytes: autoencoder.streamBytes(latentHeight: latentHeight, latentWidth: latentWidth).working,
            in: arena)
        let (latent, pixels) = (working.latent, UnsafePointer(working.pixels))
        let channels = autoencoder.configuration.latentChannels
        let count = channels * latentHeight * latentWidth
        interleave(
            frame, channels: channels, channelStride: channelStride ?? latentHeight * latentWidth,
            pixels: latentHeight * latentWidth, into: latent)
        compute.softClamp(latent, count: count, into: latent)
        var input = FeatureMap.floats(latent)
        if case .bytes(let bytes, let quantization) = working.quantized {
            compute.quantize(latent, count: count, quantization, into: bytes)
            input = working.quantized
        }
        autoencoder.first(
            input, height: latentHeight, width: latentWidth, into: self.input(of: 0, working), activation: .relu,
            compute: compute, scratch: working.scratch)
        try run(0, working) { try ready(pixels) }
    }

    /// What a stage takes, or behind the last one the last convolution.
    private func input(of index: Int, _ working: Working) -> FeatureMap {
        guard index < stages.count else { return working.features }
        return FeatureMap(stages[index].input, autoencoder.stages[index].quantization(before: 0))
    }

    /// Runs the frame in the input of `stage` through it and all later ones, depth first.
    private func run(_ index: Int, _ working: Working, _ ready: () throws -> Void) throws {
        if compute.isCancelled { throw ModelError.cancelled }
        let stage = autoencoder.stages[index]
        remember(index, working)
        let (state, grown) = (stages[index], working.grown[index])
        let (wide, high) = (state.width * stage.space, state.height * stage.space)
        let isLast = index + 1 == autoencoder.stages.count
        // Nearest upsampling and a 1x1 convolution can change places: a quarter of the work, the same numbers.
        stage.grow(
            FeatureMap(state.input, stage.grow.quantization), height: state.height, width: state.width,
            into: FeatureMap(grown, stage.convolution.quantization), compute: compute, scratch: working.scratch)
        for frame in 0..<stage.time {
            if isLast, dropped > 0 {
                dropped -= 1
                continue
            }
            let target = input(of: index + 1, working)
            let activation = isLast ? Activation.relu : .none
            if let quantization = stage.convolution.quantization {
                stage.convolution(
                    FeatureMap(grown + frame * stage.width, quantization), inputStride: stage.width * stage.time,
                    enlarge: stage.space, height: high, width: wide, into: target, activation: activation,
                    compute: compute, scratch: working.scratch)
            } else {
                stage.convolution(
                    .floats(upsample(stage, state, frame, working, grown)), height: high, width: wide, into: target,
                    activation: activation, compute: compute, scratch: working.scratch)
            }
            if isLast {
                autoencoder.last(
                    target, height: high, width: wide, into: .floats(working.pixels), compute: compute,
                    scratch: working.scratch)
                if compute.isCancelled { throw ModelError.cancelled }
                try ready()
            } else {
                try run(index + 1, working, ready)
            }
        }
    }

    /// The memory blocks of a stage over its input. Each block's output goes where its past lay, its input becomes the
    /// past: nothing is copied.
    private func remember(_ index: Int, _ working: Working) {
        let (height, width) = (stages[index].height, stages[index].width)
        let stage = autoencoder.stages[index]
        for (number, block) in stage.blocks.enumerated() {
            let (input, past) = (stages[index].input, stages[index].pasts[number])
            block(
                input, past: past, into: stage.quantization(before: number + 1), height: height, width: width,
                inner: working.inner, outer: working.outer, compute: compute, scratch: working.scratch)
            stages[index].pasts[number] = input
            stages[index].input = past
        }
    }

    /// One of the frames in `grown`, enlarged, for a convolution of floats; an int8 one enlarges by itself.
    private func upsample(
        _ stage: Autoencoder.Stage, _ state: StageState, _ frame: Int, _ working: Working,
        _ grown: UnsafeMutableRawPointer
    ) -> UnsafeMutablePointer<Float> {
        let (space, channels, stride) = (stage.space, stage.width, stage.width * stage.time)
        let grown = grown.assumingMemoryBound(to: Float.self)
        if space == 1 && stage.time == 1 { return grown }
        let (width, first, upsampled) = (state.width, grown + frame * stage.width, working.upsampled)
        compute.parallel(count: state.height * space, cost: width * space * channels) { lines in
            for line in lines {
                var target = upsampled + line * width * space * channels
                let source = first + line / space * width * stride
                for column in 0..<width {
                    for _ in 0..<space {
                        target.update(from: source + column * stride, count: channels)
                        target += channels
                    }
                }
            }
        }
        return upsampled
    }

    private func picture(_ pixels: UnsafePointer<Float>) -> Frame {
        Frame(
            size: size,
            pixels: [UInt8](unsafeUninitializedCapacity: size.pixels * 3) { bytes, count in
                shuffle(pixels) { bytes[$0] = rounded($1) }
                count = size.pixels * 3
            })
    }

    /// Pixel shuffle of the last convolution's channels, `[3, patch, patch]` at each place.
    private func shuffle(_ pixels: UnsafePointer<Float>, _ write: (_ index: Int, _ value: Float) -> Void) {
        shufflePixels(
            pixels, height: size.height / autoencoder.configuration.patchSize,
            width: size.width / autoencoder.configuration.patchSize, factor: autoencoder.configuration.patchSize, write)
    }
}

extension Autoencoder.Stage {
    /// What the input of block `number` holds, or behind the last block that of `grow`.
    fileprivate func quantization(before number: Int) -> Quantization? {
        number < blocks.count ? blocks[number].first.quantization : grow.quantization
    }
}

extension Autoencoder {
    /// A stream for one video; what it keeps stays in the arena.
    public func stream(
        latentHeight: Int, latentWidth: Int, compute: Compute, arena: Arena
    ) throws(ModelError) -> DecoderStream {
        try DecoderStream(
            self, latentHeight: latentHeight, latentWidth: latentWidth, compute: compute, arena: arena)
    }

    /// Counts what a stream keeps, and what it takes for a frame and gives back.
    public func planStream(latentHeight: Int, latentWidth: Int, in plan: inout ArenaPlan) {
        let bytes = streamBytes(latentHeight: latentHeight, latentWidth: latentWidth)
        Buffers.planRaw(bytes.kept, in: &plan)
        let mark = plan.mark
        Buffers.planRaw(bytes.working, in: &plan)
        plan.rewind(to: mark)
    }

    /// Bytes of what is kept: of each stage its input and pasts. And of what a frame needs: latent, quantized latent, upsampled,
    /// inner, outer, features, pixels, scratch, then of each stage its grown frames.
    fileprivate func streamBytes(latentHeight: Int, latentWidth: Int) -> (kept: [Int], working: [Int]) {
        var (upsampled, inner, outer, scratch) = (0, 0, 0, 0)
        var (kept, grown): ([Int], [Int]) = ([], [])
        var (height, width) = (latentHeight, latentWidth)
        func scratchFor(_ layer: Convolution, residual: Quantization? = nil, _ output: Quantization?) {
            scratch = max(
                scratch, layer.scratchFloats(height: height, width: width, residual: residual, output: output))
        }
        scratchFor(first, stages.first?.quantization(before: 0))
        for (index, stage) in stages.enumerated() {
            let frame = height * width * stage.width
            // A block's output goes where its past lay, so that one size must do for all.
            let roles = (0...stage.blocks.count).map { stage.quantization(before: $0) }
            let bytes = roles.map { FeatureMap.byteCount(elements: frame, $0) }.max() ?? 0
            kept += Array(repeating: bytes, count: stage.blocks.count + 1)
            grown.append(FeatureMap.byteCount(elements: frame * stage.time, stage.convolution.quantization))
            for (number, block) in stage.blocks.enumerated() {
                inner = max(inner, FeatureMap.byteCount(elements: frame, block.second.quantization))
                outer = max(outer, FeatureMap.byteCount(elements: frame, block.third.quantization))
                scratchFor(block.first, block.second.quantization)
                scratchFor(block.second, block.third.quantization)
                scratchFor(block.third, residual: block.first.quantization, stage.quantization(before: number + 1))
            }
            scratchFor(stage.grow, stage.convolution.quantization)
            (height, width) = (height * stage.space, width * stage.space)
            let next = index + 1 < stages.count ? stages[index + 1].quantization(before: 0) : last.quantization
            scratchFor(stage.convolution, next)
            if stage.convolution.quantization == nil, stage.space * stage.time > 1 {
                upsampled = max(upsampled, height * width * stage.width * MemoryLayout<Float>.stride)
            }
        }
        let latent = latentHeight * latentWidth * configuration.latentChannels
        let working = [
            latent * MemoryLayout<Float>.stride, first.quantization == nil ? 0 : latent, upsampled, inner, outer,
            FeatureMap.byteCount(elements: height * width * last.inputs, last.quantization),
            height * width * last.outputs * MemoryLayout<Float>.stride, scratch * MemoryLayout<Float>.stride,
        ]
        return (kept, working + grown)
    }
}
