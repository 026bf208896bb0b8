import Engine
import Video

/// Decodes one video, latent frame by latent frame, in the memory of one frame and of each memory block's past.
///
/// Lives in the arena it was made in, until that is rewound.
public final class DecoderStream {
    /// Of the pictures.
    public let size: Size
    private let autoencoder: Autoencoder
    private let compute: Compute
    private let latentHeight: Int
    private let latentWidth: Int
    private var stages: [StageState]
    private let latent: UnsafeMutablePointer<Float>
    /// Channels after `grow`, one picture before a convolution, two in a memory block, and the last convolution's.
    private let upsampled: UnsafeMutablePointer<Float>
    private let inner: UnsafeMutablePointer<Float>
    private let outer: UnsafeMutablePointer<Float>
    private let features: UnsafeMutablePointer<Float>
    private let pixels: UnsafeMutablePointer<Float>
    /// Pictures still to be thrown away: the first latent stands for one frame, the network makes `timeFactor`.
    private var dropped: Int

    /// Of a stage: where its input is written, each block's previous input, and the channels of all its new frames.
    private struct StageState {
        var height: Int
        var width: Int
        var input: UnsafeMutablePointer<Float>
        var pasts: [UnsafeMutablePointer<Float>]
        var grown: UnsafeMutablePointer<Float>
    }

