import Glibc
import Jobs
import Testing

@testable import Service

@Suite struct StreamTests {
    private func open(_ service: TestService, _ id: String, _ what: String, _ fields: String = "") throws -> RawClient {
        let client = try service.connect()
        client.send("GET /v1/videos/\(id)/\(what) HTTP/1.1\r\nHost: test\r\n\(fields)\r\n")
        return client
    }

    /// Value of a header in every part.
    private func values(_ name: String, _ body: [UInt8]) -> [String] {
        String(decoding: body, as: UTF8.self).split(separator: "\r\n").filter { $0.hasPrefix("\(name): ") }
            .map { String($0.dropFirst(name.utf8.count + 2)) }
    }

    @Test func onePreviewAStepThenTheLastFrameTwice() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.create()
            let client = try open(service, id, "preview.mjpeg")
            let head = try client.head()
            #expect(head.status == 200)
            #expect(head.headers["content-type"] == "multipart/x-mixed-replace; boundary=filoscope-frame")
            // Before the first frame nothing comes, and nothing ends. The next is made when this one has arrived.
            usleep(50_000)
            var raw: [UInt8] = []
            for step in 1...4 {
                generator.allowStep()
                while RawClient.count("X-Step: \(step)\r\n", in: raw) == 0 { raw += try client.more() }
            }
            let body = try client.dechunked(after: raw)
            #expect(values("X-Step", body) == ["1", "2", "3", "4", "4", "4"])
            #expect(values("X-Steps", body).allSatisfy { $0 == "4" })
            let times = values("X-Timestamp", body).compactMap(Double.init)
            #expect(times.count == 6 && times == times.sorted())
            #expect(String(decoding: body.suffix(24), as: UTF8.self).hasSuffix("\r\n--filoscope-frame--\r\n"))

