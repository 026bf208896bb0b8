/// What can be wrong with a request before any job is concerned. `Problem` says how each reads on the wire.
enum ServiceError: Error, Sendable, Equatable {
    /// A field or the whole body is wrong; the message names the field and the limit.
    case invalid(code: String, field: String?, String)
    case notFound(String)
    /// Not on this socket, or not from this page.
    case forbidden(String)
    /// The operator has not said which camera may be used, or that none may.
    case cameraNotAllowed(field: String)
    /// It is not there, busy, or sends nothing.
    case cameraUnavailable(field: String, String)
    case methodNotAllowed(allowed: [String])
    /// The body is longer than `limit` bytes.
    case tooLarge(limit: Int)
    case unsupportedMediaType(accepted: String)
    /// What was uploaded as `field` is of a kind that is not read here.
    case unsupportedUpload(field: String, accepted: String)
    /// What was uploaded as `field` is larger than the limit that the message names.
    case uploadTooLarge(field: String, String)
    /// All requests that are arriving hold as much as the daemon gives them.
    case bodiesTooLarge(limit: Int)
    /// The header section is longer than `limit` bytes or has too many fields.
    case headersTooLarge(limit: Int)
    /// The request did not arrive in time.
    case timeout(seconds: Double)
    /// What came is not HTTP/1.1.
    case notHTTP(String)
    case tooManyConnections(limit: Int)
    case internalError(String)
    /// What was waited for has failed, as a job does.
    case generationFailed(code: String, String)
}
