import Engine
import Jobs
import Models
import Video

/// Makes videos with one model: encodes the text, denoises, decodes.
public final class VideoGenerator: Sendable {
    public let model: Model
    let compute: Compute

    public init(model: Model, compute: Compute) {
        self.model = model
        self.compute = compute
    }

    /// Decides every open value of a request with the model's card.
    public func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest {
        try RequestResolver(model.description).resolve(parameters)
    }

    /// One pass of the transformer over pure noise of the default shape, unguided: for comparing checkpoints.
    public func predict(_ prompt: String, seed: UInt64, timestep: Float) throws -> [Float] {
        let request = try resolve(VideoParameters(prompt: prompt))
        let shape = try model.description.latentShape(
            width: request.size.width, height: request.size.height, frames: request.frames)
        let arena = try Arena(byteCount: bytes(for: shape, guided: true))
        let latents = try arena.allocate(Float.self, count: shape.count)
        Random.normal(seed: seed, stream: 0, count: shape.count, into: latents)
        try model.transformer(
            latents, shape: shape, timesteps: [Float](repeating: timestep, count: shape.frames),
            context: try context(of: prompt, arena: arena), into: latents, compute: compute, arena: arena)
        return Array(UnsafeBufferPointer(start: latents, count: shape.count))
    }

    /// Bytes of private memory a request of this shape needs.
    public func bytes(for shape: LatentShape, guided: Bool) -> Int { plan(shape, guided: guided).byteCount }

    /// - Parameters:
    ///   - material: the pictures that the request refers to.
    ///   - noise: the latents at noise level 1, `[channels, frames, height, width]`; drawn from the request's seed when
    ///     `nil`.
    public func generate(
        _ request: VideoRequest, material: VideoMaterial = VideoMaterial(), noise: [Float]? = nil,
        observer: any GenerationObserver
    ) throws(GenerationError) -> GeneratedVideo {
        do {
            return try make(request, material, noise: noise, observer: observer)
        } catch let error as GenerationError {
            throw error
        } catch ModelError.cancelled {
            throw .cancelled
        } catch let error as ModelError where error.isUnreadable {
            throw .modelUnreadable("\(error)")
        } catch let error as ArenaError {
            throw .outOfMemory("\(error)")
        } catch let error as ModelError {
            throw .failed("\(error)")
        } catch {
            throw .failed("\(error)")
        }
    }

