import FoundationEssentials
import Jobs
import NIOHTTP1

/// Every error as both kinds of client read it: RFC 9457 outside, the OpenAI error object inside.
/// The one place that says which error is which status.
struct Problem: Sendable, Equatable {
    var status: Int
    var code: String
    var field: String?
    var message: String
    /// Seconds.
    var retryAfter: Int?
    /// For 405.
    var allowed: [String] = []

    private init(_ status: Int, _ code: String, field: String? = nil, _ message: String, retryAfter: Int? = nil) {
        self.status = status
        self.code = code
        self.field = field
        self.message = message
        self.retryAfter = retryAfter
    }

    init(_ error: any Error) {
        self =
            switch error {
            case let error as ServiceError: Self.of(error)
            case let error as RequestError: Self.of(error)
            case let error as JobError: Self.of(error)
            default: Problem(500, "internal_error", "the daemon failed: \(error)")
            }
    }

    private static func of(_ error: ServiceError) -> Problem {
        switch error {
        case .invalid(let code, let field, let message): return Problem(400, code, field: field, message)
        case .notFound(let message): return Problem(404, "not_found", message)
        case .forbidden(let message): return Problem(403, "forbidden", message)
        case .cameraNotAllowed(let field):
            return Problem(
                403, "camera_not_allowed", field: field,
                "there is no camera that this daemon may use; the operator allows one with camera_device")
        case .cameraUnavailable(let field, let message):
            return Problem(
                503, "camera_unavailable", field: field, "the camera gives no picture: \(message)", retryAfter: 5)
        case .methodNotAllowed(let allowed):
            var problem = Problem(
                405, "method_not_allowed", "allowed here: \(allowed.joined(separator: ", "))")
            problem.allowed = allowed
            return problem
        case .timeout(let seconds):
            return Problem(408, "request_timeout", "the request did not arrive within \(seconds) s")
        case .tooLarge(let limit):
            return Problem(413, "body_too_large", "the body is longer than \(limit) bytes")
        case .unsupportedMediaType(let accepted):
            return Problem(415, "unsupported_media_type", "the body must be \(accepted)")
        case .unsupportedUpload(let field, let accepted):
            return Problem(415, "unsupported_media_type", field: field, "\(field) must be \(accepted)")
        case .uploadTooLarge(let field, let message):
            return Problem(413, "upload_too_large", field: field, "\(field): \(message)")
        case .bodiesTooLarge(let limit):
            return Problem(
                503, "too_many_uploads", "uploads that are arriving fill the \(limit) bytes there are for them",
                retryAfter: 5)
        case .headersTooLarge(let limit):
            return Problem(431, "headers_too_large", "the request's line and header fields exceed \(limit) bytes")
        case .notHTTP(let message): return Problem(400, "not_http", message)
        case .tooManyConnections(let limit):
            return Problem(503, "too_many_connections", "all \(limit) connections are in use", retryAfter: 5)
        case .internalError(let message): return Problem(500, "internal_error", message)
        case .generationFailed(let code, let message):
            return Problem(code == "cancelled" ? 409 : code == "storage_full" ? 507 : 500, code, message)
        }
    }

    private static func of(_ error: RequestError) -> Problem {
        switch error.kind {
        case .invalid: Problem(400, error.code, field: error.field, error.message)
        case .unsupported: Problem(422, error.code, field: error.field, error.message)
        case .unavailable: Problem(503, error.code, field: error.field, error.message, retryAfter: 10)
        }
    }

    private static func of(_ error: JobError) -> Problem {
        switch error {
        case .notFound: Problem(404, "not_found", "there is no such video")
        case .queueFull(let seconds): Problem(429, "queue_full", "the queue is full", retryAfter: seconds)
        case .quotaExceeded(let seconds):
            Problem(429, "quota_exceeded", "too many of your jobs are waiting", retryAfter: seconds)
        case .wrongState(let status, let wanted):
            Problem(409, "wrong_state", "the video is \(status.rawValue); this needs one that is \(wanted)")
        case .storageFull(let free):
            Problem(507, "storage_full", "the store has no room; \(free) bytes are free")
        case .storage(let message): Problem(500, "storage_error", message)
        case .invalid(let error): of(error)
        case .unavailable(let message): Problem(503, "model_unavailable", message, retryAfter: 10)
        case .idempotencyConflict:
            Problem(
                409, "idempotency_conflict", field: "Idempotency-Key", "the key was used for another request before")
        case .stopping: Problem(503, "stopping", "the daemon is stopping", retryAfter: 5)
        }
    }

    // MARK: On the wire

    var response: Response {
        let phrase = HTTPResponseStatus(statusCode: status).reasonPhrase
        let body = Body(
            type: "urn:filoscope:error:\(code)", title: phrase, status: status, detail: message,
            error: Body.Inner(code: code, message: message, param: field, type: kind))
        let bytes = (try? JSONEncoder.wire.encode(body)).map(Array.init) ?? []
        var headers = HTTPHeaders()
        if let retryAfter { headers.add(name: "Retry-After", value: String(retryAfter)) }
        if !allowed.isEmpty { headers.add(name: "Allow", value: allowed.joined(separator: ", ")) }
        return Response(
            HTTPResponseStatus(statusCode: status), type: "application/problem+json", headers: headers, bytes)
    }

    /// The OpenAI name of the class of error.
    private var kind: String {
        switch status {
        case 401, 403: "permission_error"
        case 404: "not_found_error"
        case 429: "rate_limit_error"
        case 500...: "server_error"
        default: "invalid_request_error"
        }
    }

    private struct Body: Encodable {
        struct Inner: Encodable {
            var code: String
            var message: String
            var param: String?
            var type: String

            enum CodingKeys: String, CodingKey { case code, message, param, type }

            func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try container.encode(code, forKey: .code)
                try container.encode(message, forKey: .message)
                try container.encode(param, forKey: .param)
                try container.encode(type, forKey: .type)
            }
        }
        var type: String
        var title: String
        var status: Int
        var detail: String
        var error: Inner
    }
}

extension JSONEncoder {
    /// Sorted keys, so that the same answer has the same bytes.
    static var wire: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }
}
