import Jobs
import NIOHTTP1
import Testing

@testable import Service

@Suite struct FramingTests {
    @Test func eventsAreFramedLineByLine() {
        let event = ServerSentEvent(id: 7, name: "video.progress", data: "{\"a\":1}\nb")
        #expect(
            String(decoding: event.bytes, as: UTF8.self) == "id: 7\nevent: video.progress\ndata: {\"a\":1}\ndata: b\n\n"
        )
    }

    @Test func partsCarryLengthTimeAndStep() {
        let part = MotionJPEG.part([0xFF, 0xD8, 0xFF, 0xD9], timestamp: 1_700_000_000.000_125, step: 3, steps: 8)
        let head =
            "--filoscope-frame\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n"
            + "X-Timestamp: 1700000000.000125\r\nX-Step: 3\r\nX-Steps: 8\r\n\r\n"
        #expect(part == Array(head.utf8) + [0xFF, 0xD8, 0xFF, 0xD9, 13, 10])
        #expect(String(decoding: MotionJPEG.end, as: UTF8.self) == "--filoscope-frame--\r\n")
    }

    @Test(arguments: [(17, 8, "2.125"), (8, 8, "1"), (5, 30, "0.167"), (16, 10, "1.6"), (601, 12, "50.083")])
    func secondsAreTheRealLength(_ frames: Int, _ fps: Int, _ text: String) {
        #expect(VideoObject.seconds(frames: frames, fps: fps) == text)
    }

    private func request(_ uri: String) throws -> Request {
        try Request(
            head: HTTPRequestHead(version: .http1_1, method: .GET, uri: uri), body: [],
            peer: Peer(uid: 1, isAdministrator: false))
    }

    @Test func targetsAreDecodedOnce() throws {
        let request = try request("/v1/videos/a%2Fb%2525?format=m%70+4&x&y=%3D=")
        #expect(request.path == ["v1", "videos", "a/b%25"])
        #expect(request.query == ["format": "mp 4", "x": "", "y": "=="])
    }

    @Test(arguments: ["videos", "*", "http://x/", "/a%", "/a%2", "/a%zz", "/a%00", "/a%ff", "/?a=%c3"])
    func strangeTargetsAreRefused(_ uri: String) {
        #expect(throws: ServiceError.self) { try request(uri) }
    }
}

@Suite struct ProblemTests {
    @Test func everyErrorHasItsStatus() {
        let table: [(any Error, Int, Int?)] = [
            (ServiceError.invalid(code: "c", field: "f", "m"), 400, nil), (ServiceError.notFound("m"), 404, nil),
            (ServiceError.methodNotAllowed(allowed: ["GET"]), 405, nil), (ServiceError.timeout(seconds: 1), 408, nil),
            (ServiceError.tooLarge(limit: 1), 413, nil), (ServiceError.unsupportedMediaType(accepted: "a"), 415, nil),
            (ServiceError.headersTooLarge(limit: 1), 431, nil), (ServiceError.notHTTP("m"), 400, nil),
            (ServiceError.tooManyConnections(limit: 1), 503, 5), (ServiceError.internalError("m"), 500, nil),
            (RequestError(.invalid, code: "c", field: "f", "m"), 400, nil),
            (RequestError(.unsupported, code: "c", field: "size", "m"), 422, nil),
            (RequestError(.unavailable, code: "c", field: nil, "m"), 503, 10), (JobError.notFound, 404, nil),
            (JobError.queueFull(retryAfter: 9), 429, 9), (JobError.quotaExceeded(retryAfter: 8), 429, 8),
            (JobError.wrongState(.queued, wanted: "completed"), 409, nil),
            (JobError.storageFull(freeBytes: 12), 507, nil), (JobError.storage("m"), 500, nil),
            (JobError.invalid(RequestError(.unsupported, code: "c", field: "size", "m")), 422, nil),
            (JobError.idempotencyConflict, 409, nil), (JobError.unavailable("m"), 503, 10), (JobError.stopping, 503, 5),
            (CancellationError(), 500, nil),
        ]
        for (error, status, retryAfter) in table {
            let problem = Problem(error)
            #expect(problem.status == status, "\(error)")
            #expect(problem.retryAfter == retryAfter, "\(error)")
        }
    }

    @Test func bothKindsOfClientCanReadIt() throws {
        let problem = Problem(
            JobError.invalid(RequestError(.unsupported, code: "unsupported_size", field: "size", "only 64x64")))
        guard case .bytes(let bytes) = problem.response.body else { throw RawClient.Failure("a stream") }
        let wanted =
            #"{"detail":"only 64x64","error":{"code":"unsupported_size","message":"only 64x64","param":"size","#
            + #""type":"invalid_request_error"},"status":422,"title":"Unprocessable Entity","#
            + #""type":"urn:filoscope:error:unsupported_size"}"#
        #expect(String(decoding: bytes, as: UTF8.self) == wanted)
        #expect(problem.response.headers["Content-Type"] == ["application/problem+json"])
    }

    @Test func waitsAndFreeSpaceAreNamed() {
        #expect(Problem(JobError.queueFull(retryAfter: 9)).response.headers["Retry-After"] == ["9"])
        #expect(Problem(JobError.storageFull(freeBytes: 12_345)).message.contains("12345 bytes"))
        #expect(
            Problem(ServiceError.methodNotAllowed(allowed: ["GET", "POST"])).response.headers["Allow"] == ["GET, POST"])
    }
}