    init(
        _ autoencoder: Autoencoder, latentHeight: Int, latentWidth: Int, compute: Compute, arena: Arena
    ) throws(ModelError) {
        size = try autoencoder.size(latentHeight: latentHeight, latentWidth: latentWidth)
        self.autoencoder = autoencoder
        self.compute = compute
        self.latentHeight = latentHeight
        self.latentWidth = latentWidth
        dropped = autoencoder.configuration.timeFactor - 1
        var counts = autoencoder.streamCounts(latentHeight: latentHeight, latentWidth: latentWidth)
        var floats = try Buffers(counts, in: arena).floats
        func take() -> (UnsafeMutablePointer<Float>, Int) { (floats.removeFirst(), counts.removeFirst()) }
        (latent, upsampled, inner) = (take().0, take().0, take().0)
        (outer, features, pixels) = (take().0, take().0, take().0)
        var stages: [StageState] = []
        var scale = 1
        for stage in autoencoder.stages {
            let input = take().0
            let pasts = stage.blocks.map { _ in
                let (past, count) = take()
                past.update(repeating: 0, count: count)
                return past
            }
            stages.append(
                StageState(
                    height: latentHeight * scale, width: latentWidth * scale, input: input, pasts: pasts,
                    grown: take().0))
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
        try push(frame, channelStride: channelStride) { try receive(picture()) }
    }

    /// The same, before rounding: `receive` gets `[height, width, 3]`, 0...1 and a little beyond.
    func pushUnrounded(
        _ frame: UnsafePointer<Float>, channelStride: Int? = nil, receive: (UnsafePointer<Float>) throws -> Void
    ) throws {
        let shuffled = UnsafeMutablePointer<Float>.allocate(capacity: size.pixels * 3)
        defer { shuffled.deallocate() }
        try push(frame, channelStride: channelStride) {
            shuffle { shuffled[$0] = $1 }
            try receive(shuffled)
        }
    }

    private func push(_ frame: UnsafePointer<Float>, channelStride: Int?, ready: () throws -> Void) throws {
        let channels = autoencoder.configuration.latentChannels
        interleave(
            frame, channels: channels, channelStride: channelStride ?? latentHeight * latentWidth,
            pixels: latentHeight * latentWidth, into: latent)
        compute.softClamp(latent, count: channels * latentHeight * latentWidth, into: latent)
        let target = stages.first?.input ?? features
        autoencoder.first(
            latent, height: latentHeight, width: latentWidth, into: target, activation: .relu, compute: compute)
        try run(0, ready)
    }

    /// Runs the frame in the input of `stage` through it and all later ones, depth first.
    private func run(_ index: Int, _ ready: () throws -> Void) throws {
        if compute.isCancelled { throw ModelError.cancelled }
        let stage = autoencoder.stages[index]
        remember(index)
        let (height, width) = (stages[index].height, stages[index].width)
        let (wide, high) = (width * stage.space, height * stage.space)
        let isLast = index + 1 == autoencoder.stages.count
        // Nearest upsampling and a 1x1 convolution can change places: a quarter of the work, the same numbers.
        stage.grow(stages[index].input, height: height, width: width, into: stages[index].grown, compute: compute)
        for frame in 0..<stage.time {
            if isLast, dropped > 0 {
                dropped -= 1
                continue
            }
            let source = upsample(stage, stages[index], frame)
            let target = isLast ? features : stages[index + 1].input
            stage.convolution(
                source, height: high, width: wide, into: target, activation: isLast ? .relu : .none, compute: compute)
            if isLast {
                autoencoder.last(target, height: high, width: wide, into: pixels, compute: compute)
                if compute.isCancelled { throw ModelError.cancelled }
                try ready()
            } else {
                try run(index + 1, ready)
            }
        }
    }

    /// The memory blocks of a stage over its input. Each block's output goes where its past lay, its input becomes the
    /// past: nothing is copied.
    private func remember(_ index: Int) {
        let (height, width) = (stages[index].height, stages[index].width)
        for (number, block) in autoencoder.stages[index].blocks.enumerated() {
            let (input, past) = (stages[index].input, stages[index].pasts[number])
            block.first(
                input, past: past, height: height, width: width, into: inner, activation: .relu, compute: compute)
            block.second(inner, height: height, width: width, into: outer, activation: .relu, compute: compute)
            block.third(
                outer, height: height, width: width, residual: input, into: past, activation: .relu, compute: compute)
            stages[index].pasts[number] = input
            stages[index].input = past
        }
    }

    /// One of the frames in `grown`, enlarged.
    private func upsample(_ stage: Autoencoder.Stage, _ state: StageState, _ frame: Int) -> UnsafePointer<Float> {
        let (space, channels, stride) = (stage.space, stage.width, stage.width * stage.time)
        if space == 1 && stage.time == 1 { return UnsafePointer(state.grown) }
        let (width, grown, upsampled) = (state.width, state.grown + frame * stage.width, upsampled)
        compute.parallel(count: state.height * space, cost: width * space * channels) { lines in
            for line in lines {
                var target = upsampled + line * width * space * channels
                let source = grown + line / space * width * stride
                for column in 0..<width {
                    for _ in 0..<space {
                        target.update(from: source + column * stride, count: channels)
                        target += channels
                    }
                }
            }
        }
        return UnsafePointer(upsampled)
    }

    private func picture() -> Frame {
        Frame(
            size: size,
            pixels: [UInt8](unsafeUninitializedCapacity: size.pixels * 3) { bytes, count in
                shuffle { bytes[$0] = rounded($1) }
                count = size.pixels * 3
            })
    }

    /// Pixel shuffle of the last convolution's channels, `[3, patch, patch]` at each place.
    private func shuffle(_ write: (_ index: Int, _ value: Float) -> Void) {
        shufflePixels(
            pixels, height: size.height / autoencoder.configuration.patchSize,
            width: size.width / autoencoder.configuration.patchSize, factor: autoencoder.configuration.patchSize, write)
    }
}

extension Autoencoder {
    /// A stream for one video; it stays in the arena.
    public func stream(
        latentHeight: Int, latentWidth: Int, compute: Compute, arena: Arena
    ) throws(ModelError) -> DecoderStream {
        try DecoderStream(
            self, latentHeight: latentHeight, latentWidth: latentWidth, compute: compute, arena: arena)
    }

    /// Counts what a stream takes and keeps.
    public func planStream(latentHeight: Int, latentWidth: Int, in plan: inout ArenaPlan) {
        Buffers.plan(streamCounts(latentHeight: latentHeight, latentWidth: latentWidth), in: &plan)
    }

    /// Latent, upsampled, inner, outer, features, pixels; then of each stage its input, pasts and grown frames.
    fileprivate func streamCounts(latentHeight: Int, latentWidth: Int) -> [Int] {
        var upsampled = 0
        var inner = 0
        var perStage: [Int] = []
        var area = latentHeight * latentWidth
        for stage in stages {
            let frame = area * stage.width
            perStage += Array(repeating: frame, count: stage.blocks.count + 1) + [frame * stage.time]
            inner = max(inner, frame)
            area *= stage.space * stage.space
            upsampled = max(upsampled, area * stage.width)
        }
        let latent = latentHeight * latentWidth * configuration.latentChannels
        return [latent, upsampled, inner, inner, area * last.inputs, area * last.outputs] + perStage
    }
}
