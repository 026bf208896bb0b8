import FoundationEssentials
import Jobs
import Media
import Testing
import Threads
import Video

@testable import Service

/// Pictures that come with a request, in every way a client may send them.
@Suite struct UploadTests {
    static let picture: Frame = {
        let size = Size(width: 80, height: 64)!
        return Frame(size: size, pixels: (0..<size.pixels * 3).map { UInt8(truncatingIfNeeded: $0 / 3 % 80 * 3) })
    }()
    static let wanted = picture.resampled(to: FakeGenerator.size)

    static func url(_ type: String, _ bytes: [UInt8]) -> String {
        "data:\(type);base64,\(Data(bytes).base64EncodedString())"
    }

    static func form(_ parts: [(head: String, content: [UInt8])]) -> [UInt8] {
        var body: [UInt8] = []
        for part in parts {
            body += Array("--x\r\nContent-Disposition: form-data; \(part.head)\r\n\r\n".utf8) + part.content + [13, 10]
        }
        return body + Array("--x--\r\n".utf8)
    }

    @Test func everyWayToSendAPicture() async throws {
        let png = try PNG.encode(Self.picture)
        let json = ("Content-Type", "application/json")
        let multipart = ("Content-Type", "multipart/form-data; boundary=x")
        let prompt = (head: "name=\"prompt\"", content: Array("a fox".utf8))
        let url = Self.url("image/png", png)
        let bodies: [((String, String), [UInt8])] = [
            (json, Array("{\"prompt\":\"a\",\"input_reference\":{\"image_url\":\"\(url)\"}}".utf8)),
            (json, Array("{\"prompt\":\"a\",\"input_reference\":\"\(url)\"}".utf8)),
            (
                multipart,
                Self.form([
                    prompt,
                    (
                        "name=\"input_reference\"; filename=\"a.png\"\r\nContent-Type: application/octet-stream", png
                    ),
                ])
            ),
            (multipart, Self.form([prompt, ("name=\"input_reference\"", png)])),
            (multipart, Self.form([prompt, ("name=\"input_reference[image_url]\"", Array(url.utf8))])),
        ]
        try await TestService.run { service in
            for (number, (header, body)) in bodies.enumerated() {
                let answer = try service.connect().request("POST", "/v1/videos", headers: [header], body: body)
                #expect(answer.status == 200, "\(number): \(answer.text)")
                #expect(try service.finish(answer.string("id")))
            }
            let material = VideoMaterial(pictures: [.first: Self.wanted])
            #expect(service.generator.behaviour.withLock { $0.materials } == bodies.map { _ in material })
        }
    }

    @Test func refusalsNameTheField() async throws {
        let png = try PNG.encode(Self.picture)
        let plain = try PNG.encode(
            Frame(
                size: #require(Size(width: 512, height: 512)), pixels: [UInt8](repeating: 0, count: 3 << 18)))
        let cases: [(String, Int, String, String)] = [
            ("\"https://example.org/a.png\"", 400, "invalid_value", "data: URL"),
            ("\"data:image/png;base64,***\"", 400, "invalid_value", "base64"),
            ("\"data:image/png,abc\"", 400, "invalid_value", "base64"),
            ("\"\"", 400, "invalid_value", "data: URL"),
            ("7", 400, "wrong_type", "an object with image_url"),
            ("[]", 400, "wrong_type", "an object with image_url"),
            ("{\"file_id\":\"f\"}", 400, "invalid_value", "image_url"),
            ("{\"image_url\":{\"url\":\"x\"}}", 400, "invalid_value", "image_url"),
            ("\"\(Self.url("image/gif", png))\"", 415, "unsupported_media_type", "a JPEG or a PNG"),
            ("\"\(Self.url("image/png", Array("GIF89a".utf8)))\"", 415, "unsupported_media_type", "a JPEG or a PNG"),
            ("\"\(Self.url("image/png", []))\"", 415, "unsupported_media_type", "a JPEG or a PNG"),
            ("\"\(Self.url("image/png", Array(png[..<60])))\"", 400, "invalid_image", "libpng"),
            ("\"\(Self.url("image/jpeg", [0xFF, 0xD8, 0xFF, 0xE0]))\"", 400, "invalid_image", "JPEG"),
        ]
        try await TestService.run { service in
            for (value, status, code, words) in cases {
                let answer = try service.connect().post("{\"prompt\":\"a\",\"input_reference\":\(value)}")
                #expect(answer.status == status, "\(value.prefix(60)): \(answer.text)")
                #expect(answer.text.contains("\"param\":\"input_reference\""), "\(answer.text)")
                #expect(answer.text.contains("\"code\":\"\(code)\"") && answer.text.contains(words), "\(answer.text)")
            }
            let answer = try service.connect().post(
                "{\"prompt\":\"a\",\"input_reference\":\"\(Self.url("image/png", plain))\"}")
            #expect(answer.status == 200, "\(answer.text)")
            let listed = try service.connect().request("GET", "/v1/videos").text
            #expect(listed.components(separatedBy: "\"object\":\"video\"").count == 2, "only the last was accepted")
        }
    }

    @Test func manySlowUploadsDoNotFillTheMemory() async throws {
        var options = ServiceOptions()
        options.allBodiesBytes = 1 << 20
        try await TestService.run(options: options) { service in
            let slow = try service.connect()
            slow.send(
                "POST /v1/videos HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n")
            slow.send([UInt8](repeating: 0x20, count: 1_100_000))
            let late = try service.connect()
            late.send(
                "POST /v1/videos HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n")
            late.send([UInt8](repeating: 0x20, count: 700_000))
            let answer = try late.answer()
            #expect(answer.status == 503 && answer.text.contains("too_many_uploads"))
            #expect(answer.headers["retry-after"] != nil)
            // Words find room all the same.
            #expect(try service.connect().post("{\"prompt\":\"a\"}").status == 200)
            // What is gone gives back what it held.
            slow.hangUp()
            #expect(
                try service.settles {
                    let again = try service.connect()
                    let body = Array("{\"prompt\":\"a\"}".utf8) + [UInt8](repeating: 0x20, count: 1_000_000)
                    return try again.request(
                        "POST", "/v1/videos", headers: [("Content-Type", "application/json")], body: body
                    ).status == 200
                })
        }
    }
}
