import FoundationEssentials

/// The daemon behind a socket. Every call opens a connection of its own and blocks.
public struct Daemon: Sendable {
    public let socket: String

    public init(socket: String) { self.socket = socket }

    public func create(_ video: CreateVideo, idempotencyKey: String? = nil) throws(ClientError) -> Video {
        guard let body = try? JSONEncoder().encode(video) else { throw .malformed("a field can't be written as JSON") }
        var headers = [("Content-Type", "application/json")]
        if let idempotencyKey { headers.append(("Idempotency-Key", idempotencyKey)) }
        return try decode(Video.self, from: request("POST", "/v1/videos", headers: headers, body: Array(body)))
    }

    /// A longer video around `source`.
    public func extend(_ request: CreateVideo) throws(ClientError) -> Video {
        try decode(Video.self, from: post("/v1/videos/extensions", request))
    }

    /// `video` changed as far as `strength` says.
    public func edit(_ request: CreateVideo) throws(ClientError) -> Video {
        try decode(Video.self, from: post("/v1/videos/edits", request))
    }

    /// One video, a passage, another video.
    public func blend(_ request: CreateVideo) throws(ClientError) -> Video {
        try decode(Video.self, from: post("/v1/videos/blends", request))
    }

    /// The video `id` again, with what `request` says otherwise.
    public func remix(_ id: String, _ request: CreateVideo) throws(ClientError) -> Video {
        try decode(Video.self, from: post("/v1/videos/\(segment(id))/remix", request))
    }

    /// One picture, as a file in `output_format`, and the id of the video of one frame that it is.
    public func image(_ request: CreateImage) throws(ClientError) -> (id: String, file: [UInt8]) {
        struct Answer: Decodable {
            struct Image: Decodable {
                var b64_json: String
                var id: String
            }
            var data: [Image]
        }
        let answer = try decode(Answer.self, from: post("/v1/images/generations", request))
        guard let image = answer.data.first, let file = Data(base64Encoded: image.b64_json) else {
            throw .malformed("the answer holds no image")
        }
        return (image.id, Array(file))
    }

    private func post(_ path: String, _ request: some Encodable) throws(ClientError) -> [UInt8] {
        guard let body = try? JSONEncoder().encode(request) else {
            throw .malformed("a field can't be written as JSON")
        }
        return try self.request("POST", path, headers: [("Content-Type", "application/json")], body: Array(body))
    }

    public func video(_ id: String) throws(ClientError) -> Video {
        try decode(Video.self, from: request("GET", "/v1/videos/\(segment(id))"))
    }

    /// The newest `limit` videos, newest first; `after` is the last id of the page before.
    public func videos(limit: Int, after: String? = nil) throws(ClientError) -> VideoPage {
        let rest = after.map { "&after=\(segment($0))" } ?? ""
        return try decode(VideoPage.self, from: request("GET", "/v1/videos?limit=\(limit)&order=desc\(rest)"))
    }

    public func cancel(_ id: String) throws(ClientError) -> Video {
        try decode(Video.self, from: request("POST", "/v1/videos/\(segment(id))/cancel", body: []))
    }

    public func delete(_ id: String) throws(ClientError) {
        _ = try request("DELETE", "/v1/videos/\(segment(id))")
    }

    /// A finished video in one of the daemon's formats (`mp4`, `avi`, `y4m`, `jpg`).
    public func content(_ id: String, variant: String, format: String?) throws(ClientError) -> [UInt8] {
        let rest = format.map { "&format=\(segment($0))" } ?? ""
        return try request("GET", "/v1/videos/\(segment(id))/content?variant=\(segment(variant))\(rest)")
    }

    /// The body of any address of the daemon, as it came.
    public func get(_ path: String) throws(ClientError) -> [UInt8] { try request("GET", path) }

    /// The words that each model was trained to understand.
    public func words() throws(ClientError) -> [ModelWords] {
        struct List: Decodable { var data: [ModelWords] }
        return try decode(List.self, from: get("/v1/capabilities")).data
    }

    /// Calls `body` with every event of a video until it returns `false` or the stream ends; returns the last id seen.
    public func events(
        of id: String, after last: String?, _ body: (ServerEvent) throws -> Bool
    ) throws -> String? {
        let headers = [("Accept", "text/event-stream")] + (last.map { [("Last-Event-ID", $0)] } ?? [])
        var exchange = try HTTPExchange(
            socket: socket, method: "GET", path: "/v1/videos/\(segment(id))/events", headers: headers)
        guard exchange.status == 200 else {
            throw refusal(exchange.status, exchange.headers, try exchange.body(limit: 1 << 20))
        }
        var parser = EventParser()
        var newest = last
        while true {
            let bytes = try exchange.next()
            if bytes.isEmpty { return newest }
            for event in try parser.feed(bytes) {
                newest = event.id ?? newest
                guard try body(event) else { return newest }
            }
        }
    }

    private func request(
        _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil
    ) throws(ClientError) -> [UInt8] {
        var exchange = try HTTPExchange(socket: socket, method: method, path: path, headers: headers, body: body)
        let answer = try exchange.body()
        guard (200..<300).contains(exchange.status) else { throw refusal(exchange.status, exchange.headers, answer) }
        return answer
    }

    private func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws(ClientError) -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw .malformed("the answer is not the JSON that was expected: \(error)")
        }
    }

    private func refusal(_ status: Int, _ headers: [String: String], _ body: [UInt8]) -> ClientError {
        struct Problem: Decodable {
            struct Inner: Decodable {
                var code: String?
                var message: String?
                var param: String?
            }
            var error: Inner?
        }
        let inner = (try? JSONDecoder().decode(Problem.self, from: Data(body)))?.error
        return .refused(
            status: status, code: inner?.code ?? "http_\(status)", field: inner?.param,
            message: inner?.message ?? "HTTP status \(status)", retryAfter: headers["retry-after"].flatMap { Int($0) })
    }

    /// Percent-encodes one path segment or query value.
    private func segment(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                encoded += "%" + (hex.count == 1 ? "0" : "") + hex
            }
        }
        return encoded
    }
}
