import Video

/// What a client asked for, as parsed from the request and before any model was consulted. `nil` is "not said".
public struct VideoParameters: Sendable, Equatable {
    public var prompt: String
    public var model: String?
    public var size: Size?
    /// Length in seconds; the generator answers with the nearest length it can make that is not shorter.
    public var seconds: Double?
    public var seed: UInt64?
    public var steps: Int?
    public var guidance: Double?
    public var negativePrompt: String?
    public var fps: Int?
    /// What comes with the request as pictures; these themselves are the `VideoMaterial`.
    public var references: [Reference] = []
    /// Whether a camera has a part in it; nil is no.
    public var camera: CameraUse?
    /// One frame; `seconds` means nothing then.
    public var isImage = false
    /// It ends where it begins.
    public var loop: Bool?
    /// What is shown when, instead of the prompt alone; empty is none.
    public var storyboard: [Scene] = []
    /// The video that it changes. Its latents, or its pictures, are the `VideoMaterial`'s.
    public var edit: VideoRequest.Edit?
    /// The video that it extends; `seconds` then is what is added. Its latents are the `VideoMaterial`'s.
    public var source: VideoRequest.Source?
    /// The video that the new one leads to from `source`; `seconds` are between them. Its latents stand behind the source's.
    public var destination: VideoRequest.Destination?

    public init(prompt: String) { self.prompt = prompt }

    /// How a camera comes into a video.
    public enum CameraUse: Sendable {
        /// Its first picture, or the clip that it changes, is taken for this request.
        case now
        /// What it is made from was made with a camera.
        case before
    }

    /// The same for the same request, in every process: a hash of what was said, fields that were not left out.
    func fingerprint(_ material: VideoMaterial) -> String {
        var fields: [(String, String?)] = [
            ("prompt", prompt), ("model", model), ("size", size?.description), ("seconds", seconds.map { "\($0)" }),
            ("seed", seed.map { "\($0)" }), ("steps", steps.map { "\($0)" }), ("guidance", guidance.map { "\($0)" }),
            ("negative_prompt", negativePrompt), ("fps", fps.map { "\($0)" }), ("image", isImage ? "1" : nil),
        ]
        fields.append(("loop", loop == true ? "1" : nil))
        for scene in storyboard { fields.append(("scene", "\(scene.at) \(scene.prompt)")) }
        fields.append(("direction", source?.direction.rawValue))
        fields.append(("destination", destination.map { "\($0.frames)" }))
        fields.append(("strength", edit.map { "\($0.strength)" }))
        fields.append(("source", material.latents.isEmpty ? nil : SHA256.hash(material.latents)))
        fields.append(("video", material.video.isEmpty || camera == .now ? nil : Frame.sha256(of: material.video)))
        // A request that is repeated can't bring the pictures that were taken the first time.
        fields.append(("camera", camera == .now ? "\(edit?.frames ?? 1)" : nil))
        for reference in Reference.allCases where camera != .now || reference != .first {
            fields.append((reference.rawValue, material.pictures[reference].map { Frame.sha256(of: [$0]) }))
        }
        var hash = SHA256()
        for case (let name, let value?) in fields { hash.update(Array("\(name) \(value.utf8.count) \(value)\n".utf8)) }
        return hash.finalize()
    }
}

/// A part of a video that is told in several prompts.
public struct Scene: Sendable, Equatable, Codable {
    public var prompt: String
    /// Where it begins, in seconds; of a transition, where it is half way there.
    public var at: Double

    public init(prompt: String, at: Double) {
        self.prompt = prompt
        self.at = at
    }
}

/// A request that one model has accepted: every value is decided, so that the same request gives the same frames.
public struct VideoRequest: Sendable, Equatable, Codable {
    public var prompt: String
    public var negativePrompt: String
    public var model: String
    public var size: Size
    public var frames: Int
    /// Frames a second.
    public var fps: Int
    public var seed: UInt64
    public var steps: Int
    public var guidance: Double
    /// The pictures that the job keeps for it; nil, as in jobs of before there were any, is none.
    public var references: [Reference]?
    /// The video that it goes on from; nil is none.
    public var source: Source?
    /// The video that it leads to from `source`; nil is none.
    public var destination: Destination?
    /// What is shown when, in place of the prompt; nil is the prompt all along.
    public var storyboard: [Scene]?
    /// The video that it changes; nil is none.
    public var edit: Edit?
    /// Steps of each window, of the `steps` of a video that is made from nothing; nil is all of them.
    public var stepsTaken: Int?
    /// Latent frames of each segment of the finished video; nil is one.
    public var segments: [Int]?
    /// It ends where it begins, so that it can be shown over and over; nil, as in jobs of before there were any, is no.
    public var loop: Bool?
    /// Passes it is made in, each of `steps` steps; nil is one.
    public var windows: Int?
    /// A picture of it, or of what it was made from, was taken by a camera; nil is no.
    public var camera: Bool?

    /// A video that is changed: noised as far as `strength` says, and denoised again.
    public struct Edit: Sendable, Equatable, Codable {
        /// How it is kept.
        public enum Source: String, Sendable, Codable {
            case latents, pictures
        }
        /// Above 0, at most 1, which leaves nothing of it.
        public var strength: Double
        /// Its length; the last is held until the new video's is full.
        public var frames: Int
        public var source: Source

