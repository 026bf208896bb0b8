import Jobs
import Video

extension Router {
    /// Says no to a request for the camera where the operator has none for it, or without the word of those whom it shows.
    func checkCamera(_ field: String, consent: Bool?) throws(ServiceError) {
        guard camera != nil else { throw .cameraNotAllowed(field: field) }
        guard consent == true else {
            throw .invalid(
                code: "consent_required", field: "consent",
                "consent must be true: everybody whom the camera sees agrees to that")
        }
    }

    /// Pictures for the video of `request`, taken now; none when the key of `request` stands for a job that has them. They are
    /// the last thing to be got: no light goes on for a request that is refused anyway.
    func takePictures(
        _ count: Int, for field: String, _ parameters: VideoParameters, _ material: VideoMaterial, _ request: Request
    ) async throws -> [Frame] {
        guard let camera else { throw ServiceError.cameraNotAllowed(field: field) }
        let earlier = try await jobs.prepare(
            parameters, material: material, peer: request.peer,
            idempotencyKey: request.headers.first(name: "Idempotency-Key"))
        guard earlier == nil else { return [] }
        let resolved = try generator.resolve(parameters)
        return try await camera.pictures(PictureOrder(size: resolved.size, count: count, fps: resolved.fps), for: field)
    }
}
