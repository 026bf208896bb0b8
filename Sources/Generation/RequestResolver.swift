import Jobs
import Models
import Video

/// Decides what a request leaves open and says what a model can't do. Pure: the same parameters and seed give the
/// same request.
struct RequestResolver {
    /// The longest prompt, in UTF-8 bytes.
    static let maximumPromptBytes = 2000

    let description: ModelDescription
    let sizes: [Size]

    init(_ description: ModelDescription) {
        self.description = description
        sizes = description.generation.sizes.compactMap { Size($0) }
    }

    func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest {
        let generation = description.generation
        try check(text: parameters.prompt, field: "prompt", mayBeEmpty: false)
        try check(text: parameters.negativePrompt ?? "", field: "negative_prompt", mayBeEmpty: true)

        let size = parameters.size ?? sizes[0]
        guard sizes.contains(size) else {
            let known = sizes.map(\.description).joined(separator: ", ")
            throw unsupported("size", "\(description.name) can't make \(size); it makes \(known)")
        }
        if let fps = parameters.fps, fps != generation.fps {
            throw unsupported("fps", "\(description.name) makes \(generation.fps) frames a second, not \(fps)")
        }
        let steps = parameters.steps ?? generation.steps.default
        guard (generation.steps.min...generation.steps.max).contains(steps) else {
            throw unsupported("steps", "\(generation.steps.min) to \(generation.steps.max) steps, not \(steps)")
        }
        let negative = parameters.negativePrompt ?? ""
        let guidance =
            parameters.guidance ?? (negative.isEmpty ? nil : generation.guidance.negative)
            ?? generation.guidance.default
        guard guidance.isFinite, (generation.guidance.min...generation.guidance.max).contains(guidance) else {
            throw unsupported(
                "guidance", "guidance from \(generation.guidance.min) to \(generation.guidance.max), not \(guidance)")
        }
        guard !parameters.isImage || parameters.references.isEmpty else {
            throw unsupported("input_reference", "an image is made from words alone")
        }
        if let edit = parameters.edit { try check(edit, parameters) }
        var parameters = parameters
        if let last = parameters.storyboard.last, parameters.destination == nil {
            try check(storyboard: parameters)
            parameters.seconds = parameters.seconds ?? last.at + usualScene
        }
        for reference in parameters.references
        where reference != .mask && !description.abilities.contains(reference.rawValue) {
            throw unsupported(
                reference.rawValue, "\(description.name) can't begin or end with a picture: it has no encoder")
        }
        var source = parameters.source
        if let extended = source {
            guard description.abilities.contains("extensions") else {
                throw unsupported("video", "\(description.name) can't extend videos: it has no encoder")
            }
            guard !parameters.isImage, parameters.references.isEmpty else {
                throw unsupported("input_reference", "an extension goes on from its video, not from a picture")
            }
            if extended.segments.isEmpty {
                source?.segments = [(extended.frames - 1) / description.autoencoder.timeFactor + 1]
            }
        }
        var destination = parameters.destination
        if let next = destination, next.segments.isEmpty {
            destination?.segments = [(next.frames - 1) / description.autoencoder.timeFactor + 1]
        }
        let isLoop = parameters.loop == true
        if isLoop { try check(loop: parameters) }
        let frames =
            if let edit = parameters.edit {
                rounded(up: edit.frames)
            } else if let source {
                try frames(extending: source, to: destination, seconds: parameters.seconds)
            } else {
                parameters.isImage ? 1 : try frames(seconds: parameters.seconds, isLoop: isLoop)
            }
        var request = VideoRequest(
            prompt: parameters.prompt, negativePrompt: negative, model: description.name,
            size: size, frames: frames, fps: generation.fps,
            // Seeds of our own choosing stay exact in JavaScript.
            seed: parameters.seed ?? UInt64.random(in: 0..<(1 << 32)), steps: steps, guidance: guidance,
            references: parameters.references)
        request.source = source
        request.destination = destination
        if isLoop { request.loop = true }
        let windows = Windows(request, description).windows
        if destination != nil {
            request.storyboard = parameters.storyboard.isEmpty ? nil : parameters.storyboard
        } else if let last = parameters.storyboard.last {
            let length = Double(frames) / Double(generation.fps)
            guard last.at < min(parameters.seconds ?? length, length),
                windows.count > 1 || parameters.storyboard.count == 1
            else {
                throw unsupported(
                    "storyboard",
                    "the last scene begins at \(last.at) of \(min(parameters.seconds ?? length, length)) seconds; scenes need "
                        + "more than the \(Double(generation.frames.max) / Double(generation.fps)) seconds of one window"
                )
            }
            request.storyboard = parameters.storyboard
        }
        if let edit = parameters.edit {
            request.edit = edit
        }
        if request.edit != nil || destination != nil {
            request.stepsTaken = FlowMatchScheduler(request, generation).steps
        }
        if windows.count > 1 { request.windows = windows.count }
        if let source {
            var segments = source.segments
            switch source.direction {
            case .forward: segments[segments.count - 1] += windows.reduce(0) { $0 + $1.new }
            case .backward: segments = windows.reversed().map(\.new) + segments
            }
            request.segments = segments + (destination?.segments ?? [])
        }
        return request
    }

