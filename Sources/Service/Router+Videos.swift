import Jobs
import NIOHTTP1
import Video

extension Router {
    func create(_ request: Request) async throws -> Response {
        // Said before the body is judged: without a model nothing about it can be.
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        var parsed = try VideoFields.parse(
            body: request.body, contentType: request.headers.first(name: "Content-Type"))
        let key = request.headers.first(name: "Idempotency-Key")
        if let key, !(1...255).contains(key.utf8.count) {
            throw ServiceError.invalid(
                code: "invalid_header", field: "Idempotency-Key", "Idempotency-Key must have 1 to 255 bytes")
        }
        if parsed.parameters.camera == .now { try checkCamera(Reference.first.rawValue, consent: parsed.consent) }
        var material = try await material(parsed)
        parsed.parameters.size = parsed.parameters.size ?? material.pictures.values.first?.size
        if parsed.parameters.camera == .now {
            material.pictures[.first] = try await takePictures(
                1, for: Reference.first.rawValue, parsed.parameters, material, request
            ).first
        }
        let job = try await jobs.submit(
            parsed.parameters, material: material, peer: request.peer, idempotencyKey: key)
        return try video(try await jobs.job(job.id, peer: request.peer))
    }

    /// The same video, seed and pictures and all, with what the request says otherwise: a new prompt as a rule.
    func remix(_ id: String, _ request: Request) async throws -> Response {
        let source = try await jobs.job(id, peer: request.peer).job
        guard source.status == .completed else { throw JobError.wrongState(source.status, wanted: "completed") }
        let parsed = try VideoFields.parse(
            body: request.body, contentType: request.headers.first(name: "Content-Type"),
            known: VideoFields.known.filter {
                $0 != "model" && $0 != VideoFields.consent && Reference(rawValue: $0) == nil
            })
        var parameters = parsed.parameters
        let before = source.request
        parameters.model = before.model
        parameters.seed = parameters.seed ?? before.seed
        parameters.size = parameters.size ?? before.size
        parameters.steps = parameters.steps ?? before.steps
        // A negative prompt that is new may ask for another guidance than none had.
        let negated = before.negativePrompt.isEmpty && !(parameters.negativePrompt ?? "").isEmpty
        parameters.guidance = parameters.guidance ?? (negated ? nil : before.guidance)
        parameters.negativePrompt = parameters.negativePrompt ?? before.negativePrompt
        parameters.references = before.references ?? []
        parameters.camera = before.camera == true ? .before : nil
        parameters.isImage = before.frames == 1
        parameters.loop = parameters.loop ?? before.loop
        parameters.edit = before.edit
        if before.edit != nil {
            guard parameters.seconds == nil else {
                throw VideoFields.wrong("seconds", "left out: \(id) is as long as the video it was made from")
            }
        } else if let extended = before.source {
            // What was added is made anew, the video inside it stays.
            let there = extended.frames + (before.destination.map { $0.frames - 1 } ?? 0)
            let added = Double(before.frames - there) / Double(before.fps)
            parameters.seconds = parameters.seconds ?? added
            parameters.source = extended
            parameters.destination = before.destination
        } else {
            parameters.seconds = parameters.seconds ?? Double(before.frames) / Double(before.fps)
        }
        let material = try await jobs.material(of: id, peer: request.peer)
        guard material == VideoMaterial() || parameters.size == before.size else {
            throw ServiceError.invalid(
                code: "invalid_value", field: "size",
                "size must be \(before.size): what \(id) was made from is kept in that size")
        }
        let job = try await jobs.submit(
            parameters, material: material, peer: request.peer,
            idempotencyKey: request.headers.first(name: "Idempotency-Key"), remixing: id)
        return try video(try await jobs.job(job.id, peer: request.peer))
    }

