import Engine
import Glibc
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

    /// Bytes of private memory that a request needs whose windows have this shape at most.
    ///
    /// - Parameter isLong: it is made from several windows, or goes on from another video.
    public func bytes(for shape: LatentShape, guided: Bool, isLong: Bool = false) -> Int {
        plan(shape, guided: guided, isLong: isLong).byteCount
    }

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

    private func plan(_ shape: LatentShape, guided: Bool, isLong: Bool) -> ArenaPlan {
        let (transformer, text) = (model.transformer, model.textEncoder)
        var plan = ArenaPlan()
        for _ in 0..<(guided ? 3 : 2) { plan.allocate(Float.self, count: shape.count) }
        let start = plan.mark
        planEncoding(shape, in: &plan)
        plan.rewind(to: start)
        func planText() {
            let mark = plan.mark
            plan.allocate(Float.self, count: text.maximumTokens * text.hiddenSize)
            text.plan(in: &plan)
            plan.rewind(to: mark)
            transformer.planContext(in: &plan)
        }
        if guided { planText() }
        // The decoder of a long video stays while its windows are made, and scenes change the prompt above it.
        if isLong { planDecoding(shape, in: &plan) }
        planText()
        let mark = plan.mark
        transformer.plan(shape, in: &plan)
        plan.rewind(to: mark)
        model.preview.plan(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
        plan.rewind(to: mark)
        planEncoding(shape, in: &plan)
        planDecoding(shape, in: &plan)
        return plan
    }

    private func make(
        _ request: VideoRequest, _ material: VideoMaterial, noise: [Float]?, observer: any GenerationObserver
    ) throws -> GeneratedVideo {
        // A file cut short inside its last page reads as zeros, without a fault that the guard of maps would see.
        try model.checkUnchanged()
        var video = try LatentVideo(request, material, model.description)
        let windows = video.windows(request, model.description).windows
        let isLong = windows.count > 1 || request.source != nil || request.isLoop
        let largest = video.shape(frames: windows.reduce(1) { max($0, $1.count) })
        let guided = request.guidance != 1
        let arena = try Arena(byteCount: bytes(for: largest, guided: guided, isLong: isLong))
        let buffers = Buffers(
            latents: try arena.allocate(Float.self, count: largest.count),
            predicted: try arena.allocate(Float.self, count: largest.count),
            unconditional: guided ? try arena.allocate(Float.self, count: largest.count) : nil)

        if observer.isCancelled { throw GenerationError.cancelled }
        let changed = try changed(request, material, shape: largest, arena: arena)
        let stays = material.pictures[.mask].map { EditedLatents.stays($0, largest) } ?? []
        let pictures = try knownPictures(material, shape: largest, arena: arena)
        let opposite = guided ? try context(of: request.negativePrompt, arena: arena) : nil

        let output = FrameOutput(request, observer)
        let backward = request.source?.direction == .backward
        // Forwards the decoder runs along, so that later windows can begin with a picture of what was made.
        var decoder: VideoDecoder?
        if isLong, !backward {
            let (last, earlier) = (video.segments.count - 1, video.segments.dropLast())
            try decode(Array(earlier), isFollowed: true, shape: largest, arena: arena, into: output)
            decoder = try VideoDecoder(self, largest, arena)
            for latent in video.segments[last] { try output.take(decoder?.push(latent) ?? []) }
        }
        let destination = FrameList()
        var passage = ArraySlice<[Float]>()
        if !video.destination.isEmpty {
            try decode(video.destination, isFollowed: false, shape: largest, arena: arena, into: destination)
            let between = windows.reduce(0) { $0 + $1.new }
            passage = try dissolve(
                from: output.kept, to: destination.frames, latents: between, shape: largest, arena: arena)[...]
        }
        // Nothing comes in front of what is made, nor is it decoded once more.
        let isStreamed = isLong && !backward && !request.isLoop && video.destination.isEmpty
        let latents = video.segments.reduce(windows.reduce(0) { $0 + $1.new }) { $0 + $1.count }
        let scenes = try scenes(request, arena: arena)
        let prompt = scenes == nil ? try context(of: request.prompt, arena: arena) : nil
        for (index, window) in windows.enumerated() {
            let mark = arena.mark
            defer { arena.rewind(to: mark) }
            let shape = video.shape(frames: window.count)
            var known = backward ? video.following(window) : KnownLatents()
            if !backward, window.known > 0 {
                known = try video.preceding(window) { position in
                    guard let picture = decoder?.lastFrames[position] else {
                        throw GenerationError.failed("frame \(position) is not remembered")
                    }
                    return try encode([picture], shape: shape, arena: arena)[0]
                }
            }
            if index == 0, request.source == nil, let first = pictures.first { known.frames[0] = first }
            if index + 1 == windows.count, window.count > 1, let last = pictures.last {
                known.frames[window.count - 1] = last
            }
            for place in 0..<window.following {
                known.frames[window.count - window.following + place] = video.destination[0][1 + place]
            }
            var edited: EditedLatents?
            if let present = video.segments.last?.count, !changed.isEmpty {
                edited = EditedLatents(stays: stays)
                for index in 0..<window.new { edited?.frames[window.known + index] = changed[present + index] }
            }
            if !passage.isEmpty {
                edited = EditedLatents(stays: [])
                for index in 0..<window.new { edited?.frames[window.known + index] = passage.popFirst() }
            }
            let context = try prompt ?? context(of: scenes, video, window, request, arena: arena)
            let offset = backward ? 0 : (video.segments.last?.count ?? 0) - window.known
            try denoise(
                request, shape: shape, known: known, edited: edited, contexts: (context, opposite), buffers,
                noise: noise, window: (index, windows.count, offset), arena: arena, observer: observer)
            let first = backward ? 0 : window.known
            let made = (first..<first + window.new).map { position in
                latentFrame(position, of: buffers.latents, shape)
            }.prefix(request.frames == 1 ? 1 : window.new)
            if backward {
                video.segments.insert(Array(made), at: 0)
            } else {
                video.segments[video.segments.count - 1] += made
                for latent in made { try output.take(decoder?.push(latent) ?? []) }
                // What the next window knows is all that is needed once more.
                if isStreamed, index + 1 < windows.count {
                    video.give(observer, but: windows[index + 1].known, of: latents)
                }
            }
        }
        if request.isLoop {
            for latent in try wayBack(over: output.kept, shape: largest, arena: arena) {
                video.segments[0].append(latent)
                try output.take(decoder?.push(latent) ?? [])
            }
        }
        if decoder == nil {
            try decode(video.segments, isFollowed: false, shape: largest, arena: arena, into: output)
        } else {
            try output.end(with: destination.frames)
            video.segments += video.destination
        }
        video.give(observer, of: video.segments.reduce(0) { $0 + $1.count })
        return GeneratedVideo(peakBytes: arena.peakByteCount)
    }

    /// What one window takes besides its contexts, `[channels, frames, height, width]` each.
    private struct Buffers {
        let latents: UnsafeMutablePointer<Float>
        let predicted: UnsafeMutablePointer<Float>
        let unconditional: UnsafeMutablePointer<Float>?
    }

    /// Leaves the clean latents of one window in `buffers`.
    private func denoise(
        _ request: VideoRequest, shape: LatentShape, known: KnownLatents, edited: EditedLatents?,
        contexts: (prompt: TextContext, opposite: TextContext?), _ buffers: Buffers, noise: [Float]?,
        window: (index: Int, count: Int, offset: Int), arena: Arena, observer: any GenerationObserver
    ) throws {
        let (latents, predicted) = (buffers.latents, buffers.predicted)
        if let noise {
            guard noise.count == shape.count else {
                throw GenerationError.failed("noise of \(noise.count) numbers; \(shape.count) are needed")
            }
            latents.update(from: noise, count: shape.count)
        } else {
            Random.normal(seed: request.seed, stream: UInt64(window.index), count: shape.count, into: latents)
        }
        let generation = model.description.generation
        let scheduler = FlowMatchScheduler(request, generation)
        edited?.mix(into: latents, scheduler.sigmas[0], shape)
        known.restore(in: latents, shape)
        for step in 0..<scheduler.steps {
            if observer.isCancelled { throw GenerationError.cancelled }
            let timesteps = known.timesteps(scheduler.timestep(step), frames: shape.frames)
            try model.transformer(
                latents, shape: shape, timesteps: timesteps, context: contexts.prompt, into: predicted,
                compute: compute, arena: arena)
            if let unconditional = buffers.unconditional, let opposite = contexts.opposite {
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
            edited?.restore(in: predicted, shape)
            // x + (x − clean) / s · (s' − s) = s'/s · x + (1 − s'/s) · clean
            let kept = next / sigma
            compute.axpby(1 - kept, predicted, kept, latents, count: shape.count)
            known.restore(in: predicted, shape)
            known.restore(in: latents, shape)

            let index =
                request.frames == 1 ? 0 : previewIndex(step: step, steps: scheduler.steps, frames: shape.frames)
            let area = shape.height * shape.width
            let preview = try model.preview.decode(
                predicted + index * area, channelStride: shape.frames * area, latentHeight: shape.height,
                latentWidth: shape.width, compute: compute, arena: arena)
            if compute.isCancelled { throw GenerationError.cancelled }
            observer.finished(
                step: window.index * scheduler.steps + step + 1, of: window.count * scheduler.steps, preview: preview,
                previewIndex: min(
                    (window.offset + index) * model.description.autoencoder.timeFactor, request.frames - 1))
        }
    }

    /// `[channels, height, width]` of a latent frame.
    private func latentFrame(
        _ position: Int, of latents: UnsafePointer<Float>, _ shape: LatentShape
    ) -> [Float] {
        let area = shape.height * shape.width
        var frame: [Float] = []
        frame.reserveCapacity(shape.frameCount)
        for channel in 0..<shape.channels {
            frame += UnsafeBufferPointer(start: latents + (channel * shape.frames + position) * area, count: area)
        }
        return frame
    }

    /// The pictures of every segment. The last picture of each gives way to the first of the next, as does the very last when
    /// the video is followed.
    private func decode(
        _ segments: [[[Float]]], isFollowed: Bool, shape: LatentShape, arena: Arena, into output: some FrameReceiver
    ) throws {
        for (index, segment) in segments.enumerated() {
            let mark = arena.mark
            defer { arena.rewind(to: mark) }
            let decoder = try VideoDecoder(self, shape, arena)
            let givesWay = isFollowed || index + 1 < segments.count
            for (place, latent) in segment.enumerated() {
                let frames = try decoder.push(latent)
                try output.take(givesWay && place + 1 == segment.count ? frames.dropLast() : frames)
            }
        }
    }

    /// Which latent frame step's preview shows: they pass by in order, so that the stream moves as the video will; the
    /// last shows the last.
    private func previewIndex(step: Int, steps: Int, frames: Int) -> Int {
        (frames - 1 + frames * steps - (steps - 1 - step)) % frames
    }

    private func scenes(_ request: VideoRequest, arena: Arena) throws -> Scenes? {
        guard let storyboard = request.storyboard else { return nil }
        let description = model.description
        // A transition passes from one text to the other in its whole length.
        let passing =
            request.destination == nil
            ? Windows.passing(
                description.longestWindow, timeFactor: description.autoencoder.timeFactor, fps: request.fps)
            : 2 * (storyboard.last?.at ?? 1)
        return try Scenes(storyboard, passing: passing, hiddenSize: model.textEncoder.hiddenSize) {
            try states(of: $0, arena: arena)
        }
    }

    /// The text of `window`, which is the next of `video`.
    private func context(
        of scenes: Scenes?, _ video: LatentVideo, _ window: Windows.Window, _ request: VideoRequest, arena: Arena
    ) throws -> TextContext {
        let before = (video.segments.last?.count ?? 0) - (request.source?.segments.last ?? 0)
        let middle = (Double(before) + Double(window.new) / 2) * Double(model.description.autoencoder.timeFactor)
        return try context(states: scenes?.states(at: middle / Double(request.fps)) ?? [], arena: arena)
    }

    private func context(of text: String, arena: Arena) throws -> TextContext {
        try context(states: states(of: text, arena: arena), arena: arena)
    }

    /// No states are the unconditional input.
    private func context(states: Scenes.States, arena: Arena) throws -> TextContext {
        try states.withUnsafeBufferPointer {
            try model.transformer.context(
                states: $0.isEmpty ? nil : $0.baseAddress, tokens: $0.count / model.textEncoder.hiddenSize,
                compute: compute, arena: arena)
        }
    }

    /// `[tokens, hidden]`; none of an empty text.
    private func states(of text: String, arena: Arena) throws -> Scenes.States {
        guard !text.isEmpty else { return [] }
        let encoder = model.textEncoder
        let tokens = try model.tokenizer.encode(text)
        // The states are copied out of the arena so that the context, which stays, can take their place in it.
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let buffer = try arena.allocate(Float.self, count: encoder.maximumTokens * encoder.hiddenSize)
        try encoder.encode(tokens, into: buffer, compute: compute, arena: arena)
        return Array(UnsafeBufferPointer(start: buffer, count: tokens.count * encoder.hiddenSize))
    }
}

extension FlowMatchScheduler {
    init(_ request: VideoRequest, _ generation: ModelDescription.Generation) {
        let shift = Float(generation.shift)
        if let edit = request.edit {
            self.init(steps: request.steps, shift: shift, strength: Float(edit.strength))
        } else if request.destination != nil {
            // What leads over begins as one video's pictures fading into the other's. With more noise than this what is
            // made leaves these, and jumps where it has to come back to them.
            self.init(steps: request.steps, shift: shift, strength: 0.1)
        } else {
            self.init(steps: request.steps, shift: shift)
        }
    }
}

extension ModelError {
    fileprivate var isUnreadable: Bool {
        if case .unreadable = self { return true }
        return false
    }
}
