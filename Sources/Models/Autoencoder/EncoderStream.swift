import Engine
import Video

/// Encodes one video, picture by picture, in the memory of one picture and of each layer's past.
///
/// Copies of the first picture stand in front of it, so that the first latent depends on it alone; every later latent
/// stands for `timeFactor` pictures. Lives in the arena it was made in, until that is rewound.
public final class EncoderStream {
    /// Of the pictures.
    public let size: Size
    private let configuration: ModelDescription.Autoencoder
    private let encoder: Autoencoder.Encoder
    private let compute: Compute
    private let latentHeight: Int
    private let latentWidth: Int
    private var stages: [StageState]
    private let pixels: UnsafeMutablePointer<Float>
    private let quantized: FeatureMap
    private let features: UnsafeMutableRawPointer
    private let pooled: UnsafeMutableRawPointer
    private let inner: UnsafeMutableRawPointer
    private let outer: UnsafeMutableRawPointer
    private let interleaved: UnsafeMutablePointer<Float>
    private let latent: UnsafeMutablePointer<Float>
    private let scratch: UnsafeMutablePointer<Float>
    private var isFirst = true

    /// Of a stage: the picture that waits for its pair, where blocks read and write, and each block's previous input.
    private struct StageState {
        var height: Int
        var width: Int
        let earlier: UnsafeMutableRawPointer
        var waits = false
        var frame: UnsafeMutableRawPointer
        var pasts: [UnsafeMutableRawPointer]
    }

    init(
        _ autoencoder: Autoencoder, _ encoder: Autoencoder.Encoder, latentHeight: Int, latentWidth: Int,
        compute: Compute, arena: Arena
    ) throws(ModelError) {
        size = try autoencoder.size(latentHeight: latentHeight, latentWidth: latentWidth)
        configuration = autoencoder.configuration
        self.encoder = encoder
        self.compute = compute
        self.latentHeight = latentHeight
        self.latentWidth = latentWidth
        var memory = try Buffers.raw(
            autoencoder.encoderBytes(encoder, latentHeight: latentHeight, latentWidth: latentWidth), in: arena)
        func take() -> UnsafeMutableRawPointer { memory.removeFirst() }
        func takeFloats() -> UnsafeMutablePointer<Float> { take().assumingMemoryBound(to: Float.self) }
        (pixels, quantized) = (takeFloats(), FeatureMap(take(), encoder.first.quantization))
        (features, pooled, inner, outer) = (take(), take(), take(), take())
        (interleaved, latent, scratch) = (takeFloats(), takeFloats(), takeFloats())
        let patch = configuration.patchSize
        var (height, width) = (size.height / patch, size.width / patch)
        var stages: [StageState] = []
        for stage in encoder.stages {
            let (earlier, frame) = (take(), take())
            let area = stage.convolution.outputSide(height) * stage.convolution.outputSide(width)
            let pasts = stage.blocks.map { block in
                let past = take()
                FeatureMap(past, block.first.quantization).clear(area * stage.next)
                return past
            }
            stages.append(StageState(height: height, width: width, earlier: earlier, frame: frame, pasts: pasts))
            (height, width) = (stage.convolution.outputSide(height), stage.convolution.outputSide(width))
        }
        self.stages = stages
    }

    /// Encodes the next picture. When it completes a latent frame `receive` gets it: `[channels, height, width]`, not
    /// normalised, valid during the call. Throws `.cancelled`, `.shape` for a picture of another size, or what
    /// `receive` throws; the stream is of no use then.
    public func push(_ frame: Frame, receive: (UnsafePointer<Float>) throws -> Void) throws {
        guard frame.size == size else { throw ModelError.shape("a picture of \(frame.size), not \(size)") }
        try frame.pixels.withUnsafeBufferPointer { bytes in
            try push({ Float(bytes[$0]) / 255 }, receive: receive)
        }
    }

    /// The same for `[height, width, 3]` in 0...1.
    func pushUnrounded(_ frame: UnsafePointer<Float>, receive: (UnsafePointer<Float>) throws -> Void) throws {
        try push({ frame[$0] }, receive: receive)
    }

    private func push(_ value: (Int) -> Float, receive: (UnsafePointer<Float>) throws -> Void) throws {
        let patch = configuration.patchSize
        let (height, width) = (size.height / patch, size.width / patch)
        unshufflePixels(height: height, width: width, factor: patch, into: pixels, value)
        var input = FeatureMap.floats(pixels)
        if case .bytes(let bytes, let quantization) = quantized {
            compute.quantize(pixels, count: size.pixels * configuration.imageChannels, quantization, into: bytes)
            input = quantized
        }
        let target = FeatureMap(features, encoder.quantization(before: 0))
        encoder.first(
            input, height: height, width: width, into: target, activation: .relu, compute: compute, scratch: scratch)
        // Copies of the first picture come out of the first convolution alike.
        for _ in 0..<(isFirst ? configuration.timeFactor : 1) { try run(0, features, receive) }
        isFirst = false
    }

    /// Runs the picture at `input` through `stage` and all later ones, as far as there are enough pictures for it.
    private func run(
        _ index: Int, _ input: UnsafeMutableRawPointer, _ receive: (UnsafePointer<Float>) throws -> Void
    ) throws {
        if compute.isCancelled { throw ModelError.cancelled }
        guard index < encoder.stages.count else { return try finish(input, receive) }
        let stage = encoder.stages[index]
        let (height, width) = (stages[index].height, stages[index].width)
        let quantization = stage.pool.quantization
        if stage.time > 1, !stages[index].waits {
            stages[index].waits = true
            let bytes = FeatureMap.byteCount(elements: height * width * stage.width, quantization)
            return stages[index].earlier.copyMemory(from: input, byteCount: bytes)
        }
        let isPair = stage.time > 1
        stages[index].waits = false
        stage.pool(
            FeatureMap(isPair ? stages[index].earlier : input, quantization),
            past: isPair ? FeatureMap(input, quantization) : nil, height: height, width: width,
            into: FeatureMap(pooled, stage.convolution.quantization), compute: compute, scratch: scratch)
        let following = encoder.quantization(before: index + 1)
        stage.convolution(
            FeatureMap(pooled, stage.convolution.quantization), height: height, width: width,
            into: FeatureMap(stages[index].frame, stage.quantization(before: 0, following: following)),
            compute: compute, scratch: scratch)
        remember(index, following)
        try run(index + 1, stages[index].frame, receive)
    }

