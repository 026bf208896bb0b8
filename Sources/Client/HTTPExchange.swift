/// One HTTP/1.1 request over its own connection, and the answer's body as a stream.
struct HTTPExchange: ~Copyable {
    let status: Int
    let headers: [String: String]
    private var connection: UnixConnection
    private var framing: Framing

    private enum Framing {
        /// Bytes left of a body with a Content-Length.
        case length(Int)
        /// Bytes left of the current chunk, -1 before the first.
        case chunked(Int)
        case untilClose
        case finished
    }

    init(
        socket: String, method: String, path: String, headers extra: [(String, String)] = [], body: [UInt8]? = nil
    ) throws(ClientError) {
        var connection = try UnixConnection(path: socket)
        var head = "\(method) \(path) HTTP/1.1\r\nHost: filoscope\r\nConnection: close\r\n"
        for (name, value) in extra { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        head += "\r\n"
        do {
            try connection.write(Array(head.utf8) + (body ?? []))
        } catch {
            // A daemon that refuses a body may answer and close before it was read; the answer says why.
            guard case .connectionLost = error else { throw error }
        }

        guard let first = try connection.line() else { throw .truncated }
        let parts = first.split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
            throw .malformed("'\(first.prefix(60))' is not an HTTP status line")
        }
        var headers: [String: String] = [:]
        while let line = try connection.line(), !line.isEmpty {
            guard let colon = line.firstIndex(of: ":") else { throw .malformed("a header without a colon") }
            guard headers.count < 200 else { throw .malformed("more than 200 headers") }
            let value = line[line.index(after: colon)...]
            headers[line[..<colon].lowercased()] = String(value.drop { $0 == " " || $0 == "\t" })
        }
        var framing = Framing.untilClose
        if headers["transfer-encoding"]?.lowercased() == "chunked" {
            framing = .chunked(-1)
        } else if let text = headers["content-length"] {
            guard let length = Int(text), length >= 0 else { throw .malformed("Content-Length: \(text)") }
            framing = length == 0 ? .finished : .length(length)
        }
        self.status = status
        self.headers = headers
        self.connection = connection
        self.framing = framing
    }

    /// The next bytes of the body; empty at its end.
    mutating func next() throws(ClientError) -> [UInt8] {
        switch framing {
        case .finished:
            return []
        case .untilClose:
            return try connection.some(65_536)
        case .length(let left):
            let bytes = try connection.some(left)
            if bytes.isEmpty { throw .truncated }
            framing = left == bytes.count ? .finished : .length(left - bytes.count)
            return bytes
        case .chunked(var left):
            if left <= 0 {
                if left == 0 { _ = try connection.line() }
                guard let line = try connection.line(limit: 1024) else { throw .truncated }
                let digits = line.prefix { $0 != ";" }
                guard let size = Int(digits, radix: 16), size >= 0 else { throw .malformed("chunk size '\(digits)'") }
                if size == 0 {
                    framing = .finished
                    return []
                }
                left = size
            }
            let bytes = try connection.some(left)
            if bytes.isEmpty { throw .truncated }
            framing = .chunked(left - bytes.count)
            return bytes
        }
    }

    mutating func body(limit: Int = 1 << 30) throws(ClientError) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let bytes = try next()
            if bytes.isEmpty { return all }
            all += bytes
            guard all.count <= limit else { throw .malformed("an answer of more than \(limit) bytes") }
        }
    }
}