    /// A video that contains another one, to the bit, and goes on before or behind it.
    func extend(_ request: Request) async throws -> Response {
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        let own = ["video", "direction"]
        let known = ["prompt", "seconds", "seed", "steps", "guidance", "negative_prompt"] + own
        var members = try VideoFields.members(
            body: request.body, contentType: request.headers.first(name: "Content-Type"))
        try VideoFields.refuseUnknown(members, known: known)
        let id = try VideoFields.identifier(members.removeValue(forKey: "video"), "video")
        let name = try VideoFields.string(members.removeValue(forKey: "direction"), "direction") ?? "forward"
        guard let direction = VideoRequest.Source.Direction(rawValue: name) else {
            throw VideoFields.wrong("direction", "forward or backward")
        }
        var parameters = try VideoFields.parameters(members)
        let (source, latents) = try await jobs.latents(of: id, peer: request.peer)
        parameters.model = source.model
        parameters.size = source.size
        parameters.camera = source.camera == true ? .before : nil
        parameters.source = VideoRequest.Source(
            direction: direction, frames: source.frames, segments: source.segments ?? [])
        return try await accept(parameters, VideoMaterial(latents: latents), request)
    }

    /// What comes with a request is brought to one of these sizes (the one that it names, or all that its model makes) and to so many
    /// frames a second, of which there may be `maximumFrames`.
    func limits(for parameters: VideoParameters) throws -> (sizes: [Size], fps: Int, maximumFrames: Int) {
        let resolved = try generator.resolve(parameters)
        let model = generator.capabilities.first { $0.id == resolved.model }
        let sizes = parameters.size == nil ? model?.sizes ?? [resolved.size] : [resolved.size]
        return (sizes, resolved.fps, model?.maximumFrames ?? 1)
    }

    /// The uploads, decoded and brought to a size of the model: the one that is asked for, or the one whose shape is nearest to the
    /// first of them. What the model can't do is said before anything is decoded.
    private func material(_ parsed: VideoFields.Parsed) async throws -> VideoMaterial {
        var material = VideoMaterial()
        guard !parsed.uploads.isEmpty else { return material }
        var sizes = try limits(for: parsed.parameters).sizes
        for reference in parsed.parameters.references {
            guard let bytes = parsed.uploads[reference] else { continue }
            let picture = try await encoder.picture(bytes, field: reference.rawValue, sizes: sizes)
            material.pictures[reference] = picture
            sizes = [picture.size]
        }
        return material
    }

    func show(_ id: String, _ request: Request) async throws -> Response {
        try video(try await jobs.job(id, peer: request.peer))
    }

    func list(_ request: Request) async throws -> Response {
        var limit = 20
        if let text = request.query["limit"] {
            guard let value = Int(text), (1...100).contains(value) else {
                throw ServiceError.invalid(code: "invalid_value", field: "limit", "limit must be 1 to 100")
            }
            limit = value
        }
        let order = request.query["order"] ?? "desc"
        guard order == "asc" || order == "desc" else {
            throw ServiceError.invalid(code: "invalid_value", field: "order", "order must be asc or desc")
        }
        let page = try await jobs.list(
            peer: request.peer, limit: limit, after: request.query["after"], ascending: order == "asc")
        return try json(
            VideoList(
                data: page.jobs.map(object), firstID: page.jobs.first?.job.id, lastID: page.jobs.last?.job.id,
                hasMore: page.hasMore))
    }

    func delete(_ id: String, _ request: Request) async throws -> Response {
        try await jobs.delete(id, peer: request.peer)
        return try json(DeletedVideo(id: id))
    }

    func cancel(_ id: String, _ request: Request) async throws -> Response {
        try video(try await jobs.cancel(id, peer: request.peer))
    }

    func content(_ id: String, _ request: Request) async throws -> Response {
        let wanted = try ContentFormat(
            variant: request.query["variant"] ?? "video", format: request.query["format"])
        let stored = try await jobs.content(id, peer: request.peer)
        let bytes = try await encoder.encode(stored, as: wanted)
        return Response(
            .ok, type: wanted.mediaType,
            headers: [
                "Content-Disposition": "inline; filename=\"\(id)\(wanted.fileSuffix)\"", "Cache-Control": "no-store",
            ], bytes)
    }

    func object(_ view: JobView) -> VideoObject { VideoObject(view, retentionSeconds: options.retentionSeconds) }

    func video(_ view: JobView) throws -> Response {
        try json(object(view), headers: Self.pollHeader(view))
    }

    /// When the SDK's `poll()` should ask again: soon enough to see the end, seldom enough to cost nothing.
    static func pollHeader(_ view: JobView) -> HTTPHeaders {
        switch view.job.status {
        case .completed, .failed: [:]
        case .queued, .inProgress:
            ["openai-poll-after-ms": String(min(max(view.etaMilliseconds ?? 1000, 200), 2000))]
        }
    }
}
