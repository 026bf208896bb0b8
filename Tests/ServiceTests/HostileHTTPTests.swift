import Glibc
import Testing

@testable import Service

/// What is wrong before any route is reached. The daemon has to answer the next client after each.
@Suite struct HostileHTTPTests {
    private func withService(
        _ adjust: (inout ServiceOptions) -> Void = { _ in }, _ body: @escaping @Sendable (TestService) throws -> Void
    ) async throws {
        var options = ServiceOptions.patient
        adjust(&options)
        try await TestService.run(options: options) { service in
            try body(service)
            let answer = try service.connect().request("GET", "/healthz")
            #expect(answer.status == 200)
        }
    }

    @Test func twoHundredKilobytesOfHeader() async throws {
        try await withService { service in
            for head in [
                "GET /healthz HTTP/1.1\r\nX: \(String(repeating: "a", count: 200_000))\r\n\r\n",
                "GET /healthz HTTP/1.1\r\n"
                    + (0..<4000).map { "X-\($0): \(String(repeating: "b", count: 40))\r\n" }.joined()
                    + "\r\n",
                "GET /\(String(repeating: "c", count: 200_000)) HTTP/1.1\r\n\r\n",
                "GET /\(String(repeating: "c", count: 200_000))",
            ] {
                let client = try service.connect()
                client.send(head)
                let answer = try client.answer()
                #expect(answer.status == 431 && answer.text.contains("16384 bytes"))
                #expect(answer.headers["connection"] == "close")
                #expect(try client.isClosedByPeer())
            }
        }
    }

    @Test func tooManyFieldsAndOneTooLong() async throws {
        try await withService { service in
            let many = (0..<101).map { "a\($0): 1\r\n" }.joined()
            let client = try service.connect()
            client.send("GET /healthz HTTP/1.1\r\n\(many)\r\n")
            #expect(try client.answer().status == 431)
            // Just under the limit is served.
            let large = try service.connect().request(
                "GET", "/healthz", headers: [("x", String(repeating: "a", count: 15_000))])
            #expect(large.status == 200)
        }
    }

