import FoundationEssentials
import Jobs
import NIOHTTP1

extension Router {
    /// Every preview that the client has time for, then the last one once more, because browsers show a part only when
    /// the next begins. Waits when the job is still queued.
    func previewStream(_ id: String, _ request: Request) async throws -> Response {
        let options = try PreviewOptions(query: request.query)
        let slot = try await jobs.latestFrame(id, peer: request.peer)
        return Response(stream: MotionJPEG.contentType) { [streams, scaler] writer in
            try await streams.counting(request.peer, options) { counter in
                var stream = PreviewStream(writer, options, scaler, counter)
                try await stream.follow(id, slot)
                try await stream.repeatLast()
                try await writer.write(MotionJPEG.end)
            }
        }
    }

    /// The previews of whatever job of the peer's runs, one after the other; until then the last frame of its newest video.
    func followingStream(_ request: Request) async throws -> Response {
        let options = try PreviewOptions(query: request.query)
        return Response(stream: MotionJPEG.contentType) { [jobs, streams, scaler] writer in
            try await streams.counting(request.peer, options) { counter in
                var stream = PreviewStream(writer, options, scaler, counter)
                var shown: String?
                if let newest = await jobs.newestVideo(peer: request.peer) {
                    try await stream.follow(newest.id, newest.frames)
                    try await stream.repeatLast()
                }
                while let run = await jobs.nextRunning(after: shown, peer: request.peer) {
                    shown = run.id
                    try await stream.follow(run.id, run.frames)
                    try await stream.repeatLast()
                }
                try await writer.write(MotionJPEG.end)
            }
        }
    }

    func previewPicture(_ id: String, _ request: Request) async throws -> Response {
        let options = try PreviewOptions(query: request.query)
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
            ], try await scaler.scale(entry, of: id, to: options.width))
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
        case .frames(let first, let count):
            name = "video.frames"
            data.first = first
            data.count = count
            data.frames = event.frames
            // Of a job that started again they are not all there.
            data.b64_jpegs = (try? await jobs.frames(first..<first + count, of: id, peer: peer))?
                .map { Data($0).base64EncodedString() }
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
        var first: Int?
        var count: Int?
        var frames: Int?
        var width: Int?
        var height: Int?
        var b64_jpeg: String?
        var b64_jpegs: [String]?
        var video: VideoObject?

        init(id: String) { self.id = id }
    }
}
