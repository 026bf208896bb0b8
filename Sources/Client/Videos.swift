import FoundationEssentials

/// A video as the daemon describes it; the keys are those of the OpenAI Videos API and our own.
public struct Video: Sendable, Codable, Equatable {
    public struct Failure: Sendable, Codable, Equatable {
        public var code: String
        public var message: String
    }
    public var id: String
    public var model: String
    /// `queued`, `in_progress`, `completed` or `failed`.
    public var status: String
    /// 0...100
    public var progress: Int
    public var prompt: String
    public var size: String
    /// The length in seconds, as text.
    public var seconds: String
    public var created_at: Int64
    public var completed_at: Int64?
    public var error: Failure?
    public var seed: UInt64?
    public var fps: Int?
    public var frames: Int?
    public var frames_sha256: String?
    public var queue_position: Int?
    public var eta_ms: Int?
    /// A camera took a picture that it is made from.
    public var camera: Bool?

    public var isFinished: Bool { status == "completed" || status == "failed" }
}

/// A page of videos.
public struct VideoPage: Sendable, Codable {
    public var data: [Video]
    public var has_more: Bool
}

/// The fields of `POST /v1/videos` and of its kin; what is `nil` is left to the model.
public struct CreateVideo: Sendable, Encodable {
    public var prompt: String?
    public var model: String?
    public var size: String?
    public var seconds: String?
    public var seed: UInt64?
    public var steps: Int?
    public var guidance: Double?
    public var negative_prompt: String?
    public var fps: Int?
    /// It ends where it begins.
    public var loop: Bool?
    /// The picture that the video begins with, and the one that it ends with.
    public var input_reference: Picture?
    public var end_reference: Picture?
    /// Everybody whom the camera sees agrees to that.
    public var consent: Bool?
    /// The ids of the videos that a blend leads from and to.
    public var from: String?
    public var to: String?
    /// What is shown when; the prompt may be left out then.
    public var storyboard: [Scene]?
    /// How far `video` is changed, above 0, at most 1, and where: a picture that is white there.
    public var strength: Double?
    public var mask: Picture?
    /// The id of the video that is extended or changed, or a `data:` URL of one; and where it is extended: `forward` or `backward`.
    public var video: String?
    public var direction: String?

    public init(prompt: String?) { self.prompt = prompt }
}

/// A part of a video that is told in several prompts.
public struct Scene: Sendable, Encodable {
    public var prompt: String
    /// Seconds from the video's beginning.
    public var at: Double

    public init(prompt: String, at: Double) {
        self.prompt = prompt
        self.at = at
    }
}

/// The fields of `POST /v1/images/generations`.
public struct CreateImage: Sendable, Encodable {
    public var prompt: String
    public var size: String?
    public var seed: UInt64?
    public var steps: Int?
    /// `png` or `jpeg`.
    public var output_format: String

    public init(prompt: String, format: String) {
        self.prompt = prompt
        output_format = format
    }
}

/// A JPEG or PNG inside a request, or the daemon's camera.
public struct Picture: Sendable, Encodable {
    private enum Keys: String, CodingKey { case image_url }

    /// A `data:` URL; nil is the camera.
    private var url: String?

    /// What the daemon's camera sees when the request arrives.
    public static let camera = Picture(url: nil)

    private init(url: String?) { self.url = url }

    /// - Parameter bytes: of a file; the daemon says what is wrong with them.
    public init(file bytes: [UInt8]) {
        let type = bytes.starts(with: [0xFF, 0xD8]) ? "image/jpeg" : "image/png"
        url = "data:\(type);base64," + Data(bytes).base64EncodedString()
    }

    public func encode(to encoder: any Encoder) throws {
        if let url {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(url, forKey: .image_url)
        } else {
            var container = encoder.singleValueContainer()
            try container.encode("camera")
        }
    }
}

/// A video inside a request; the daemon says what is wrong with it.
public func dataURL(ofVideo bytes: [UInt8]) -> String {
    "data:application/octet-stream;base64," + Data(bytes).base64EncodedString()
}

/// The data of `video.progress` and `video.preview`.
public struct Progress: Sendable, Decodable {
    public var step: Int?
    public var steps: Int?
    public var progress: Int?
    public var eta_ms: Int?
    public var frame: Int?
    public var b64_jpeg: String?
}

/// A model of few words and what it knows: of each word the ways to say it, the plainest first.
public struct ModelWords: Sendable, Codable, Equatable {
    public struct Words: Sendable, Codable, Equatable {
        public var subjects: [[String]]
        public var motions: [[String]]
        public var places: [[String]]
    }
    public var id: String
    /// nil when the model's card doesn't say.
    public var words: Words?
}