    @Test(arguments: [
        "\u{16}\u{3}\u{1}\u{2}\u{0}TLS hello", "hello\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "\r\n\r\n\r\n\u{0}\u{1}",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /v1/videos HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/videos HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ])
    func garbageInsteadOfHTTP(_ text: String) async throws {
        try await withService { service in
            let client = try service.connect()
            client.send(text)
            let answer = try client.answer()
            #expect(answer.status == 400, "\(answer.text)")
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func oneByteAfterAnotherIsCutOff() async throws {
        try await withService({ $0.headTimeout = .milliseconds(300) }) { service in
            let client = try service.connect()
            let start = ContinuousClock.now
            for byte in Array("GET /healthz HTTP/1.1\r\nX: ".utf8) + [UInt8](repeating: 0x61, count: 1000) {
                guard client.send([byte]) else { break }
                if .now - start > .milliseconds(600) { break }
                usleep(20_000)
            }
            #expect(try client.answer().status == 408)
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func aBodyOneByteAfterAnotherIsCutOff() async throws {
        try await withService({ $0.requestTimeout = .milliseconds(300) }) { service in
            let client = try service.connect()
            client.send("POST /v1/videos HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
            let start = ContinuousClock.now
            while .now - start < .milliseconds(500), client.send(" ") { usleep(20_000) }
            #expect(try client.answer().status == 408)
            #expect(.now - start < .seconds(5 * TestService.patience))
        }
    }

    @Test func silenceIsCutOff() async throws {
        try await withService({ $0.idleTimeout = .milliseconds(200) }) { service in
            let client = try service.connect()
            #expect(try client.isClosedByPeer())
            let used = try service.connect()
            #expect(try used.request("GET", "/healthz").status == 200)
            #expect(try used.isClosedByPeer())
        }
    }

    @Test func aBodyOverTheCap() async throws {
        try await withService({ $0.bodyBytes = 10_000 }) { service in
            let announced = try service.connect()
            announced.send(
                "POST /v1/videos HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10001\r\n\r\n")
            let answer = try announced.answer()
            #expect(answer.status == 413 && answer.text.contains("10000 bytes"))

            // A client that goes on sending still gets the answer.
            let sent = try service.connect()
            let body = [UInt8](repeating: 0x20, count: 5_000_000)
            #expect(
                try sent.request("POST", "/v1/videos", headers: [("Content-Type", "application/json")], body: body)
                    .status
                    == 413)

            let chunked = try service.connect()
            chunked.send("POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<20 where chunked.send("400\r\n\(String(repeating: "x", count: 1024))\r\n") {}
            #expect(try chunked.answer().status == 413)

            // One byte a chunk, and a trailer without end.
            let thin = try service.connect()
            thin.send("POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
            for _ in 0..<500 where thin.send("t: \(String(repeating: "t", count: 1000))\r\n") {}
            #expect([400, 413, 431].contains(try thin.answer().status))
        }
    }

    @Test func expectContinueIsAnswered() async throws {
        try await withService { service in
            let client = try service.connect()
            client.send(
                "POST /v1/videos HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            #expect(try client.head().status == 100)
            client.send("{}")
            #expect(try client.answer().status == 415)
        }
    }

    @Test func requestsMayBePipelinedButOnlyOneIsServedAtATime() async throws {
        try await withService { service in
            let client = try service.connect()
            let one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
            client.send(String(repeating: one, count: 500))
            for _ in 0..<500 { #expect(try client.answer().status == 200) }
            // The last one asks for the end, and what follows it is not served.
            client.send("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n" + one)
            #expect(try client.answer().status == 200)
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func garbageAfterARequestEndsTheConnectionAfterItsAnswer() async throws {
        try await withService { service in
            let client = try service.connect()
            client.send("GET /healthz HTTP/1.1\r\n\r\nGARBAGE\u{0}\r\n\r\n")
            #expect(try client.answer().status == 200)
            #expect(try client.answer().status == 400)
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func aClientThatOnlyFinishedWritingGetsItsAnswer() async throws {
        try await withService { service in
            let client = try service.connect()
            client.send("GET /healthz HTTP/1.1\r\n\r\n")
            client.finishWriting()
            #expect(try client.answer().status == 200)
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func clientsThatVanishLeaveNothingBehind() async throws {
        try await withService { service in
            for text in [
                "", "GET", "GET /healthz HTTP/1.1\r\n\r\n", "POST /v1/videos HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
            ] {
                for _ in 0..<10 {
                    let client = try service.connect()
                    client.send(text)
                    client.hangUp()
                }
            }
            #expect(service.connectionsSettle(at: 0))
        }
    }

    @Test func connectionsAreCapped() async throws {
        try await TestService.run(
            options: {
                var options = ServiceOptions.patient
                options.connections = 8
                return options
            }()
        ) { service in
            var clients: [RawClient] = []
            for _ in 0..<8 {
                let client = try service.connect()
                #expect(try client.request("GET", "/healthz").status == 200)
                #expect(service.settles { service.service.restingConnectionCount == 1 })
                // In the middle of the next one: what rests would make room.
                client.send("GET /healthz HTTP/1.1\r\n")
                #expect(service.settles { service.service.restingConnectionCount == 0 })
                clients.append(client)
            }
            let refused = try service.connect().answer()
            #expect(refused.status == 503 && refused.headers["retry-after"] == "5")
            clients.removeAll()
            #expect(service.connectionsSettle(at: 0))
            #expect(try service.connect().request("GET", "/healthz").status == 200)
        }
    }

    @Test func unknownAddressesAndMethods() async throws {
        try await withService { service in
            let client = try service.connect()
            #expect(try client.request("GET", "/").status == 404)
            #expect(try client.request("GET", "/v1/videos/a/b/c").status == 404)
            #expect(try client.request("GET", "/v1/videos/..%2f..%2fetc%2fpasswd").status == 404)
            let put = try client.request("PUT", "/v1/videos", body: [])
            #expect(put.status == 405 && put.headers["allow"] == "GET, POST")
            #expect(try client.request("GET", "/%zz").status == 400)
            #expect(try service.connect().request("CONNECT", "/healthz").status == 405)
            let head = try service.connect()
            head.send("HEAD /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
            #expect(try head.head().status == 200)
            #expect(try head.more().isEmpty)
        }
    }
}

@Suite struct ListenerTests {
    private func path() -> String { "/tmp/filoscope-listen-\(getpid())-\(UInt32.random(in: 0 ... .max))" }

    @Test func modeAndStaleSockets() throws {
        let path = path()
        defer { unlink(path) }
        do {
            let first = try Listener(path: path)
            var facts = stat()
            #expect(stat(path, &facts) == 0 && facts.st_mode & 0o777 == 0o660)
            #expect(throws: ListenerError.inUse(path)) { _ = try Listener(path: path) }
            _ = consume first
        }
        // Closed, but the file is still there: nobody listens.
        #expect(access(path, F_OK) == 0)
        let second = try Listener(path: path)
        #expect(second.path == path)
    }

    @Test func whatIsNotASocketStays() throws {
        let path = path()
        defer { unlink(path) }
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        #expect(throws: ListenerError.notASocket(path)) { _ = try Listener(path: path) }
        #expect(access(path, F_OK) == 0)
    }

    @Test func errorsNameThePath() {
        let long = "/tmp/" + String(repeating: "x", count: 110)
        #expect(throws: ListenerError.pathTooLong(long, limit: 107)) { _ = try Listener(path: long) }
        #expect(throws: ListenerError.system(operation: "bind", path: "/nowhere/at/all", errno: ENOENT)) {
            _ = try Listener(path: "/nowhere/at/all")
        }
    }

    @Test func handedOverDescriptorsAreLookedAt() throws {
        #expect(throws: ListenerError.wrongDescriptor(0)) { _ = try Listener(descriptor: 0) }
        let unconnected = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(unconnected) }
        #expect(throws: ListenerError.wrongDescriptor(unconnected)) { _ = try Listener(descriptor: unconnected) }
    }
}