    private func plan(_ shape: LatentShape, guided: Bool) -> ArenaPlan {
        let (transformer, text) = (model.transformer, model.textEncoder)
        var plan = ArenaPlan()
        for _ in 0..<(guided ? 3 : 2) { plan.allocate(Float.self, count: shape.count) }
        let start = plan.mark
        planEncoding(shape, in: &plan)
        plan.rewind(to: start)
        for _ in 0..<(guided ? 2 : 1) {
            let mark = plan.mark
            plan.allocate(Float.self, count: text.maximumTokens * text.hiddenSize)
            text.plan(in: &plan)
            plan.rewind(to: mark)
            transformer.planContext(in: &plan)
        }
        let mark = plan.mark
        transformer.plan(shape, in: &plan)
        plan.rewind(to: mark)
        model.preview.plan(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
        plan.rewind(to: mark)
        plan.allocate(Float.self, count: shape.frameCount)
        model.autoencoder.planStream(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
        return plan
    }

    private func make(
        _ request: VideoRequest, _ material: VideoMaterial, noise: [Float]?, observer: any GenerationObserver
    ) throws -> GeneratedVideo {
        // A file cut short inside its last page reads as zeros, without a fault that the guard of maps would see.
        try model.checkUnchanged()
        let shape = try model.description.latentShape(
            width: request.size.width, height: request.size.height, frames: request.frames)
        let guided = request.guidance != 1
        let arena = try Arena(byteCount: bytes(for: shape, guided: guided))
        let latents = try arena.allocate(Float.self, count: shape.count)
        let predicted = try arena.allocate(Float.self, count: shape.count)
        let unconditional = guided ? try arena.allocate(Float.self, count: shape.count) : nil

        if observer.isCancelled { throw GenerationError.cancelled }
        let known = try knownLatents(material, shape: shape, arena: arena)
        let prompt = try context(of: request.prompt, arena: arena)
        let opposite = guided ? try context(of: request.negativePrompt, arena: arena) : nil

        if let noise {
            guard noise.count == shape.count else {
                throw GenerationError.failed("noise of \(noise.count) numbers; \(shape.count) are needed")
            }
            latents.update(from: noise, count: shape.count)
        } else {
            Random.normal(seed: request.seed, stream: 0, count: shape.count, into: latents)
        }
        known.restore(in: latents, shape)

        let generation = model.description.generation
        let scheduler = FlowMatchScheduler(steps: request.steps, shift: Float(generation.shift))
        for step in 0..<scheduler.steps {
            if observer.isCancelled { throw GenerationError.cancelled }
            let timesteps = known.timesteps(scheduler.timestep(step), frames: shape.frames)
            try model.transformer(
                latents, shape: shape, timesteps: timesteps, context: prompt, into: predicted, compute: compute,
                arena: arena)
            if let unconditional, let opposite {
                try model.transformer(
                    latents, shape: shape, timesteps: timesteps, context: opposite, into: unconditional,
                    compute: compute, arena: arena)
                // unconditional + guidance · (conditional − unconditional)
                let guidance = Float(request.guidance)
                compute.axpby(1 - guidance, unconditional, guidance, predicted, count: shape.count)
            }
            // From here `predicted` is the clean latent, whatever the network predicts.
            let (sigma, next) = (scheduler.sigmas[step], scheduler.sigmas[step + 1])
            if generation.prediction == .velocity {
                compute.axpby(1, latents, -sigma, predicted, count: shape.count)
            }
            // x + (x − clean) / s · (s' − s) = s'/s · x + (1 − s'/s) · clean
            let kept = next / sigma
            compute.axpby(1 - kept, predicted, kept, latents, count: shape.count)
            known.restore(in: predicted, shape)
            known.restore(in: latents, shape)

            let index = previewIndex(step: step, steps: scheduler.steps, frames: shape.frames)
            let area = shape.height * shape.width
            let preview = try model.preview.decode(
                predicted + index * area, channelStride: shape.frames * area, latentHeight: shape.height,
                latentWidth: shape.width, compute: compute, arena: arena)
            if compute.isCancelled { throw GenerationError.cancelled }
            observer.finished(
                step: step + 1, of: scheduler.steps, preview: preview,
                previewIndex: index * model.description.autoencoder.timeFactor)
        }

        let kept = Array(UnsafeRawBufferPointer(UnsafeBufferPointer(start: latents, count: shape.count)))
        let frames = try decode(latents, shape: shape, arena: arena, observer: observer)
        return GeneratedVideo(frames: frames, latents: kept, peakBytes: arena.peakByteCount)
    }

    /// Which latent frame step's preview shows: they pass by in order, so that the stream moves as the video will; the
    /// last shows the last.
    private func previewIndex(step: Int, steps: Int, frames: Int) -> Int {
        (frames - 1 + frames * steps - (steps - 1 - step)) % frames
    }

    /// An empty text is the unconditional input.
    private func context(of text: String, arena: Arena) throws -> TextContext {
        guard !text.isEmpty else {
            return try model.transformer.context(states: nil, tokens: 0, compute: compute, arena: arena)
        }
        let encoder = model.textEncoder
        let tokens = try model.tokenizer.encode(text)
        // The states are copied out of the arena so that the context, which stays, can take their place in it.
        let mark = arena.mark
        let buffer = try arena.allocate(Float.self, count: encoder.maximumTokens * encoder.hiddenSize)
        try encoder.encode(tokens, into: buffer, compute: compute, arena: arena)
        let states = Array(UnsafeBufferPointer(start: buffer, count: tokens.count * encoder.hiddenSize))
        arena.rewind(to: mark)
        return try states.withUnsafeBufferPointer {
            try model.transformer.context(
                states: $0.baseAddress, tokens: tokens.count, compute: compute, arena: arena)
        }
    }

    /// The pictures of normalised latents, in the memory of one latent frame.
    private func decode(
        _ latents: UnsafePointer<Float>, shape: LatentShape, arena: Arena, observer: any GenerationObserver
    ) throws -> [Frame] {
        let statistics = model.description.latents
        let area = shape.height * shape.width
        let latent = try arena.allocate(Float.self, count: shape.frameCount)
        let stream = try model.autoencoder.stream(
            latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
        var frames: [Frame] = []
        for index in 0..<shape.frames {
            if observer.isCancelled { throw GenerationError.cancelled }
            for channel in 0..<shape.channels {
                let source = latents + (channel * shape.frames + index) * area
                let target = latent + channel * area
                let (mean, deviation) = (statistics.mean[channel], statistics.std[channel])
                for place in 0..<area { target[place] = source[place] * deviation + mean }
            }
            try stream.push(latent) { frames.append($0) }
        }
        return frames
    }
}

extension ModelError {
    fileprivate var isUnreadable: Bool {
        if case .unreadable = self { return true }
        return false
    }
}
