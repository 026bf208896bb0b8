import Camera
import Glibc
import Jobs
import Testing
import Threads
import Video

@testable import Service

/// Pictures that the machine's camera takes for a request.
@Suite struct CameraTests {
    /// Takes pictures as a test wants, and counts how often it was asked.
    private final class Lens: Sendable {
        struct State {
            var error: CameraError?
            var hangs = false
            var count = 0
            var order: PictureOrder?
        }
        let state = Locked(State())

        var count: Int { state.withLock { $0.count } }

        @Sendable func take(_ order: PictureOrder) throws(CameraError) -> [Frame] {
            let error = state.withLock { state in
                state.count += 1
                state.order = order
                return state.error
            }
            if let error { throw error }
            while state.withLock({ $0.hangs }) { usleep(1000) }
            // One that is to be brought to the video's size; sanitizers make that slow.
            return [UploadTests.picture] + Array(repeating: UploadTests.wanted, count: order.count - 1)
        }
    }

    private static let asked = #"{"prompt":"a fox","input_reference":"camera","consent":true}"#

    @Test func aPictureIsTakenForTheVideoWhichIsMarked() async throws {
        let lens = Lens()
        try await TestService.run(takePictures: lens.take) { service in
            let plain = try service.connect().post(#"{"prompt":"a fox"}"#)
            #expect(!plain.text.contains("\"camera\""))
            let form = UploadTests.form([
                ("name=\"prompt\"", Array("a fox".utf8)), ("name=\"input_reference\"", Array("camera".utf8)),
                ("name=\"consent\"", Array("true".utf8)),
            ])
            let answers = [
                try service.connect().post(Self.asked),
                try service.connect().request(
                    "POST", "/v1/videos", headers: [("Content-Type", "multipart/form-data; boundary=x")], body: form),
            ]
            for answer in answers {
                #expect(answer.status == 200 && answer.text.contains("\"camera\":true"), "\(answer.text)")
                #expect(try service.finish(answer.string("id")))
                let shown = try service.connect().request("GET", "/v1/videos/\(answer.string("id"))").text
                #expect(shown.contains("\"camera\":true"))
            }
            let material = VideoMaterial(pictures: [.first: UploadTests.wanted])
            #expect(service.generator.behaviour.withLock { $0.materials.suffix(2) } == [material, material])
            #expect(lens.count == 2)
            #expect(try service.connect().request("GET", "/v1/capabilities").text.contains("\"camera\":true"))
            // What is made from it shows whom it saw, and needs no other picture.
            let remix = try service.connect().request(
                "POST", "/v1/videos/\(answers[0].string("id"))/remix", headers: [("Content-Type", "application/json")],
                body: Array(#"{"prompt":"a dog"}"#.utf8))
            #expect(remix.status == 200 && remix.text.contains("\"camera\":true") && lens.count == 2)
        }
    }

    @Test func aClipIsTakenForAnEdit() async throws {
        let lens = Lens()
        try await TestService.run(takePictures: lens.take) { service in
            func ask(_ more: String, _ headers: [(String, String)] = []) throws -> RawClient.Answer {
                try service.connect().request(
                    "POST", "/v1/videos/edits", headers: [("Content-Type", "application/json")] + headers,
                    body: Array(#"{"prompt":"a fox","video":"camera"\#(more)}"#.utf8))
            }
            let wanted: [(String, Int)] = [("", 16), (#","seconds":"1""#, 8), (#","seconds":0.01"#, 1)]
            for (more, count) in wanted {
                let answer = try ask(more + #","consent":true"#)
                #expect(answer.status == 200 && answer.text.contains("\"camera\":true"), "\(answer.text)")
                #expect(try service.finish(answer.string("id")))
                #expect(
                    lens.state.withLock { $0.order } == PictureOrder(size: FakeGenerator.size, count: count, fps: 8))
                let material = VideoMaterial(video: Array(repeating: UploadTests.wanted, count: count))
                #expect(service.generator.behaviour.withLock { $0.materials.last } == material)
            }
            let key = [("Idempotency-Key", "a")]
            let first = try ask(#","consent":true"#, key)
            #expect(try ask(#","consent":true"#, key).string("id") == first.string("id") && lens.count == 4)
            #expect(try ask(#","consent":true,"seconds":1"#, key).status == 409)
            for (more, status, field) in [
                ("", 400, "consent"), (#","consent":true,"seconds":11"#, 400, "seconds"),
                (#","consent":true,"size":"9x9""#, 422, "size"),
            ] {
                let answer = try ask(more)
                #expect(answer.status == status && answer.text.contains("\"param\":\"\(field)\""), "\(answer.text)")
            }
            #expect(lens.count == 4)
            lens.state.withLock { $0.error = .gone("/dev/video0") }
            let answer = try ask(#","consent":true"#)
            #expect(answer.status == 503 && answer.text.contains("\"param\":\"video\""), "\(answer.text)")
            // Neither means anything without the camera.
            for more in [#","consent":true"#, #","seconds":1"#] {
                let other = try service.connect().request(
                    "POST", "/v1/videos/edits", headers: [("Content-Type", "application/json")],
                    body: Array(#"{"prompt":"a","video":"\#(first.string("id"))"\#(more)}"#.utf8))
                #expect(other.status == 400 && other.text.contains("left out"), "\(other.text)")
            }
        }
    }

    @Test(arguments: ["", #","consent":false"#, #","consent":null"#, #","consent":"yes""#, #","consent":1"#])
    func nothingIsTakenWithoutConsent(_ consent: String) async throws {
        let lens = Lens()
        try await TestService.run(takePictures: lens.take) { service in
            let answer = try service.connect().post(#"{"prompt":"a fox","input_reference":"camera"\#(consent)}"#)
            #expect(answer.status == 400 && answer.text.contains("\"param\":\"consent\""), "\(answer.text)")
            #expect(lens.count == 0)
        }
    }

    @Test func consentIsForTheCameraAlone() async throws {
        try await TestService.run(takePictures: Lens().take) { service in
            let answer = try service.connect().post(#"{"prompt":"a fox","consent":true}"#)
            #expect(answer.status == 400 && answer.text.contains("\"param\":\"consent\""))
            for field in ["end_reference", "mask"] {
                let other = try service.connect().post(#"{"prompt":"a fox","\#(field)":"camera","consent":true}"#)
                #expect(other.status == 400)
            }
        }
    }

    @Test func whereNoneIsAllowed() async throws {
        try await TestService.run { service in
            let answer = try service.connect().post(Self.asked)
            #expect(answer.status == 403 && answer.text.contains("\"code\":\"camera_not_allowed\""), "\(answer.text)")
            #expect(answer.text.contains("\"param\":\"input_reference\""))
            #expect(try service.connect().request("GET", "/v1/capabilities").text.contains("\"camera\":false"))
            #expect(try service.connect().request("GET", "/v1/videos").text.contains("\"data\":[]"))
        }
    }

    @Test func theKioskHasNone() async throws {
        let lens = Lens()
        try await TestService.run(takePictures: lens.take) { service in
            func ask(_ method: String, _ path: String, _ body: String?) throws -> RawClient.Answer {
                try service.connectToKiosk().request(
                    method, path, headers: [("Content-Type", "application/json")], body: body.map { Array($0.utf8) },
                    host: "localhost")
            }
            #expect(try ask("GET", "/v1/capabilities", nil).text.contains("\"camera\":false"))
            let refused = try ask("POST", "/v1/videos", Self.asked)
            #expect(refused.status == 403 && refused.text.contains("consent"), "\(refused.text)")
            #expect(lens.count == 0)
        }
    }

    @Test(arguments: [
        CameraError.gone("/dev/video0"), .busy("/dev/video0"), .denied("/dev/video0"),
        .unsuitable("/dev/video0", reason: "it is not a camera"), .stalled("/dev/video0", milliseconds: 5000),
        .failed("/dev/video0", call: "mmap", reason: "no memory"),
    ])
    func aCameraThatGivesNone(_ error: CameraError) async throws {
        let lens = Lens()
        lens.state.withLock { $0.error = error }
        try await TestService.run(takePictures: lens.take) { service in
            let answer = try service.connect().post(Self.asked)
            #expect(answer.status == 503 && answer.headers["retry-after"] != nil, "\(answer.text)")
            #expect(answer.text.contains("\"code\":\"camera_unavailable\"") && answer.text.contains("\(error)"))
            #expect(try service.connect().request("GET", "/v1/videos").text.contains("\"data\":[]"))
            // It is back.
            lens.state.withLock { $0.error = nil }
            #expect(try service.connect().post(Self.asked).status == 200)
        }
    }

    @Test func aDriverThatHangsHoldsUpNobodyElse() async throws {
        let lens = Lens()
        lens.state.withLock { $0.hangs = true }
        var options = ServiceOptions.patient
        options.cameraMilliseconds = 500
        try await TestService.run(options: options, takePictures: lens.take) { service in
            let first = try service.connect()
            first.send(
                "POST /v1/videos HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: \(Self.asked.utf8.count)"
                    + "\r\n\r\n" + Self.asked)
            #expect(service.settles { lens.count == 1 })
            // Others are served meanwhile, but for the camera.
            #expect(try service.finish(service.create()))
            let second = try service.connect().post(Self.asked)
            #expect(second.status == 503 && second.headers["retry-after"] != nil && lens.count == 1)
            let answer = try first.answer()
            #expect(answer.status == 503 && answer.text.contains("has not answered for 500 ms"), "\(answer.text)")
            #expect(try service.connect().post(Self.asked).status == 503 && lens.count == 1)
            lens.state.withLock { $0.hangs = false }
            #expect(try service.settles { try service.connect().post(Self.asked).status == 200 })
            #expect(lens.count >= 2)
        }
    }

    @Test func nothingIsTakenForWhatIsRefusedOrThereAlready() async throws {
        let lens = Lens()
        var limits = JobLimits()
        limits.queueLength = 1
        let generator = FakeGenerator()
        generator.behaviour.withLock { $0.isHeld = true }
        try await TestService.run(generator: generator, limits: limits, takePictures: lens.take) { service in
            func ask(_ key: String, _ more: String = "") throws -> RawClient.Answer {
                let body = #"{"prompt":"a fox","input_reference":"camera","consent":true\#(more)}"#
                return try service.connect().request(
                    "POST", "/v1/videos", headers: [("Content-Type", "application/json"), ("Idempotency-Key", key)],
                    body: Array(body.utf8))
            }
            let first = try ask("a")
            #expect(first.status == 200 && lens.count == 1)
            #expect(try ask("a").string("id") == first.string("id"))
            #expect(try ask("a", #","seed":3"#).status == 409)
            #expect(try ask("b", #","size":"128x128""#).status == 422)
            #expect(try service.settles { try service.status(first.string("id")) == "in_progress" })
            _ = try service.create()
            #expect(try ask("c").status == 429)
            #expect(lens.count == 1)
        }
    }
}