    /// Frames with what is added to `source`: whole latent frames, not less than `seconds`, which are one window when nothing
    /// was said.
    private func frames(
        extending source: VideoRequest.Source, to destination: VideoRequest.Destination?, seconds: Double?
    ) throws(RequestError) -> Int {
        let factor = description.autoencoder.timeFactor
        let fps = Double(description.generation.fps)
        if source.direction == .backward, (source.segments.first ?? 0) < 2 {
            throw unsupported("direction", "a video of one frame can't be extended backwards")
        }
        if let destination, (destination.segments.first ?? 0) < 2 {
            throw unsupported("to", "a video of one frame can't be led to")
        }
        // The last new frame gives way to the destination's first.
        let there = source.frames + (destination.map { $0.frames - 1 } ?? 0)
        let longest = description.longestWindow
        let isBetween = source.direction == .backward || destination != nil
        let usual = longest - Windows.overlap - (isBetween ? 1 : 0)
        let wanted = seconds ?? Double(usual * factor) / fps
        guard wanted.isFinite, wanted > 0 else {
            throw RequestError(.invalid, code: "invalid_seconds", field: "seconds", "seconds must be more than 0")
        }
        let room = Double(maximumFrames - there) / fps
        guard wanted <= room else {
            throw unsupported(
                "seconds",
                "\(description.name) makes up to \(Double(maximumFrames) / fps) seconds in all; \(max(0, room)) can be "
                    + "added to what is there")
        }
        let frames = Int((wanted * fps).rounded(.up))
        return min(there + (frames + factor - 1) / factor * factor, maximumFrames)
    }

    /// Frames of the longest video: a minute where windows can follow each other, else what fits into one.
    var maximumFrames: Int {
        let generation = description.generation
        guard description.autoencoder.encoder != nil else { return generation.frames.max }
        let factor = description.autoencoder.timeFactor
        return max(generation.frames.max, Self.longestSeconds * generation.fps / factor * factor + 1)
    }

    static let longestSeconds = 60

    /// The smallest length the model can make that is not shorter than `seconds`; its longest when nothing was said.
    private func frames(seconds: Double?, isLoop: Bool) throws(RequestError) -> Int {
        var allowed = description.generation.frames
        if isLoop {
            // There and back: one frame, then twice as many latent frames.
            allowed.step = 2 * description.autoencoder.timeFactor
            allowed.min = 1 + allowed.step
            allowed.max = max(allowed.min, 1 + (allowed.max - 1) / allowed.step * allowed.step)
        }
        guard let seconds else { return allowed.max }
        let longest = Double(maximumFrames) / Double(description.generation.fps)
        guard seconds.isFinite, seconds > 0 else {
            throw RequestError(.invalid, code: "invalid_seconds", field: "seconds", "seconds must be more than 0")
        }
        guard seconds <= longest else {
            throw unsupported("seconds", "\(description.name) makes up to \(longest) seconds, not \(seconds)")
        }
        // In [0, maximumFrames] by the check above, so the conversion can't trap.
        return rounded(up: Int((seconds * Double(description.generation.fps)).rounded(.up)), allowed)
    }

