import Jobs
import NIOHTTP1

/// A request that has arrived whole.
struct Request: Sendable {
    var method: HTTPMethod
    /// Percent-decoded segments of the path, without empty ones at its end.
    var path: [String]
    var query: [String: String]
    var headers: HTTPHeaders
    var body: [UInt8]
    var peer: Peer

    init(head: HTTPRequestHead, body: [UInt8], peer: Peer) throws(ServiceError) {
        method = head.method
        headers = head.headers
        self.body = body
        self.peer = peer
        let target = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = target.first, first.hasPrefix("/") else {
            throw .invalid(code: "invalid_target", field: nil, "the request's target must be a path")
        }
        path = []
        for segment in first.split(separator: "/", omittingEmptySubsequences: true) {
            path.append(try PercentEncoding.decode(segment, plusIsSpace: false))
        }
        query = [:]
        for pair in (target.count > 1 ? target[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try PercentEncoding.decode(sides[0], plusIsSpace: true)
            query[name] = sides.count > 1 ? try PercentEncoding.decode(sides[1], plusIsSpace: true) : ""
        }
    }
}

enum PercentEncoding {
    static func decode(_ text: Substring, plusIsSpace: Bool) throws(ServiceError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                    throw .invalid(code: "invalid_target", field: nil, "a percent sign without two hex digits")
                }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw .invalid(code: "invalid_target", field: nil, "the request's target is not UTF-8 text")
        }
        return decoded
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// An answer: whole, or a stream that is written as it comes about.
struct Response: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        /// Ends the connection when it ends. The closure is cancelled when the client vanishes.
        case stream(@Sendable (StreamWriter) async throws -> Void)
    }
    var status: HTTPResponseStatus
    var headers: HTTPHeaders
    var body: Body

    init(_ status: HTTPResponseStatus, type: String, headers: HTTPHeaders = [:], _ body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.headers.replaceOrAdd(name: "Content-Type", value: type)
        self.body = .bytes(body)
    }

    init(stream type: String, _ body: @escaping @Sendable (StreamWriter) async throws -> Void) {
        status = .ok
        headers = ["Content-Type": type, "Cache-Control": "no-store"]
        self.body = .stream(body)
    }
}