        public init(strength: Double, frames: Int, source: Source) {
            self.strength = strength
            self.frames = frames
            self.source = source
        }
    }

    /// A video that another one contains.
    public struct Source: Sendable, Equatable, Codable {
        public enum Direction: String, Sendable, Codable, CaseIterable {
            case forward, backward
        }
        /// Where it goes on.
        public var direction: Direction
        public var frames: Int
        /// Latent frames of each of its segments.
        public var segments: [Int]

        public init(direction: Direction, frames: Int, segments: [Int]) {
            self.direction = direction
            self.frames = frames
            self.segments = segments
        }
    }

    public var isLoop: Bool { loop == true }

    /// A video that another one ends with.
    public struct Destination: Sendable, Equatable, Codable {
        public var frames: Int
        /// Latent frames of each of its segments.
        public var segments: [Int]

        public init(frames: Int, segments: [Int]) {
            self.frames = frames
            self.segments = segments
        }
    }

    /// Steps of all windows.
    public var allSteps: Int { (stepsTaken ?? steps) * (windows ?? 1) }

    /// Numbers that no arithmetic here stumbles over.
    var isPlausible: Bool {
        guard (1...10_000).contains(steps), (1...100_000).contains(frames), (1...1000).contains(fps),
            guidance.isFinite, (1...100_000).contains(windows ?? 1), (1...10_000).contains(stepsTaken ?? 1)
        else { return false }
        if let edit {
            guard edit.strength > 0, edit.strength <= 1, (1...frames).contains(edit.frames), source == nil else {
                return false
            }
        }
        guard (storyboard ?? []).allSatisfy({ (0...1e6).contains($0.at) }) else { return false }
        let counts = (segments ?? []) + (source?.segments ?? []) + (destination?.segments ?? [])
        guard counts.count <= 10_000, counts.allSatisfy({ (1...100_000).contains($0) }) else { return false }
        guard let source else { return destination == nil }
        if let destination {
            guard source.direction == .forward, (1..<frames).contains(destination.frames), !destination.segments.isEmpty
            else { return false }
        }
        return !source.segments.isEmpty && (1..<frames).contains(source.frames)
    }

    public init(
        prompt: String, negativePrompt: String, model: String, size: Size, frames: Int, fps: Int, seed: UInt64,
        steps: Int, guidance: Double, references: [Reference] = []
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.model = model
        self.size = size
        self.frames = frames
        self.fps = fps
        self.seed = seed
        self.steps = steps
        self.guidance = guidance
        self.references = references.isEmpty ? nil : references
    }
}

/// A picture that a request comes with, by the request's own name for it.
public enum Reference: String, Sendable, Codable, CaseIterable {
    /// The video's first frame.
    case first = "input_reference"
    /// Its last.
    case last = "end_reference"
    /// White where an edit changes the video, black where it stays.
    case mask

    /// What a video begins and ends with.
    public static let ends: [Reference] = [.first, .last]
}

/// What a video is made from besides words. A job keeps it, durable before the job is accepted.
public struct VideoMaterial: Sendable, Equatable {
    /// Of the request's size.
    public var pictures: [Reference: Frame] = [:]
    /// Of the video that is changed, when it came as a file: of the request's size.
    public var video: [Frame] = []
    /// Of the video that is extended or changed, as `GeneratedVideo` has them; empty without one.
    public var latents: [UInt8] = []

    public init(pictures: [Reference: Frame] = [:], latents: [UInt8] = [], video: [Frame] = []) {
        self.pictures = pictures
        self.latents = latents
        self.video = video
    }

    /// Why this is not what `request` needs; nil when it is.
    func mismatch(_ request: VideoRequest) -> RequestError? {
        let wanted = request.references ?? []
        let edit = request.edit
        guard latents.isEmpty == (request.source == nil && edit?.source != .latents),
            video.count == (edit?.source == .pictures ? edit?.frames : 0),
            video.allSatisfy({ $0.size == request.size })
        else {
            return RequestError(
                .invalid, code: "missing_field", field: "video", "there is no video to go on from, or another one")
        }
        if let missing = wanted.first(where: { pictures[$0] == nil }) {
            return RequestError(
                .invalid, code: "missing_field", field: missing.rawValue, "\(missing.rawValue) has no picture")
        }
        for (reference, frame) in pictures where !wanted.contains(reference) || frame.size != request.size {
            return RequestError(
                .invalid, code: "invalid_value", field: reference.rawValue,
                "\(reference.rawValue) is \(frame.size), the video \(request.size)")
        }
        return nil
    }
}

/// Why a request can't be taken. `field` is the request's own name for it, as in `size`.
public struct RequestError: Error, Sendable, Equatable {
    public enum Kind: String, Sendable {
        /// The request itself is wrong (400).
        case invalid
        /// Well formed, but the model can't do it; the message says what it can (422).
        case unsupported
        /// No model, or not enough memory right now (503).
        case unavailable
    }
    public var kind: Kind
    /// Short and stable, for programs: `invalid_prompt`, `unsupported_size`, `model_not_found`, …
    public var code: String
    public var field: String?
    public var message: String

    public init(_ kind: Kind, code: String, field: String?, _ message: String) {
        self.kind = kind
        self.code = code
        self.field = field
        self.message = message
    }
}
