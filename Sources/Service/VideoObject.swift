import Jobs

/// A job as clients see it: the OpenAI video object, whose 13 keys are always there, and our own beside them.
struct VideoObject: Encodable, Equatable {
    var view: JobView
    /// Seconds a finished video is kept, when there is a limit.
    var retentionSeconds: Int64?

    init(_ view: JobView, retentionSeconds: Int64?) {
        self.view = view
        self.retentionSeconds = retentionSeconds
    }

    private enum Keys: String, CodingKey {
        case id, object, model, status, progress, prompt, size, seconds, error
        case createdAt = "created_at"
        case completedAt = "completed_at"
        case expiresAt = "expires_at"
        case remixedFrom = "remixed_from_video_id"
        case seed, fps, frames, steps, guidance, loop, storyboard, strength, camera
        case framesSHA256 = "frames_sha256"
        case queuePosition = "queue_position"
        case eta = "eta_ms"
        case negativePrompt = "negative_prompt"
    }

    private struct Failure: Encodable {
        var code: String
        var message: String
    }

    func encode(to encoder: any Encoder) throws {
        let job = view.job
        let request = job.request
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(job.id, forKey: .id)
        try container.encode("video", forKey: .object)
        try container.encode(request.model, forKey: .model)
        try container.encode(job.status.rawValue, forKey: .status)
        try container.encode(job.progress, forKey: .progress)
        try container.encode(job.createdAt, forKey: .createdAt)
        try container.encode(job.completedAt, forKey: .completedAt)
        try container.encode(expiresAt, forKey: .expiresAt)
        try container.encode(request.prompt, forKey: .prompt)
        try container.encode(request.size.description, forKey: .size)
        try container.encode(Self.seconds(frames: request.frames, fps: request.fps), forKey: .seconds)
        try container.encode(job.remixedFrom, forKey: .remixedFrom)
        try container.encode(job.error.map { Failure(code: $0.code, message: $0.message) }, forKey: .error)

        try container.encode(request.seed, forKey: .seed)
        try container.encode(request.fps, forKey: .fps)
        try container.encode(request.frames, forKey: .frames)
        try container.encode(request.steps, forKey: .steps)
        try container.encode(request.guidance, forKey: .guidance)
        try container.encode(request.negativePrompt, forKey: .negativePrompt)
        try container.encode(request.isLoop, forKey: .loop)
        try container.encodeIfPresent(request.storyboard, forKey: .storyboard)
        try container.encodeIfPresent(request.edit?.strength, forKey: .strength)
        try container.encodeIfPresent(request.camera, forKey: .camera)
        try container.encode(job.framesSHA256, forKey: .framesSHA256)
        try container.encode(view.queuePosition, forKey: .queuePosition)
        try container.encode(view.etaMilliseconds, forKey: .eta)
    }

    private var expiresAt: Int64? {
        guard let retentionSeconds, let completed = view.job.completedAt else { return nil }
        return completed + retentionSeconds
    }

    /// The real length as decimal text without trailing zeros, to the millisecond: `2.125`.
    static func seconds(frames: Int, fps: Int) -> String {
        let milliseconds = (frames * 1000 + fps / 2) / fps
        var fraction = String(milliseconds % 1000)
        guard fraction != "0" else { return String(milliseconds / 1000) }
        fraction = String(repeating: "0", count: 3 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(milliseconds / 1000).\(fraction)"
    }
}

/// A page of videos, as the OpenAI SDK pages through them.
struct VideoList: Encodable {
    var object = "list"
    var data: [VideoObject]
    var firstID: String?
    var lastID: String?
    var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case object, data
        case firstID = "first_id"
        case lastID = "last_id"
        case hasMore = "has_more"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(object, forKey: .object)
        try container.encode(data, forKey: .data)
        try container.encode(firstID, forKey: .firstID)
        try container.encode(lastID, forKey: .lastID)
        try container.encode(hasMore, forKey: .hasMore)
    }
}

struct DeletedVideo: Encodable {
    var id: String
    var deleted = true
    var object = "video.deleted"
}
