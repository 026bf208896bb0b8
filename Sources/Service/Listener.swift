import Glibc

/// Why the daemon has no socket to listen on.
public enum ListenerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The path is longer than an address can hold.
    case pathTooLong(String, limit: Int)
    /// Another process listens there.
    case inUse(String)
    /// Something that is not a socket is in the way.
    case notASocket(String)
    case system(operation: String, path: String, errno: Int32)
    /// The descriptor handed over is not a listening Unix stream socket.
    case wrongDescriptor(Int32)

    public var description: String {
        switch self {
        case .pathTooLong(let path, let limit): "the socket's path \(path) is longer than \(limit) bytes"
        case .inUse(let path): "another process listens on \(path)"
        case .notASocket(let path): "\(path) exists and is not a socket"
        case .system(let operation, let path, let code):
            "\(operation) \(path): \(String(cString: strerror(code)))"
        case .wrongDescriptor(let fd): "descriptor \(fd) is not a listening Unix stream socket"
        }
    }
}

/// A listening Unix stream socket: handed over by systemd, or bound here.
public struct Listener: ~Copyable {
    /// Non-negative until it is given away.
    private var descriptor: Int32
    /// Where this process bound it; removed at the end. `nil` for a socket that systemd owns.
    public let path: String?

    /// Takes over a socket that somebody else bound.
    public init(descriptor: Int32) throws(ListenerError) {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0, value == 1,
            getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &value, &length) == 0, value == AF_UNIX,
            getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &value, &length) == 0,
            value == Int32(SOCK_STREAM.rawValue)
        else { throw .wrongDescriptor(descriptor) }
        self.descriptor = descriptor
        path = nil
    }

    /// Binds `path` with mode 0660. A socket that nobody listens on any more is replaced.
    public init(path: String, backlog: Int32 = 64) throws(ListenerError) {
        var address = try Self.address(path)
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        try Self.removeStale(path, &address, length)
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { throw .system(operation: "socket", path: path, errno: errno) }
        // The mode of the socket before it is bound is that of the file: it is never open to more than the group.
        let failed: String? =
            if fchmod(fd, 0o660) != 0 {
                "fchmod"
            } else if Self.withAddress(&address, { bind(fd, $0, length) }) != 0 {
                "bind"
            } else if chmod(path, 0o660) != 0 {
                "chmod"
            } else if listen(fd, backlog) != 0 {
                "listen on"
            } else {
                nil
            }
        if let failed {
            let code = errno
            close(fd)
            throw .system(operation: failed, path: path, errno: code)
        }
        descriptor = fd
        self.path = path
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Gives the descriptor away; the caller closes it.
    consuming func take() -> Int32 {
        let fd = descriptor
        descriptor = -1
        return fd
    }

    private static func address(_ path: String) throws(ListenerError) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let limit = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard (1...limit).contains(path.utf8.count) else { throw .pathTooLong(path, limit: limit) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return address
    }

    private static func withAddress(
        _ address: inout sockaddr_un, _ body: (UnsafePointer<sockaddr>) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
    }

    private static func removeStale(
        _ path: String, _ address: inout sockaddr_un, _ length: socklen_t
    ) throws(ListenerError) {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { return }
        guard facts.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path) }
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard probe >= 0 else { throw .system(operation: "socket", path: path, errno: errno) }
        defer { close(probe) }
        // A full backlog reads as EAGAIN: somebody listens.
        guard withAddress(&address, { connect(probe, $0, length) }) != 0, errno == ECONNREFUSED else {
            throw .inUse(path)
        }
        guard unlink(path) == 0 else { throw .system(operation: "unlink", path: path, errno: errno) }
    }
}
