import Glibc
import Jobs
import Media
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

    @Test func onePreviewAStepThenFramesThenTheLastTwice() async throws {
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
            // Of a preview and five frames that come at once, those that the client was ready for, the last in any case.
            let steps = values("X-Step", body)
            #expect(steps.prefix(4) == ["1", "2", "3", "4"] && (5...10).contains(steps.count), "\(steps)")
            #expect(steps.dropFirst(4).allSatisfy { $0 == "4" })
            #expect(values("X-Steps", body).allSatisfy { $0 == "4" })
            let times = values("X-Timestamp", body).compactMap(Double.init)
            #expect(times.count == steps.count && times == times.sorted())
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
        var options = ServiceOptions.patient
        options.writeTimeout = .seconds(5 * TestService.patience)
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
            let took = ContinuousClock.now - start
            #expect(took < .milliseconds(4500 * TestService.patience), "delayed by \(took)")
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

    @Test func aClientGetsNoMoreFramesThanItAskedFor() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 20, isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.connect().post("{\"prompt\":\"a\",\"steps\":50}").string("id")
            let client = try open(service, id, "preview.mjpeg?fps=2.5")
            _ = try client.head()
            let everything = try open(service, id, "preview.mjpeg")
            _ = try everything.head()
            let start = ContinuousClock.now
            generator.release()
            let steps = values("X-Step", try client.dechunked())
            let took = (ContinuousClock.now - start) / .seconds(1)
            // One at the start, one every 0.4 s, the last one twice.
            #expect(Double(steps.count) <= 3 + took * 2.5, "\(steps) in \(took) s")
            #expect(steps.count >= 3 && steps.suffix(2) == ["50", "50"], "\(steps)")
            #expect(values("X-Step", try everything.dechunked()).count > steps.count)
        }
    }

    @Test func previewsHaveTheWidthThatWasAskedFor() async throws {
        try await TestService.run { service in
            let id = try service.create()
            #expect(try service.finish(id))
            for (query, width) in [("", 64), ("?width=16", 16), ("?width=200", 200), ("?width=64", 64)] {
                let picture = try service.connect().request("GET", "/v1/videos/\(id)/preview.jpg\(query)")
                let frame = try JPEG.decode(picture.body)
                #expect(frame.size.width == width && frame.size.height == width, "\(query)")
            }
            let stream = try open(service, id, "preview.mjpeg?width=32")
            _ = try stream.head()
            let body = try stream.dechunked()
            let begin = try #require(RawClient.find("\r\n\r\n", in: body)) + 4
            #expect(try JPEG.decode(Array(body[begin...])).size.width == 32)
        }
    }

    @Test(arguments: [
        "fps=0", "fps=61", "fps=-1", "fps=nan", "fps=1e1", "fps=", "width=15", "width=1025", "width=", "width=1.5",
        "width=99999999999999999999",
    ])
    func strangeWishesAreRefused(_ query: String) async throws {
        try await TestService.run { service in
            let id = try service.create()
            #expect(try service.finish(id))
            for path in ["/v1/videos/\(id)/preview.mjpeg", "/v1/videos/\(id)/preview.jpg", "/preview.mjpeg"] {
                let answer = try service.connect().request("GET", "\(path)?\(query)")
                #expect(answer.status == 400 && answer.text.contains("\"param\":\"\(query.prefix { $0 != "=" })\""))
            }
        }
    }

    @Test func oneStreamFollowsWhateverRuns() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 5, isHeld: true))
        try await TestService.run(generator: generator) { service in
            let client = try service.connect()
            client.send("GET /preview.mjpeg HTTP/1.1\r\nHost: test\r\n\r\n")
            _ = try client.head()
            #expect(service.settles { (try? service.streams().count) == 1 })
            generator.release()
            var seen: [UInt8] = []
            for seed in 1...3 {
                let id = try service.connect().post("{\"prompt\":\"a\",\"seed\":\(seed)}").string("id")
                // What a stream on a slow machine shows of a short job is its end.
                let before = values("X-Step", seen).filter { $0 == "4" }.count
                #expect(try service.finish(id))
                while values("X-Step", seen).filter({ $0 == "4" }).count <= before { seen += try client.more() }
            }
            client.hangUp()
            #expect(service.settles { (try? service.streams().isEmpty) == true })
        }
    }

    @Test func theFollowingStreamBeginsWithTheNewestVideo() async throws {
        try await TestService.run { service in
            let id = try service.create()
            #expect(try service.finish(id))
            let client = try service.connect()
            client.send("GET /preview.mjpeg HTTP/1.1\r\nHost: test\r\n\r\n")
            _ = try client.head()
            var seen: [UInt8] = []
            while values("X-Step", seen).count < 2 { seen += try client.more() }
            // Once more where the stream came so early that it still finds the job among those that start.
            #expect(values("X-Step", seen).allSatisfy { $0 == "4" })
        }
    }

    @Test func stateCountsWhatStreamsSentAndSkipped() async throws {
        let generator = FakeGenerator(.init(stepMilliseconds: 5, isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.connect().post("{\"prompt\":\"a\",\"steps\":30}").string("id")
            let slow = try open(service, id, "preview.mjpeg?fps=0.1&width=32")
            _ = try slow.head()
            generator.release()
            #expect(try service.finish(id))
            // It waits for its second frame for ten seconds; its first may still be on its way.
            #expect(service.settles { (try? service.streams().first?.contains("\"sent\":1")) == true })
            let stream = try #require(try service.streams().first)
            #expect(stream.contains("\"fps\":0.1") && stream.contains("\"width\":32"))
            #expect(stream.contains("\"sent\":1") && stream.contains("\"job\":\"\(id)\""), "\(stream)")
            slow.hangUp()
            #expect(service.settles { (try? service.streams().isEmpty) == true })
            #expect(try service.connect().request("GET", "/state").text.contains("\"sent_since_start\":1"))
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