            // Every part is as long as it says, and a JPEG.
            var rest = body[...]
            for length in values("Content-Length", body).compactMap({ Int($0) }) {
                guard let gap = RawClient.find("\r\n\r\n", in: Array(rest)) else { throw RawClient.Failure("no part") }
                let jpeg = rest.dropFirst(gap + 4).prefix(length)
                #expect(jpeg.starts(with: [0xFF, 0xD8]) && jpeg.suffix(2) == [0xFF, 0xD9])
                rest = rest.dropFirst(gap + 4 + length)
                #expect(rest.starts(with: Array("\r\n--filoscope-frame".utf8)))
            }
            // Who comes late gets the last frame, and the end.
            let late = try open(service, id, "preview.mjpeg")
            _ = try late.head()
            #expect(values("X-Step", try late.dechunked()) == ["4", "4"])
            #expect(try service.connect().request("GET", "/v1/videos/\(id)/preview.jpg").headers["x-step"] == "4")
        }
    }

    @Test func aClientThatNeverReadsDelaysNobody() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 10, isHeld: true))
        var options = ServiceOptions()
        options.writeTimeout = .seconds(5)
        // Frames far larger than what the kernel takes for a client that doesn't read.
        try await TestService.run(options: options, generator: generator, previewBytes: 400_000) { service in
            let id = try service.create()
            let stalled = try (0..<20).map { _ in try open(service, id, "preview.mjpeg") }
            let stalledEvents = try (0..<5).map { _ in try open(service, id, "events") }
            let reader = try open(service, id, "preview.mjpeg")
            _ = try reader.head()
            generator.release()
            let start = ContinuousClock.now
            let body = try reader.dechunked()
            #expect(values("X-Step", body).last == "4")
            #expect(.now - start < .milliseconds(4500), "delayed by \(ContinuousClock.now - start)")
            #expect(try service.finish(id))
            let other = try service.create()
            #expect(try service.finish(other))
            // What never takes anything is cut off.
            #expect(service.connectionsSettle(at: 1) || service.connectionsSettle(at: 0))
            withExtendedLifetime((stalled, stalledEvents)) {}
        }
    }

    @Test func aSlowClientGetsTheNewestFrameNotABacklog() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 5, isHeld: true))
        try await TestService.run(generator: generator, previewBytes: 300_000) { service in
            let answer = try service.connect().post("{\"prompt\":\"a\",\"steps\":50}")
            let id = try answer.string("id")
            let client = try open(service, id, "preview.mjpeg")
            _ = try client.head()
            generator.release()
            #expect(try service.finish(id))
            // Nothing was read while 50 previews were made: one was under way, and then there is the last.
            let steps = values("X-Step", try client.dechunked())
            #expect(steps.count <= 3, "\(steps)")
            #expect(steps.last == "50")
        }
    }

    @Test func aClientThatVanishesIsNoticedAtOnce() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.create()
            for what in ["preview.mjpeg", "events"] {
                let clients = try (0..<5).map { _ in try open(service, id, what) }
                for client in clients { #expect(try client.head().status == 200) }
                #expect(service.connectionsSettle(at: 5))
                for client in clients { client.hangUp() }
                // No frame and no event is sent meanwhile: only reading shows it.
                #expect(service.connectionsSettle(at: 0))
            }
            #expect(service.settles { service.watchers() == 0 })
            generator.release()
            #expect(try service.finish(id))
        }
    }

    @Test func inputDuringAStreamIsIgnored() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.create()
            let client = try open(service, id, "events")
            _ = try client.head()
            for _ in 0..<100 { client.send(String(repeating: "GET / HTTP/1.1\r\n\r\n", count: 100)) }
            generator.release()
            #expect(String(decoding: try client.dechunked(), as: UTF8.self).contains("event: video.completed"))
        }
    }

    @Test func eventsTellTheWholeStory() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 20, isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.create()
            let client = try open(service, id, "events")
            #expect(try client.head().headers["content-type"] == "text/event-stream")
            generator.release()
            let text = String(decoding: try client.dechunked(), as: UTF8.self)
            let names = text.split(separator: "\n").filter { $0.hasPrefix("event: ") }.map { $0.dropFirst(7) }
            #expect(names.count { $0 == "video.preview" } == 4)
            #expect(names.first == "video.progress" && names.last == "video.completed")
            #expect(text.contains("\"b64_jpeg\":\"/9j/") && text.contains("\"steps\":4"))
            let ids = text.split(separator: "\n").filter { $0.hasPrefix("id: ") }.compactMap { UInt64($0.dropFirst(4)) }
            #expect(ids.count == names.count && ids == ids.sorted())
            let last = text.split(separator: "\n").last { $0.hasPrefix("data: ") } ?? ""
            #expect(last.contains("\"type\":\"video.completed\"") && last.contains("\"status\":\"completed\""))

            let late = try open(service, id, "events")
            _ = try late.head()
            #expect(RawClient.count("event: ", in: try late.dechunked()) == 1)
        }
    }

    @Test func lastEventIDResumes() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let answer = try service.connect().post("{\"prompt\":\"a\",\"steps\":12}")
            let id = try answer.string("id")
            // Looks in until the third preview, then goes away.
            let first = try open(service, id, "events")
            _ = try first.head()
            for _ in 0..<3 { generator.allowStep() }
            var seen: [UInt8] = []
            while RawClient.count("event: video.preview", in: seen) < 3 { seen += try first.more() }
            first.hangUp()
            // Chunk sizes stand between these lines, ended by CR LF.
            let ids = String(decoding: seen, as: UTF8.self).split(whereSeparator: \.isNewline)
                .filter { $0.hasPrefix("id: ") }.compactMap { UInt64($0.dropFirst(4)) }
            guard let last = ids.last else { throw RawClient.Failure("no ids") }
            let second = try open(service, id, "events", "Last-Event-ID: \(last)\r\n")
            _ = try second.head()
            generator.release()
            let text = String(decoding: try second.dechunked(), as: UTF8.self)
            let resumed = text.split(separator: "\n").filter { $0.hasPrefix("id: ") }.compactMap {
                UInt64($0.dropFirst(4))
            }
            #expect(resumed.first == last + 1)
            #expect(RawClient.count("event: video.preview", in: seen + Array(text.utf8)) == 12)
            let wrong = try service.connect().request(
                "GET", "/v1/videos/\(id)/events", headers: [("Last-Event-ID", "yesterday")])
            #expect(wrong.status == 400)
        }
    }

    @Test func aStreamEndsWhenItsJobIsCancelledOrDeleted() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let running = try service.create()
            let queued = try service.create()
            let preview = try open(service, running, "preview.mjpeg")
            let events = try open(service, running, "events")
            let waiting = try open(service, queued, "preview.mjpeg")
            for client in [preview, events, waiting] { _ = try client.head() }
            #expect(try service.connect().request("POST", "/v1/videos/\(running)/cancel").status == 200)
            #expect(String(decoding: try events.dechunked(), as: UTF8.self).contains("event: video.failed"))
            #expect(try preview.dechunked() == MotionJPEG.end)
            #expect(try service.connect().request("DELETE", "/v1/videos/\(queued)").status == 200)
            #expect(try waiting.dechunked() == MotionJPEG.end)
        }
    }
}
