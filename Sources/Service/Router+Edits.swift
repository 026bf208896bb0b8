import Jobs
import Video

extension Router {
    /// Of nano: what moves, and how, stays; what it is changes.
    private static let usualStrength = 0.7
    /// Seconds that the camera looks.
    private static let usualClip = 2.0
    private static let longestClip = 10.0

    /// A video changed towards a prompt: one that is there already, or one that comes with the request.
    func edit(_ request: Request) async throws -> Response {
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        let own = ["video", "strength", "mask", "seconds", VideoFields.consent]
        let known = ["prompt", "model", "size", "seed", "steps", "guidance", "negative_prompt"] + own
        var members = try VideoFields.members(
            body: request.body, contentType: request.headers.first(name: "Content-Type"))
        try VideoFields.refuseUnknown(members, known: known)
        let (isFromCamera, consent) = try VideoFields.camera("video", &members)
        if isFromCamera { try checkCamera("video", consent: consent) }
        let video =
            try isFromCamera ? .camera : VideoFields.video(members.removeValue(forKey: "video"), "video")
        let mask = try VideoFields.picture(members.removeValue(forKey: "mask"), "mask")
        let number = try VideoFields.number(members.removeValue(forKey: "strength"), "strength", textAllowed: false)
        let strength = number ?? Self.usualStrength
        guard strength > 0, strength <= 1 else { throw VideoFields.wrong("strength", "above 0 and at most 1") }
        var parameters = try VideoFields.parameters(members)
        if mask != nil { parameters.references = [.mask] }
        let seconds = parameters.seconds ?? Self.usualClip
        guard isFromCamera || parameters.seconds == nil else {
            throw VideoFields.wrong("seconds", "left out unless video is \"\(VideoFields.camera)\"")
        }
        guard seconds <= Self.longestClip else { throw VideoFields.wrong("seconds", "at most \(Self.longestClip)") }
        parameters.seconds = nil

        var material = VideoMaterial()
        switch video {
        case .identifier(let id):
            let (source, latents) = try await jobs.latents(of: id, peer: request.peer)
            guard parameters.size == nil || parameters.size == source.size else {
                throw VideoFields.wrong("size", "\(source.size), which the video is of")
            }
            guard parameters.model == nil || parameters.model == source.model else {
                throw VideoFields.wrong("model", "\(source.model), which made the video")
            }
            (parameters.model, parameters.size) = (source.model, source.size)
            parameters.camera = source.camera == true ? .before : nil
            // Several segments don't stand in one row of latents; their pictures do.
            let isOne = (source.segments?.count ?? 1) == 1
            parameters.edit = .init(strength: strength, frames: source.frames, source: isOne ? .latents : .pictures)
            _ = try generator.resolve(parameters)
            if isOne {
                material.latents = latents
            } else {
                material.video = try await encoder.frames(of: jobs.content(id, peer: request.peer))
            }
        case .camera:
            parameters.camera = .now
            parameters.edit = .init(strength: strength, frames: 1, source: .pictures)
            let fps = try generator.resolve(parameters).fps
            parameters.edit?.frames = max(1, Int((seconds * Double(fps)).rounded()))
        case .file(let bytes):
            // What the model can't do is said before anything is decoded.
            parameters.edit = .init(strength: strength, frames: 1, source: .pictures)
            let limits = try limits(for: parameters)
            material.video = try await encoder.video(
                bytes, field: "video", sizes: limits.sizes, fps: limits.fps, longest: limits.maximumFrames)
            parameters.size = material.video.first?.size
            parameters.edit?.frames = material.video.count
        }
        if let mask {
            let size = try generator.resolve(parameters).size
            material.pictures[.mask] = try await encoder.picture(mask, field: "mask", sizes: [size])
        }
        if isFromCamera, let count = parameters.edit?.frames {
            material.video = try await takePictures(count, for: "video", parameters, material, request)
        }
        return try await accept(parameters, material, request)
    }

    /// One of your videos, a passage, and another of them.
    func blend(_ request: Request) async throws -> Response {
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        let known = ["from", "to", "prompt", "seconds", "seed", "steps", "guidance", "negative_prompt"]
        var members = try VideoFields.members(
            body: request.body, contentType: request.headers.first(name: "Content-Type"))
        try VideoFields.refuseUnknown(members, known: known)
        let from = try VideoFields.identifier(members.removeValue(forKey: "from"), "from")
        let to = try VideoFields.identifier(members.removeValue(forKey: "to"), "to")
        let isTold = members["prompt"] != nil
        if !isTold { members["prompt"] = .text("-") }
        var parameters = try VideoFields.parameters(members)
        let (first, latents) = try await jobs.latents(of: from, peer: request.peer)
        let (second, others) = try await jobs.latents(of: to, peer: request.peer)
        guard first.model == second.model, first.size == second.size else {
            throw VideoFields.wrong(
                "to", "of \(first.size) by \(first.model), as from is; it is of \(second.size) by \(second.model)")
        }
        (parameters.model, parameters.size) = (first.model, first.size)
        parameters.camera = first.camera == true || second.camera == true ? .before : nil
        parameters.source = VideoRequest.Source(
            direction: .forward, frames: first.frames, segments: first.segments ?? [])
        parameters.destination = VideoRequest.Destination(frames: second.frames, segments: second.segments ?? [])
        if !isTold {
            // Half way from what one says to what the other does, in the middle.
            parameters.prompt = second.prompt
            let resolved = try generator.resolve(parameters)
            let between = resolved.frames - first.frames - second.frames + 1
            let seconds = Double(between) / Double(resolved.fps)
            parameters.storyboard = [
                Scene(prompt: first.prompt, at: 0), Scene(prompt: second.prompt, at: seconds / 2),
            ]
        }
        return try await accept(parameters, VideoMaterial(latents: latents + others), request)
    }

    func accept(
        _ parameters: VideoParameters, _ material: VideoMaterial, _ request: Request
    ) async throws -> Response {
        let job = try await jobs.submit(
            parameters, material: material, peer: request.peer,
            idempotencyKey: request.headers.first(name: "Idempotency-Key"))
        return try video(try await jobs.job(job.id, peer: request.peer))
    }
}
