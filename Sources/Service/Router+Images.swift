import FoundationEssentials
import Jobs
import NIOHTTP1

/// Still images: videos of one frame, which stay in the list of videos.
extension Router {
    func createImage(_ request: Request) async throws -> Response {
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        let wanted = try ImageRequest(
            body: request.body, contentType: request.headers.first(name: "Content-Type"))
        var made: [Job] = []
        for number in 0..<wanted.count {
            var parameters = wanted.parameters
            // Images of one request differ; each can be had again by its own seed.
            if number > 0 { parameters.seed = made[0].request.seed &+ UInt64(number) }
            made.append(
                try await jobs.submit(parameters, peer: request.peer, idempotencyKey: nil))
        }
        if wanted.isStream { return try await imageStream(made[0], wanted, request.peer) }
        var data: [ImageAnswer.Image] = []
        for job in made {
            for await _ in try await jobs.watch(job.id, peer: request.peer, after: nil).events {}
            data.append(
                ImageAnswer.Image(
                    b64_json: try await picture(of: job.id, wanted.format, request.peer), id: job.id,
                    seed: job.request.seed))
        }
        return try json(
            ImageAnswer(
                created: made[0].createdAt, data: data, output_format: wanted.format.rawValue,
                size: made[0].request.size.description))
    }

    private func imageStream(_ job: Job, _ wanted: ImageRequest, _ peer: Peer) async throws -> Response {
        // From the first event on: a small job is quicker than the watch of it is made.
        let watch = try await jobs.watch(job.id, peer: peer, after: 0)
        return Response(stream: "text/event-stream") { writer in
            for await event in watch.events {
                guard case .preview(let jpeg, _, _, _) = event.kind,
                    let index = wanted.partialIndex(step: event.step, of: event.steps)
                else { continue }
                var data = ImageEvent("image_generation.partial_image", job, wanted)
                data.partial_image_index = index
                data.b64_json = base64(try await encoder.picture(jpeg: jpeg, as: wanted.format))
                try await writer.write(try data.message(id: event.id))
            }
            var data = ImageEvent("image_generation.completed", job, wanted)
            do {
                data.b64_json = try await picture(of: job.id, wanted.format, peer)
            } catch {
                data = ImageEvent("error", job, wanted)
                let problem = Problem(error)
                data.error = ImageEvent.Failure(code: problem.code, message: problem.message)
            }
            try await writer.write(try data.message(id: nil))
        }
    }

    /// The image of a job that has ended, in base64; throws why there is none.
    private func picture(of id: String, _ format: ImageRequest.PictureFormat, _ peer: Peer) async throws -> String {
        if let failure = try await jobs.job(id, peer: peer).job.error {
            throw ServiceError.generationFailed(code: failure.code, failure.message)
        }
        guard let jpeg = try await jobs.content(id, peer: peer).frames.first else {
            throw ServiceError.internalError("the image has no frame")
        }
        return base64(try await encoder.picture(jpeg: jpeg, as: format))
    }

    private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
}

private struct ImageAnswer: Encodable {
    struct Image: Encodable {
        var b64_json: String
        /// Of the one-frame video that it is.
        var id: String
        var seed: UInt64
    }
    var created: Int64
    var data: [Image]
    var output_format: String
    var size: String
}

private struct ImageEvent: Encodable {
    struct Failure: Encodable {
        var code: String
        var message: String
    }
    var type: String
    var created_at: Int64
    var id: String
    var size: String
    var output_format: String
    var seed: UInt64
    var partial_image_index: Int?
    var b64_json: String?
    var error: Failure?

    init(_ type: String, _ job: Job, _ wanted: ImageRequest) {
        self.type = type
        created_at = job.createdAt
        id = job.id
        size = job.request.size.description
        output_format = wanted.format.rawValue
        seed = job.request.seed
    }

    func message(id: UInt64?) throws -> [UInt8] {
        let text = String(decoding: try JSONEncoder.wire.encode(self), as: UTF8.self)
        let head = "event: \(type)\n" + (id.map { "id: \($0)\n" } ?? "")
        return Array("\(head)data: \(text)\n\n".utf8)
    }
}
