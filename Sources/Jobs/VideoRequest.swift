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
    /// One frame; `seconds` means nothing then.
    public var isImage = false
    /// It ends where it begins.
    public var loop: Bool?
    /// The video that it extends; `seconds` then is what is added. Its latents are the `VideoMaterial`'s.
    public var source: VideoRequest.Source?

    public init(prompt: String) { self.prompt = prompt }

    /// The same for the same request, in every process: a hash of what was said, fields that were not left out.
    func fingerprint(_ material: VideoMaterial) -> String {
        let fields: [(String, String?)] =
            [
                ("prompt", prompt), ("model", model), ("size", size?.description), ("seconds", seconds.map { "\($0)" }),
                ("seed", seed.map { "\($0)" }), ("steps", steps.map { "\($0)" }),
                ("guidance", guidance.map { "\($0)" }),
                ("negative_prompt", negativePrompt), ("fps", fps.map { "\($0)" }),
                ("image", isImage ? "1" : nil), ("loop", loop == true ? "1" : nil),
                ("direction", source?.direction.rawValue),
                ("source", material.latents.isEmpty ? nil : SHA256.hash(material.latents)),
            ] + material.pictures.map { ($0.key.rawValue, Frame.sha256(of: [$0.value])) }.sorted { $0.0 < $1.0 }
        var hash = SHA256()
        for case (let name, let value?) in fields { hash.update(Array("\(name) \(value.utf8.count) \(value)\n".utf8)) }
        return hash.finalize()
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
    /// Latent frames of each segment of the finished video; nil is one.
    public var segments: [Int]?
    /// It ends where it begins, so that it can be shown over and over; nil, as in jobs of before there were any, is no.
    public var loop: Bool?
    /// Passes it is made in, each of `steps` steps; nil is one.
    public var windows: Int?

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

    /// Steps of all windows.
    public var allSteps: Int { steps * (windows ?? 1) }

    /// Numbers that no arithmetic here stumbles over.
    var isPlausible: Bool {
        guard (1...10_000).contains(steps), (1...100_000).contains(frames), (1...1000).contains(fps),
            guidance.isFinite, (1...100_000).contains(windows ?? 1)
        else { return false }
        let counts = (segments ?? []) + (source?.segments ?? [])
        guard counts.count <= 10_000, counts.allSatisfy({ (1...100_000).contains($0) }) else { return false }
        guard let source else { return true }
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
}

/// What a video is made from besides words. A job keeps it, durable before the job is accepted.
public struct VideoMaterial: Sendable, Equatable {
    /// Of the request's size.
    public var pictures: [Reference: Frame] = [:]
    /// Of the video that is extended, as `GeneratedVideo` has them; empty without one.
    public var latents: [UInt8] = []

    public init(pictures: [Reference: Frame] = [:], latents: [UInt8] = []) {
        self.pictures = pictures
        self.latents = latents
    }

    /// Why this is not what `request` needs; nil when it is.
    func mismatch(_ request: VideoRequest) -> RequestError? {
        let wanted = request.references ?? []
        guard latents.isEmpty == (request.source == nil) else {
            return RequestError(.invalid, code: "missing_field", field: "video", "there is no video to extend")
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
