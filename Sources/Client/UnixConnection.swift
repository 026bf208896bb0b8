import Glibc

/// Why the daemon could not be spoken to, or what it answered instead of a result.
public enum ClientError: Error, Sendable, Equatable {
    /// The path does not fit in a socket address (107 bytes).
    case socketPathTooLong(String)
    case cannotConnect(path: String, errno: Int32)
    case connectionLost(errno: Int32)
    /// The daemon closed the connection before the answer was whole.
    case truncated
    case malformed(String)
    /// An HTTP error, with the daemon's own words.
    case refused(status: Int, code: String, field: String?, message: String, retryAfter: Int?)
}

/// A blocking connection to a Unix stream socket.
struct UnixConnection: ~Copyable {
    private let descriptor: Int32
    private var buffer: [UInt8]
    private var position: Int

    // No stored property has a value before the last error: Swift 6.2's compiler crashes on giving back a part of self.
    init(path: String) throws(ClientError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < capacity, !bytes.contains(0) else { throw .socketPathTooLong(path) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }

        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .cannotConnect(path: path, errno: errno) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            let reason = errno
            close(descriptor)
            throw .cannotConnect(path: path, errno: reason)
        }
        self.descriptor = descriptor
        buffer = []
        position = 0
    }

    deinit { close(descriptor) }

    func write(_ bytes: [UInt8]) throws(ClientError) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if errno != EINTR {
                throw .connectionLost(errno: errno)
            }
        }
    }

    /// The next byte, or `nil` at the end of the stream.
    mutating func byte() throws(ClientError) -> UInt8? {
        if position == buffer.count {
            guard try fill() else { return nil }
        }
        defer { position += 1 }
        return buffer[position]
    }

    /// Up to `limit` bytes that are there, at least one; empty at the end of the stream.
    mutating func some(_ limit: Int) throws(ClientError) -> [UInt8] {
        if position == buffer.count {
            guard try fill() else { return [] }
        }
        let end = min(buffer.count, position + limit)
        defer { position = end }
        return Array(buffer[position..<end])
    }

    /// A line without its line break; `nil` at the end of the stream.
    mutating func line(limit: Int = 65_536) throws(ClientError) -> String? {
        var bytes: [UInt8] = []
        while let next = try byte() {
            if next == UInt8(ascii: "\n") {
                if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
                return String(decoding: bytes, as: UTF8.self)
            }
            bytes.append(next)
            guard bytes.count <= limit else { throw .malformed("a line of more than \(limit) bytes") }
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    private mutating func fill() throws(ClientError) -> Bool {
        if buffer.count < 65_536 { buffer = [UInt8](repeating: 0, count: 65_536) }
        while true {
            var storage = buffer
            buffer = []
            let count = storage.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress!, $0.count, 0) }
            let reason = errno
            if count > 0 {
                storage.removeSubrange(count...)
                buffer = storage
                position = 0
                return true
            }
            position = 0
            if count == 0 { return false }
            guard reason == EINTR else { throw .connectionLost(errno: reason) }
            buffer = storage
        }
    }
}
