import FoundationEssentials
import Glibc
import Jobs
import Testing

@testable import Service

extension RawClient.Answer {
    /// The body as a JSON object.
    func object() throws -> [String: JSONValue] {
        try JSONDecoder().decode([String: JSONValue].self, from: Data(body))
    }

    func string(_ key: String) throws -> String {
        guard case .string(let text) = try object()[key] else { throw RawClient.Failure("no \(key) in \(self.text)") }
        return text
    }
}

extension TestService {
    func create(_ prompt: String = "a fox") throws -> String {
        let answer = try connect().post("{\"prompt\":\"\(prompt)\"}")
        guard answer.status == 200 else { throw RawClient.Failure(answer.text) }
        return try answer.string("id")
    }

    func status(_ id: String) throws -> String {
        try connect().request("GET", "/v1/videos/\(id)").string("status")
    }

    func finish(_ id: String) throws -> Bool { try settles { try status(id) == "completed" } }
}

@Suite struct VideoRouteTests {
    private static let openAIKeys = [
        "id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size",
        "seconds", "remixed_from_video_id", "error",
    ]
    private static let ownKeys = [
        "seed", "fps", "frames", "frames_sha256", "queue_position", "eta_ms", "steps", "guidance", "negative_prompt",
        "loop",
    ]

