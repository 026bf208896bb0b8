import FoundationEssentials
import Jobs
import NIOHTTP1

/// Which request is answered by what. One file a resource: `Router+Videos`, `Router+Images`, `Router+Streams`, `Router+Status`.
struct Router: Sendable {
    let jobs: JobQueue
    let generator: any FrameGenerator
    let options: ServiceOptions
    let encoder: ContentEncoder
    let metrics: Metrics
    let connections: ConnectionRegistry
    let streams: StreamRegistry
    let scaler: PreviewScaler
    /// nil where no request may have a picture taken.
    var camera: PictureTaker?
    let host: @Sendable () -> HostFacts
    let log: @Sendable (ServiceLogEvent) -> Void

    func respond(to request: Request) async -> Response {
        let start = ContinuousClock.now
        let response: Response
        do {
            response = try await route(request)
        } catch {
            response = Problem(error).response
        }
        let status = Int(response.status.code)
        metrics.count(status: status)
        // Reads that worked are not worth an entry each: a kiosk polls.
        if status >= 500 || request.method == .POST || request.method == .DELETE {
            log(
                ServiceLogEvent(
                    uid: request.peer.uid, method: request.method.rawValue,
                    path: "/" + request.path.joined(separator: "/"), status: status, took: .now - start))
        }
        return response
    }

    private func route(_ request: Request) async throws -> Response {
        let path = request.path
        if path.starts(with: ["v1", "videos"]) {
            return try await routeVideos(path.dropFirst(2).first, path.dropFirst(3).first, request)
        }
        if path == ["v1", "images", "generations"] {
            try request.allow(.POST)
            return try await createImage(request)
        }
        let answer: () async throws -> Response
        switch path {
        case ["healthz"]: answer = health
        case ["readyz"]: answer = readiness
        case ["metrics"]: answer = metricsText
        case ["state"]: answer = { try await state(request) }
        case ["preview.mjpeg"]: answer = { try await followingStream(request) }
        case ["v1", "models"]: answer = models
        case ["v1", "capabilities"]: answer = capabilities
        default: throw ServiceError.notFound("there is nothing at this address")
        }
        try request.allow(.GET)
        return try await answer()
    }

    private func routeVideos(_ id: String?, _ part: String?, _ request: Request) async throws -> Response {
        guard let id else {
            try request.allow(.GET, .POST)
            return try await request.method == .POST ? create(request) : list(request)
        }
        if part == nil, let compose = ["extensions": extend, "edits": edit, "blends": blend][id] {
            try request.allow(.POST)
            return try await compose(request)
        }
        guard let part else {
            try request.allow(.GET, .DELETE)
            return try await request.method == .DELETE ? delete(id, request) : show(id, request)
        }
        guard request.path.count == 4 else { throw ServiceError.notFound("there is nothing at this address") }
        if part == "cancel" || part == "remix" {
            try request.allow(.POST)
            return try await part == "cancel" ? cancel(id, request) : remix(id, request)
        }
        let answer: (String, Request) async throws -> Response
        switch part {
        case "content": answer = content
        case "preview.jpg": answer = previewPicture
        case "preview.mjpeg": answer = previewStream
        case "events": answer = events
        default: throw ServiceError.notFound("there is nothing at this address")
        }
        try request.allow(.GET)
        return try await answer(id, request)
    }

    func json(_ value: some Encodable, _ status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]) throws
        -> Response
    {
        Response(status, type: "application/json", headers: headers, Array(try JSONEncoder.wire.encode(value)))
    }
}

extension Request {
    /// `HEAD` is allowed where `GET` is.
    func allow(_ methods: HTTPMethod...) throws(ServiceError) {
        guard methods.contains(method) || (method == .HEAD && methods.contains(.GET)) else {
            throw .methodNotAllowed(allowed: methods.map(\.rawValue))
        }
    }
}

/// One answered request, for the journal.
public struct ServiceLogEvent: Sendable {
    public var uid: UInt32
    public var method: String
    public var path: String
    public var status: Int
    /// Until the answer was decided; a stream goes on after that.
    public var took: Duration
}
