import Glibc

/// A client that says exactly what a test wants, byte by byte, over a Unix socket.
final class RawClient {
    private(set) var descriptor: Int32
    private var unread: [UInt8] = []

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let fd = descriptor
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure("connect: \(errno)") }
        // A test that waits in vain fails instead of hanging.
        var limit = timeval(tv_sec: 60 * TestService.patience, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { hangUp() }

    struct Failure: Error, CustomStringConvertible {
        var description: String
        init(_ description: String) { self.description = description }
    }

    struct Answer {
        var status: Int
        var headers: [String: String]
        var body: [UInt8]
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    func hangUp() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// `false` when the daemon has cut the connection.
    @discardableResult func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    func request(
        _ method: String, _ target: String, headers: [(String, String)] = [], body: [UInt8]? = nil,
        host: String = "test"
    ) throws -> Answer {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        send(Array((head + "\r\n").utf8) + (body ?? []))
        return try answer()
    }

    func post(_ json: String) throws -> Answer {
        try request("POST", "/v1/videos", headers: [("Content-Type", "application/json")], body: Array(json.utf8))
    }

    /// Reads more; empty at the end of the stream.
    func more(_ limit: Int = 65_536) throws -> [UInt8] {
        if !unread.isEmpty {
            defer { unread = [] }
            return unread
        }
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = recv(descriptor, &buffer, limit, 0)
        if count < 0 {
            guard errno == ECONNRESET else { throw Failure("recv: \(errno)") }
            return []
        }
        return Array(buffer[..<count])
    }

    /// The head of an answer; what follows stays unread.
    func head() throws -> (status: Int, headers: [String: String]) {
        var collected: [UInt8] = []
        while true {
            let bytes = try more()
            collected += bytes
            if let end = Self.find("\r\n\r\n", in: collected) {
                unread = Array(collected[(end + 4)...])
                let lines = String(decoding: collected[..<end], as: UTF8.self).split(separator: "\r\n")
                guard lines[0].hasPrefix("HTTP/1."), let status = Int(lines[0].split(separator: " ")[1]) else {
                    throw Failure("not a status line: \(lines[0])")
                }
                var headers: [String: String] = [:]
                for line in lines.dropFirst() {
                    let sides = line.split(separator: ":", maxSplits: 1)
                    headers[sides[0].lowercased()] = String(sides[1].drop { $0 == " " })
                }
                return (status, headers)
            }
            guard !bytes.isEmpty else { throw Failure("the connection ended after \(collected.count) bytes of a head") }
        }
    }

    func answer() throws -> Answer {
        let (status, headers) = try head()
        var body: [UInt8] = []
        if let length = headers["content-length"].flatMap({ Int($0) }) {
            while body.count < length {
                let bytes = try more()
                guard !bytes.isEmpty else { throw Failure("the body ended after \(body.count) of \(length) bytes") }
                body += bytes
            }
            unread = Array(body[length...])
            body = Array(body[..<length])
        } else {
            body = try dechunked()
        }
        return Answer(status: status, headers: headers, body: body)
    }

    /// A chunked body to its end, of which `raw` was read already.
    func dechunked(after raw: [UInt8] = []) throws -> [UInt8] {
        var raw = raw
        while true {
            let bytes = try more()
            if bytes.isEmpty { break }
            raw += bytes
        }
        var body: [UInt8] = []
        var cursor = 0
        while cursor < raw.count {
            guard let end = Self.find("\r\n", in: Array(raw[cursor...])),
                let size = Int(String(decoding: raw[cursor..<(cursor + end)], as: UTF8.self), radix: 16)
            else { throw Failure("a chunk without a size") }
            cursor += end + 2
            if size == 0 { return body }
            guard cursor + size + 2 <= raw.count else { throw Failure("a chunk that is cut off") }
            body += raw[cursor..<(cursor + size)]
            cursor += size + 2
        }
        throw Failure("the stream was cut off")
    }

    /// `true` once the daemon has closed the connection.
    func isClosedByPeer() throws -> Bool {
        while true {
            if try more().isEmpty { return true }
        }
    }

    static func find(_ needle: String, in bytes: [UInt8]) -> Int? {
        let needle = Array(needle.utf8)
        guard bytes.count >= needle.count else { return nil }
        return (0...(bytes.count - needle.count)).first { bytes[$0...].starts(with: needle) }
    }

    static func count(_ needle: String, in bytes: [UInt8]) -> Int {
        let needle = Array(needle.utf8)
        guard bytes.count >= needle.count else { return 0 }
        return (0...(bytes.count - needle.count)).count { bytes[$0] == needle[0] && bytes[$0...].starts(with: needle) }
    }
}