    @Test func aVideoFromPromptToDeletion() async throws {
        try await TestService.run { service in
            let client = try service.connect()
            let created = try client.post("{\"prompt\":\"a fox\",\"seed\":18446744073709551615,\"seconds\":\"0.5\"}")
            #expect(created.status == 200)
            #expect(created.headers["openai-poll-after-ms"].flatMap { Int($0) } != nil)
            let object = try created.object()
            #expect(Set(object.keys) == Set(Self.openAIKeys + Self.ownKeys))
            #expect(object["object"] == .string("video") && object["seed"] == .unsigned(.max))
            #expect(object["seconds"] == .string("0.625") && object["expires_at"] == .null)
            let id = try created.string("id")
            #expect(try service.finish(id))

            let shown = try client.request("GET", "/v1/videos/\(id)")
            #expect(shown.headers["openai-poll-after-ms"] == nil)
            #expect(try shown.object()["progress"] == .integer(100))
            #expect(try shown.string("frames_sha256").utf8.count == 64)
            #expect(Set(try shown.object().keys) == Set(Self.openAIKeys + Self.ownKeys))

            #expect(
                try client.request("DELETE", "/v1/videos/\(id)").text
                    == "{\"deleted\":true,\"id\":\"\(id)\",\"object\":\"video.deleted\"}")
            #expect(try client.request("GET", "/v1/videos/\(id)").status == 404)
            #expect(try client.request("DELETE", "/v1/videos/\(id)").status == 404)
        }
    }

    @Test func formsAreTakenToo() async throws {
        try await TestService.run { service in
            let body =
                "--x\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\n"
                + "--x\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n--x--\r\n"
            let answer = try service.connect().request(
                "POST", "/v1/videos", headers: [("Content-Type", "multipart/form-data; boundary=x")],
                body: Array(body.utf8))
            #expect(answer.status == 200)
            #expect(try answer.object()["seed"] == .integer(7))
        }
    }

    @Test func badRequestsNameTheFieldAndLeaveNoJob() async throws {
        try await TestService.run { service in
            let client = try service.connect()
            for (body, status, field) in [
                ("{\"prompt\":\"\"}", 400, "prompt"),
                ("{\"prompt\":\"\(String(repeating: "a", count: 2001))\"}", 400, "prompt"),
                ("{\"prompt\":\"a\\u0000\"}", 400, "prompt"), ("{\"prompt\":\"a\",\"colour\":1}", 400, "colour"),
                ("{\"prompt\":\"a\",\"steps\":\"many\"}", 400, "steps"),
                ("{\"prompt\":\"a\",\"size\":\"4096x4096\"}", 422, "size"),
            ] {
                let answer = try client.post(body)
                #expect(answer.status == status, "\(body)")
                #expect(answer.headers["content-type"] == "application/problem+json")
                #expect(answer.text.contains("\"param\":\"\(field)\""))
            }
            let unsupported = try client.post("{\"prompt\":\"a\",\"size\":\"128x64\"}")
            #expect(unsupported.text.contains("64x64 can"))
            let raw = Array("{\"prompt\":\"".utf8) + [0xFF] + Array("\"}".utf8)
            let encoding = try client.request(
                "POST", "/v1/videos", headers: [("Content-Type", "application/json")], body: raw)
            #expect(encoding.status == 400 && encoding.text.contains("\"param\":\"prompt\""))
            #expect(try client.request("POST", "/v1/videos", body: Array("{}".utf8)).status == 415)
            #expect(try client.request("GET", "/v1/videos").text.contains("\"data\":[]"))
        }
    }

    @Test func aFullQueueSaysWhenToComeBack() async throws {
        var limits = JobLimits()
        limits.queueLength = 2
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator, limits: limits) { service in
            let first = try service.create()
            #expect(try service.settles { try service.status(first) == "in_progress" })
            let second = try service.create()
            let third = try service.create()
            let refused = try service.connect().post("{\"prompt\":\"a\"}")
            #expect(refused.status == 429)
            #expect(refused.headers["retry-after"].flatMap { Int($0) } ?? 0 >= 1)
            #expect(
                try service.connect().request("GET", "/v1/videos/\(third)").object()["queue_position"] == .integer(1))
            // A place gets free.
            let cancelled = try service.connect().request("POST", "/v1/videos/\(second)/cancel")
            #expect(try cancelled.string("status") == "failed")
            #expect(cancelled.text.contains("\"code\":\"cancelled\""))
            #expect(try service.connect().post("{\"prompt\":\"a\"}").status == 200)
            #expect(try service.connect().request("POST", "/v1/videos/\(second)/cancel").status == 409)
            generator.release()
            #expect(try service.finish(first))
        }
    }

    @Test func noModelAtAll() async throws {
        let generator = FakeGenerator(.init(unavailableReason: "there is no model in /nowhere"))
        try await TestService.run(generator: generator) { service in
            let client = try service.connect()
            for answer in [try client.request("GET", "/readyz"), try client.post("{\"prompt\":\"a\"}")] {
                #expect(answer.status == 503 && answer.text.contains("there is no model in /nowhere"))
                #expect(answer.headers["retry-after"] != nil)
            }
            #expect(try client.request("GET", "/healthz").status == 200)
            #expect(try client.request("GET", "/v1/models").text == "{\"data\":[],\"object\":\"list\"}")
            #expect(try client.request("GET", "/state").text.contains("\"ready\":false"))
        }
    }

    @Test func pagesOfVideos() async throws {
        try await TestService.run { service in
            let ids = try (0..<5).map { try service.create("fox \($0)") }
            func page(_ query: String) throws -> String {
                try service.connect().request("GET", "/v1/videos?\(query)").text
            }
            let newest = try page("limit=2")
            #expect(newest.contains("\"first_id\":\"\(ids[4])\"") && newest.contains("\"last_id\":\"\(ids[3])\""))
            #expect(newest.contains("\"has_more\":true"))
            let rest = try page("limit=10&order=asc&after=\(ids[2])")
            #expect(rest.contains("\"first_id\":\"\(ids[3])\"") && rest.contains("\"has_more\":false"))
            for (query, field) in [
                ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"),
            ] {
                let answer = try service.connect().request("GET", "/v1/videos?\(query)")
                #expect(answer.status == 400 && answer.text.contains("\"param\":\"\(field)\""))
            }
            #expect(try service.connect().request("GET", "/v1/videos?after=video_none").status == 404)
        }
    }

    @Test func theSameKeyMakesOneVideo() async throws {
        try await TestService.run { service in
            func post(_ prompt: String) throws -> RawClient.Answer {
                try service.connect().request(
                    "POST", "/v1/videos", headers: [("Content-Type", "application/json"), ("Idempotency-Key", "k1")],
                    body: Array("{\"prompt\":\"\(prompt)\"}".utf8))
            }
            let first = try post("a fox").string("id")
            #expect(try post("a fox").string("id") == first)
            #expect(try post("a hen").status == 409)
        }
    }

    @Test func contentInEveryFormat() async throws {
        try await TestService.run { service in
            let id = try service.create()
            #expect(try service.finish(id))
            let client = try service.connect()
            func fetch(_ query: String) throws -> RawClient.Answer {
                try client.request("GET", "/v1/videos/\(id)/content\(query)")
            }
            for (query, type, magic) in [
                ("", "video/mp4", "ftyp"), ("?variant=video&format=avi", "video/x-msvideo", "RIFF"),
                ("?format=y4m", "video/x-yuv4mpeg", "YUV4MPEG2"), ("?variant=thumbnail", "image/jpeg", "JFIF"),
                ("?variant=spritesheet&format=jpg", "image/jpeg", "JFIF"),
            ] {
                let answer = try fetch(query)
                #expect(answer.status == 200 && answer.headers["content-type"] == type, "\(query)")
                #expect(RawClient.find(magic, in: Array(answer.body.prefix(20))) != nil, "\(query)")
            }
            #expect(try fetch("?format=webm").text.contains("\"param\":\"format\""))
            #expect(try fetch("?variant=thumbnail&format=mp4").status == 400)
            #expect(try fetch("?variant=poster").text.contains("\"param\":\"variant\""))
        }
    }

    @Test func contentBeforeTheEndIsAConflict() async throws {
        let generator = FakeGenerator(.init(isHeld: true))
        try await TestService.run(generator: generator) { service in
            let id = try service.create()
            #expect(try service.connect().request("GET", "/v1/videos/\(id)/content").status == 409)
            #expect(try service.connect().request("GET", "/v1/videos/\(id)/preview.jpg").status == 409)
            generator.release()
        }
    }

    @Test func modelsCapabilitiesAndMetrics() async throws {
        try await TestService.run { service in
            let client = try service.connect()
            #expect(try client.request("GET", "/v1/models").text.contains("\"id\":\"fake\""))
            let capabilities = try client.request("GET", "/v1/capabilities").text
            #expect(capabilities.contains("\"sizes\":[\"64x64\"]") && capabilities.contains("\"maximum\":2.125"))
            #expect(try client.request("GET", "/readyz").status == 200)
            let id = try service.create()
            #expect(try service.finish(id))
            let metrics = try client.request("GET", "/metrics").text
            #expect(metrics.contains("filoscope_jobs_total{status=\"completed\"} 1\n"))
            #expect(metrics.contains("filoscope_ready 1\n"))
            for line in metrics.split(separator: "\n") where !line.hasPrefix("#") {
                #expect(
                    line.split(separator: " ").count == 2 && Double(line.split(separator: " ")[1]) != nil, "\(line)")
            }
        }
    }
}
