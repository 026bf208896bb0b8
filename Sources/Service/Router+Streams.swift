import FoundationEssentials
import Jobs
import NIOHTTP1

extension Router {
    /// Every preview that the client has time for, then the last one once more, because browsers show a part only when
    /// the next begins. Waits when the job is still queued.
    func previewStream(_ id: String, _ request: Request) async throws -> Response {
        let slot = try await jobs.latestFrame(id, peer: request.peer)
        return Response(stream: MotionJPEG.contentType) { writer in
            var last: [UInt8]?
            var sequence: UInt64 = 0
            while let entry = await slot.next(after: sequence) {
                sequence = entry.sequence
                let part = MotionJPEG.part(
                    entry.jpeg, timestamp: entry.timestamp, step: entry.step, steps: entry.steps)
                try await writer.write(part)
                last = part
            }
            if let last { try await writer.write(last) }
            try await writer.write(MotionJPEG.end)
        }
    }

    func previewPicture(_ id: String, _ request: Request) async throws -> Response {
        let slot = try await jobs.latestFrame(id, peer: request.peer)
        guard let entry = slot.current else {
            let view = try await jobs.job(id, peer: request.peer)
            throw JobError.wrongState(view.job.status, wanted: "in_progress, after its first step")
        }
        return Response(
            .ok, type: "image/jpeg",
            headers: [
                "Cache-Control": "no-store", "X-Timestamp": String(entry.timestamp), "X-Step": String(entry.step),
                "X-Steps": String(entry.steps),
            ], entry.jpeg)
    }

    func events(_ id: String, _ request: Request) async throws -> Response {
        var after: UInt64?
        if let text = request.headers.first(name: "Last-Event-ID"), !text.isEmpty {
            guard let number = UInt64(text) else {
                throw ServiceError.invalid(
                    code: "invalid_header", field: "Last-Event-ID", "Last-Event-ID is not an id this stream has sent")
            }
            after = number
        }
        let watch = try await jobs.watch(id, peer: request.peer, after: after)
        return Response(stream: "text/event-stream") { writer in
            for await event in watch.events {
                try await writer.write(message(event, id: id, peer: request.peer).bytes)
            }
        }
    }

    private func message(_ event: JobEvent, id: String, peer: Peer) async throws -> ServerSentEvent {
        var data = EventData(id: id)
        let name: String
        switch event.kind {
        case .progress:
            name = "video.progress"
            data.step = event.step
            data.steps = event.steps
            data.progress = event.progress
            data.eta_ms = event.etaMilliseconds
        case .preview(let jpeg, let width, let height, let frame):
            name = "video.preview"
            data.step = event.step
            data.steps = event.steps
            data.frame = frame
            data.frames = event.frames
            data.width = width
            data.height = height
            data.b64_jpeg = Data(jpeg).base64EncodedString()
        case .completed, .failed:
            name = event.kind == .completed ? "video.completed" : "video.failed"
            // It may have been deleted since; then the bare event has to do.
            data.video = (try? await jobs.job(id, peer: peer)).map(object)
        }
        data.type = name
        return ServerSentEvent(
            id: event.id, name: name, data: String(decoding: try JSONEncoder.wire.encode(data), as: UTF8.self))
    }

    private struct EventData: Encodable {
        var type = ""
        var id: String
        var step: Int?
        var steps: Int?
        var progress: Int?
        var eta_ms: Int?
        var frame: Int?
        var frames: Int?
        var width: Int?
        var height: Int?
        var b64_jpeg: String?
        var video: VideoObject?

        init(id: String) { self.id = id }
    }
}
