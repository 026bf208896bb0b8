import Glibc
import Testing

@testable import Client

/// A server of one canned answer on a socket of its own; keeps what it was sent.
private func answering(_ answer: String, _ body: (Daemon) throws -> Void) throws {
    let path = "/tmp/filoscope-client-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer {
        close(listener)
        unlink(path)
    }
    let bound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    try #require(bound == 0 && listen(listener, 4) == 0)
    // The answer fits into the socket's buffer, so the connection can be served before the client reads.
    nonisolated(unsafe) var thread = pthread_t()
    let box = Unmanaged.passRetained(Canned(listener: listener, answer: Array(answer.utf8)))
    pthread_create(
        &thread, nil,
        { argument in
            let canned = Unmanaged<Canned>.fromOpaque(argument!).takeRetainedValue()
            let connection = accept(canned.listener, nil, nil)
            var scratch = [UInt8](repeating: 0, count: 65_536)
            _ = recv(connection, &scratch, scratch.count, 0)
            _ = send(connection, canned.answer, canned.answer.count, Int32(MSG_NOSIGNAL))
            close(connection)
            return nil
        }, box.toOpaque())
    defer { pthread_join(thread, nil) }
    try body(Daemon(socket: path))
}

private final class Canned: Sendable {
    let listener: Int32
    let answer: [UInt8]
    init(listener: Int32, answer: [UInt8]) {
        self.listener = listener
        self.answer = answer
    }
}

@Suite struct ClientTests {
    @Test func readsChunkedBodies() throws {
        try answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfilo\r\n5;x=y\r\nscope\r\n0\r\n\r\n"
        ) { daemon in
            let body = try daemon.get("/")
            #expect(String(decoding: body, as: UTF8.self) == "filoscope")
        }
    }

    @Test func noticesABodyThatEndsEarly() throws {
        try answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort") { daemon in
            #expect(throws: ClientError.truncated) { try daemon.get("/") }
        }
    }

    @Test func carriesTheDaemonsWords() throws {
        let body =
            #"{"title":"x","status":429,"error":{"code":"queue_full","message":"32 jobs wait","param":null,"type":"x"}}"#
        try answering(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        ) { daemon in
            #expect(
                throws: ClientError.refused(
                    status: 429, code: "queue_full", field: nil, message: "32 jobs wait", retryAfter: 7)
            ) { try daemon.get("/") }
        }
    }

    @Test(arguments: ["garbage\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nnocolon\r\n\r\n"])
    func refusesWhatIsNotHTTP(answer: String) throws {
        try answering(answer) { daemon in
            #expect(throws: ClientError.self) { try daemon.get("/") }
        }
    }

    @Test func saysWhichSocketIsMissing() {
        #expect(throws: ClientError.cannotConnect(path: "/nonexistent/x.sock", errno: ENOENT)) {
            try Daemon(socket: "/nonexistent/x.sock").get("/")
        }
        let long = "/" + String(repeating: "a", count: 200)
        #expect(throws: ClientError.socketPathTooLong(long)) { try Daemon(socket: long).get("/") }
    }

    @Test func putsEventsTogetherWhateverTheCut() throws {
        let text = ": hello\n\nid: 4\nevent: video.progress\ndata: {\"a\":\ndata: 1}\r\n\r\ndata: x\n\n"
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var parser = EventParser()
            let events = try parser.feed(Array(bytes[..<cut])) + parser.feed(Array(bytes[cut...]))
            #expect(
                events == [
                    ServerEvent(id: "4", name: "video.progress", data: "{\"a\":\n1}"),
                    ServerEvent(id: "4", name: "message", data: "x"),
                ])
        }
    }
}