    /// The shortest length that is made and has `wanted` frames, or the longest that is made.
    private func rounded(up wanted: Int, _ lengths: ModelDescription.Generation.Frames? = nil) -> Int {
        let lengths = lengths ?? description.generation.frames
        let past = max(0, wanted - lengths.min)
        let longest = lengths.min + (maximumFrames - lengths.min) / lengths.step * lengths.step
        return min(longest, lengths.min + (past + lengths.step - 1) / lengths.step * lengths.step)
    }

    private func check(_ edit: VideoRequest.Edit, _ parameters: VideoParameters) throws(RequestError) {
        guard description.abilities.contains("edits") else {
            throw unsupported("video", "\(description.name) can't change videos: it has no encoder")
        }
        guard edit.strength > 0, edit.strength <= 1 else {
            throw RequestError(
                .invalid, code: "invalid_strength", field: "strength", "strength must be above 0 and at most 1")
        }
        let shortest = edit.source == .latents ? description.generation.frames.min : 1
        guard (shortest...maximumFrames).contains(edit.frames),
            edit.source == .pictures || (edit.frames - 1) % description.autoencoder.timeFactor == 0
        else {
            throw unsupported(
                "video",
                "a video of \(edit.frames) frames; \(description.name) changes \(shortest) to \(maximumFrames)")
        }
        guard parameters.source == nil, !parameters.isImage, parameters.loop != true else {
            throw unsupported("video", "a video is changed, or extended, or a loop: one at a time")
        }
    }

    /// Seconds of a scene when nothing was said.
    private var usualScene: Double {
        Windows.passing(
            description.longestWindow, timeFactor: description.autoencoder.timeFactor, fps: description.generation.fps)
    }

    private func check(storyboard parameters: VideoParameters) throws(RequestError) {
        guard description.abilities.contains("storyboard") else {
            throw unsupported("storyboard", "\(description.name) makes one window, in which no scene follows another")
        }
        guard parameters.source == nil, parameters.edit == nil, !parameters.isImage, parameters.loop != true else {
            throw unsupported("storyboard", "a storyboard tells a new video; no loop, edit, extension or image")
        }
        for scene in parameters.storyboard { try check(text: scene.prompt, field: "storyboard", mayBeEmpty: false) }
    }

    private func check(loop parameters: VideoParameters) throws(RequestError) {
        guard description.abilities.contains("loop") else {
            throw unsupported("loop", "\(description.name) can't make loops: it has no encoder")
        }
        guard !parameters.isImage, parameters.source == nil, !parameters.references.contains(.last) else {
            throw unsupported(
                "loop", "a loop ends with its first frame: it takes no end_reference and extends no video")
        }
    }

    private func check(text: String, field: String, mayBeEmpty: Bool) throws(RequestError) {
        func refuse(_ reason: String) -> RequestError {
            RequestError(.invalid, code: "invalid_\(field)", field: field, "\(field) \(reason)")
        }
        guard text.utf8.count <= Self.maximumPromptBytes else {
            throw refuse("has \(text.utf8.count) bytes, the limit is \(Self.maximumPromptBytes)")
        }
        if text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" && $0 != "\t" || $0.value == 0x7F }) {
            throw refuse("holds a control character")
        }
        guard mayBeEmpty || text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else {
            throw refuse("is empty")
        }
    }

    private func unsupported(_ field: String, _ message: String) -> RequestError {
        RequestError(.unsupported, code: "unsupported_\(field)", field: field, message)
    }
}

extension ModelDescription {
    /// Latent frames that the transformer sees at once.
    var longestWindow: Int { (generation.frames.max - 1) / autoencoder.timeFactor + 1 }

    /// What can be asked of the model beside text to video, by the names of `/v1/capabilities`.
    var abilities: [String] {
        let always = ["images", "remix"]
        return autoencoder.encoder == nil
            ? always
            : always + ["blends", "edits", "extensions", "loop", "storyboard"] + Reference.ends.map(\.rawValue)
    }
}
