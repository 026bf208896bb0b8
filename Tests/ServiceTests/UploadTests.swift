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

    @Test func anMP4IsEditedOrRefusedByName() async throws {
        let frames = (0..<17).map { number in
            Frame(size: Self.picture.size, pixels: Self.picture.pixels.map { $0 / 2 + UInt8(number) * 5 })
        }
        let whole = try MediaFormat.mp4.encode(frames, fps: 8)
        let expected = try UploadedVideo(whole).frames(at: 8, size: FakeGenerator.size)
        func renamed(_ name: String, _ other: String) throws -> [UInt8] {
            var bytes = whole
            let place = try #require(bytes.indices.first { bytes[$0...].starts(with: name.utf8) })
            bytes.replaceSubrange(place..<place + 4, with: other.utf8)
            return bytes
        }
        let cases: [([UInt8], Int, String, String)] = [
            (try renamed("avc1mp41", "avc1"), 200, "", ""),
            (Array(whole.dropLast()), 400, "invalid_video", "mdat"),
            (Array(whole[..<300]), 400, "invalid_video", "moov"),
            (try renamed("vide", "text"), 400, "invalid_video", "no video track"),
            (try renamed("stsz", "stz2"), 415, "unsupported_media_type", "stz2"),
            (try renamed("avc1\0\0", "hvc1"), 415, "unsupported_media_type", "an MP4 of H.264, an AVI of Motion JPEG"),
            (try MediaFormat.mp4.encode(frames + frames, fps: 8), 413, "upload_too_large", "34 frames"),
            (try MediaFormat.mp4.encode(frames + frames, fps: 16), 200, "", ""),
        ]
        try await TestService.run { service in
            for (number, (bytes, status, code, words)) in cases.enumerated() {
                let form = Self.form([
                    (head: "name=\"prompt\"", content: Array("a fox".utf8)),
                    (head: "name=\"video\"; filename=\"a.mp4\"", content: bytes),
                ])
                let answer = try service.connect().request(
                    "POST", "/v1/videos/edits", headers: [("Content-Type", "multipart/form-data; boundary=x")],
                    body: form)
                #expect(answer.status == status, "\(number): \(answer.text)")
                if status == 200 {
                    #expect(try service.finish(answer.string("id")))
                } else {
                    #expect(answer.text.contains("\"param\":\"video\""), "\(answer.text)")
                    #expect(answer.text.contains("\"code\":\"\(code)\""), "\(answer.text)")
                    #expect(answer.text.contains(words), "\(answer.text)")
                }
            }
            let materials = service.generator.behaviour.withLock { $0.materials }
            #expect(materials.count == 2 && materials.allSatisfy { $0.video.count == 17 })
            #expect(materials.first?.video == expected)
        }
    }

    @Test func manySlowUploadsDoNotFillTheMemory() async throws {
        var options = ServiceOptions.patient
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
