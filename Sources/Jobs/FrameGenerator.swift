import Video

/// What Jobs needs of whoever makes frames. The one implementation is Generation's pipeline; tests bring their own.
public protocol FrameGenerator: AnyObject, Sendable {
    /// What can be asked for; empty when no model could be opened.
    var capabilities: [ModelCapabilities] { get }

    /// Why no request can be taken at present (no model, or one that can't be opened); `nil` when ready.
    var unavailableReason: String? { get }

    /// Decides every open value of a request, or says why the model can't do it. Cheap; called on any thread.
    func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest

    /// Makes the video. Blocks the calling thread, which must not belong to the cooperative pool. Asks
    /// `observer.isCancelled` at least every 100 ms and throws `.cancelled` then.
    func generate(
        _ request: VideoRequest, material: VideoMaterial, observer: any GenerationObserver
    ) throws(GenerationError) -> GeneratedVideo

    /// Called right after the running job's observer turned to cancelled, from any thread and before another job is
    /// started: work in flight should stop at its next chunk instead of at its next look at the observer.
    func interrupt()

    /// Advances while a video is being computed: units of work finished since start. The watchdog pings only then.
    var workCounter: UInt64 { get }
}

extension FrameGenerator {
    public func interrupt() {}
}

/// What a model can do, as `/v1/models` and `/v1/capabilities` tell it.
public struct ModelCapabilities: Sendable, Equatable, Codable {
    public var id: String
    public var description: String
    public var licence: String
    public var sizes: [Size]
    public var fps: Int
    public var minimumFrames: Int
    public var maximumFrames: Int
    public var defaultSteps: Int
    public var maximumSteps: Int
    public var defaultGuidance: Double
    /// Abilities beside text to video, by name: `input_reference`, `end_reference`, `images`, `extensions`, …
    public var abilities: [String]
    /// `false` until the hashes of the files were compared with the model's card.
    public var verified: Bool
    /// What the model was trained to understand; nil when its card doesn't say.
    public var words: ModelWords?

    public init(
        id: String, description: String, licence: String, sizes: [Size], fps: Int, minimumFrames: Int,
        maximumFrames: Int, defaultSteps: Int, maximumSteps: Int, defaultGuidance: Double, abilities: [String],
        verified: Bool, words: ModelWords? = nil
    ) {
        self.id = id
        self.description = description
        self.licence = licence
        self.sizes = sizes
        self.fps = fps
        self.minimumFrames = minimumFrames
        self.maximumFrames = maximumFrames
        self.defaultSteps = defaultSteps
        self.maximumSteps = maximumSteps
        self.defaultGuidance = defaultGuidance
        self.abilities = abilities
        self.verified = verified
        self.words = words
    }
}

/// The words that a model of few words knows. Each has several ways to say it, the plainest first.
public struct ModelWords: Sendable, Equatable, Codable {
    public var subjects: [[String]]
    public var motions: [[String]]
    public var places: [[String]]

    public init(subjects: [[String]], motions: [[String]], places: [[String]]) {
        self.subjects = subjects
        self.motions = motions
        self.places = places
    }
}

/// Told of progress from the computing thread; must return quickly.
public protocol GenerationObserver: Sendable {
    var isCancelled: Bool { get }
    /// `step` of `steps` is done (1-based). `preview` is frame `previewIndex` of the predicted video.
    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int)
    /// Frames of the video that will not change any more: each once, in order, some at a time, those of a long video while later
    /// ones are made.
    func finished(frames: [Frame])
    /// Clean latent frame `index` of `count`, `[channels, area]`: each once, in order, to go on from later.
    func finished(latent: [Float], channels: Int, at index: Int, of count: Int)
}

/// What there is to say of a finished video beside its frames and latents, which the observer was given.
public struct GeneratedVideo: Sendable {
    /// Peak of private memory the request's arena used, in bytes.
    public var peakBytes: Int

    public init(peakBytes: Int) {
        self.peakBytes = peakBytes
    }
}

public enum GenerationError: Error, Sendable, Equatable {
    case cancelled
    /// The model's files can't be read any more.
    case modelUnreadable(String)
    case outOfMemory(String)
    case failed(String)
}