    /// The memory blocks of a stage. Each block's output goes where its past lay, its input becomes the past.
    private func remember(_ index: Int, _ following: Quantization?) {
        let stage = encoder.stages[index]
        let height = stage.convolution.outputSide(stages[index].height)
        let width = stage.convolution.outputSide(stages[index].width)
        for (number, block) in stage.blocks.enumerated() {
            let (input, past) = (stages[index].frame, stages[index].pasts[number])
            block(
                input, past: past, into: stage.quantization(before: number + 1, following: following), height: height,
                width: width, inner: inner, outer: outer, compute: compute, scratch: scratch)
            stages[index].pasts[number] = input
            stages[index].frame = past
        }
    }

    private func finish(_ input: UnsafeMutableRawPointer, _ receive: (UnsafePointer<Float>) throws -> Void) throws {
        encoder.last(
            FeatureMap(input, encoder.last.quantization), height: latentHeight, width: latentWidth,
            into: .floats(interleaved), compute: compute, scratch: scratch)
        if compute.isCancelled { throw ModelError.cancelled }
        let (area, channels) = (latentHeight * latentWidth, configuration.latentChannels)
        for channel in 0..<channels {
            for place in 0..<area { latent[channel * area + place] = interleaved[place * channels + channel] }
        }
        try receive(latent)
    }
}

extension Autoencoder {
    /// Whether the checkpoint has the way from pictures to latents.
    public var canEncode: Bool { encoder != nil }

    /// A stream for one video; it stays in the arena. Throws `.shape` when there is no encoder.
    public func encoderStream(
        latentHeight: Int, latentWidth: Int, compute: Compute, arena: Arena
    ) throws(ModelError) -> EncoderStream {
        guard let encoder else { throw .shape("the autoencoder has no encoder") }
        return try EncoderStream(
            self, encoder, latentHeight: latentHeight, latentWidth: latentWidth, compute: compute, arena: arena)
    }

    /// Counts what an encoder's stream takes and keeps; nothing when there is no encoder.
    public func planEncoderStream(latentHeight: Int, latentWidth: Int, in plan: inout ArenaPlan) {
        guard let encoder else { return }
        Buffers.planRaw(encoderBytes(encoder, latentHeight: latentHeight, latentWidth: latentWidth), in: &plan)
    }

    /// Bytes of pixels, quantized pixels, features, pooled, inner, outer, interleaved latent, latent, scratch; then of
    /// each stage the picture that waits, its output and pasts.
    fileprivate func encoderBytes(_ encoder: Encoder, latentHeight: Int, latentWidth: Int) -> [Int] {
        let float = MemoryLayout<Float>.stride
        let factor = configuration.spaceFactor / configuration.patchSize
        var (height, width) = (latentHeight * factor, latentWidth * factor)
        let pixels = height * width * encoder.first.inputs
        let features = FeatureMap.byteCount(
            elements: height * width * encoder.first.outputs, encoder.quantization(before: 0))
        var (pooled, inner, outer, scratch) = (0, 0, 0, 0)
        func scratchFor(_ layer: Convolution, residual: Quantization? = nil, _ output: Quantization?) {
            scratch = max(
                scratch, layer.scratchFloats(height: height, width: width, residual: residual, output: output))
        }
        scratchFor(encoder.first, encoder.quantization(before: 0))
        var perStage: [Int] = []
        for (index, stage) in encoder.stages.enumerated() {
            let input = height * width * stage.width
            perStage.append(stage.time > 1 ? FeatureMap.byteCount(elements: input, stage.pool.quantization) : 0)
            pooled = max(pooled, FeatureMap.byteCount(elements: input, stage.convolution.quantization))
            scratchFor(stage.pool, stage.convolution.quantization)
            let following = encoder.quantization(before: index + 1)
            scratchFor(stage.convolution, stage.quantization(before: 0, following: following))
            (height, width) = (stage.convolution.outputSide(height), stage.convolution.outputSide(width))
            let frame = height * width * stage.next
            // A block's output goes where its past lay, so that one size must do for all.
            let roles = (0...stage.blocks.count).map { stage.quantization(before: $0, following: following) }
            let bytes = roles.map { FeatureMap.byteCount(elements: frame, $0) }.max() ?? 0
            perStage += Array(repeating: bytes, count: stage.blocks.count + 1)
            for (number, block) in stage.blocks.enumerated() {
                inner = max(inner, FeatureMap.byteCount(elements: frame, block.second.quantization))
                outer = max(outer, FeatureMap.byteCount(elements: frame, block.third.quantization))
                scratchFor(block.first, block.second.quantization)
                scratchFor(block.second, block.third.quantization)
                scratchFor(block.third, residual: block.first.quantization, roles[number + 1])
            }
        }
        scratchFor(encoder.last, nil)
        let latent = latentHeight * latentWidth * configuration.latentChannels * float
        return [
            pixels * float, encoder.first.quantization == nil ? 0 : pixels, features, pooled, inner, outer, latent,
            latent, scratch * float,
        ] + perStage
    }
}
