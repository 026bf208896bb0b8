import Testing

@testable import Service

@Suite struct KioskTests {
    private static let host = "localhost:8080"
    private static let json = ("Content-Type", "application/json")

    /// What a browser says of a request by the kiosk's own page.
    private static let own = [json, ("Origin", "http://localhost:8080"), ("Sec-Fetch-Site", "same-origin")]

    private static func post(
        _ service: TestService, _ body: String = "{\"prompt\":\"a fox\"}", headers: [(String, String)] = own,
        host: String = host
    ) throws -> RawClient.Answer {
        try service.connectToKiosk().request("POST", "/v1/videos", headers: headers, body: Array(body.utf8), host: host)
    }

    private static func get(
        _ service: TestService, _ path: String, headers: [(String, String)] = [], host: String = host
    ) throws -> RawClient.Answer {
        try service.connectToKiosk().request("GET", path, headers: headers, host: host)
    }

    @Test func aVisitorMakesAVideo() async throws {
        try await TestService.run { service throws in
            let page = try Self.get(service, "/")
            #expect(page.status == 200 && page.headers["content-type"] == "text/html; charset=utf-8")
            #expect(page.text.contains("<title>"))
            let policy = page.headers["content-security-policy"] ?? ""
            #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"))
            #expect(try Self.get(service, "/kiosk.js").headers["content-type"] == "text/javascript; charset=utf-8")
            #expect(try Self.get(service, "/kiosk.css").headers["content-type"] == "text/css; charset=utf-8")
            let settings = try Self.get(service, "/kiosk.json")
            #expect(settings.text == #"{"idle_seconds":60,"prompts":["a fox at night"],"title":"A test's"}"#)

            let created = try Self.post(service)
            #expect(created.status == 200)
            #expect(created.headers["cross-origin-resource-policy"] == "same-origin")
            let id = try created.string("id")
            #expect(try service.settles { try Self.get(service, "/v1/videos/\(id)").string("status") == "completed" })
            for part in ["content?format=mp4", "content?variant=thumbnail", "preview.jpg", "events", "preview.mjpeg"] {
                #expect(try Self.get(service, "/v1/videos/\(id)/\(part)").status == 200, "\(part)")
            }
            for path in ["/v1/videos", "/v1/capabilities", "/v1/models", "/healthz", "/readyz"] {
                #expect(try Self.get(service, path).status == 200, "\(path)")
            }
        }
    }

    /// The page asks nobody else: no address in it leads away.
    @Test func nothingComesFromOutside() {
        for bytes in [PackageResources.kiosk_html, PackageResources.kiosk_css, PackageResources.kiosk_js] {
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(!text.contains("//") || !text.contains("http"))
            #expect(!text.contains("@import") && !text.contains("url("))
        }
    }

    @Test(arguments: [
        "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "localhost:", "localhost:80a",
        "localhost:123456", "127.0.0.2", "[::1", "[::1]x", "", "filoscope",
    ])
    func namesThatAreNotLoopbackAreRefused(_ host: String) async throws {
        try await TestService.run { service throws in
            for path in ["/", "/v1/videos", "/kiosk.json"] {
                #expect(try Self.get(service, path, host: host).status == 403, "\(path)")
            }
            #expect(try Self.post(service, headers: [Self.json], host: host).status == 403)
            #expect(try service.connect().request("GET", "/v1/videos").text.contains("\"data\":[]"))
        }
    }

    @Test(arguments: ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:65535", "[::1]"])
    func loopbackNamesAreTaken(_ host: String) async throws {
        try await TestService.run { service throws in
            #expect(try Self.get(service, "/", host: host).status == 200)
            let headers = [Self.json, ("Origin", "http://\(host)")]
            #expect(try Self.post(service, headers: headers, host: host).status == 200)
        }
    }

    @Test func twoHostsAreRefused() async throws {
        try await TestService.run { service throws in
            #expect(try Self.get(service, "/", headers: [("Host", "localhost")]).status == 403)
        }
    }

    @Test(arguments: [
        [("Origin", "http://evil.example")], [("Origin", "null")], [("Origin", "https://localhost:8080")],
        [("Origin", "http://localhost:8081")], [("Origin", "http://localhost")],
        [("Sec-Fetch-Site", "cross-site")], [("Sec-Fetch-Site", "same-site")],
        [("Origin", "http://localhost:8080"), ("Origin", "http://evil.example")],
    ])
    func otherPagesAreRefused(_ headers: [(String, String)]) async throws {
        try await TestService.run { service throws in
            let refused = try Self.post(service, headers: [Self.json] + headers)
            #expect(refused.status == 403 && refused.text.contains("\"code\":\"forbidden\""))
            #expect(try Self.get(service, "/v1/videos", headers: headers).status == 403)
            #expect(try service.connect().request("GET", "/v1/videos").text.contains("\"data\":[]"))
        }
    }

    @Test func aLinkOpensThePageButNoFrameHoldsIt() async throws {
        try await TestService.run { service throws in
            func open(_ path: String, into destination: String) throws -> Int {
                try Self.get(
                    service, path,
                    headers: [
                        ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"),
                        ("Sec-Fetch-Dest", destination),
                    ]
                ).status
            }
            #expect(try open("/", into: "document") == 200)
            #expect(try open("/", into: "iframe") == 403)
            #expect(try open("/v1/videos", into: "document") == 403)
        }
    }

    /// A form of another page can send these without asking first.
    @Test(arguments: ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
    func bodiesThatFormsCanSendAreRefused(_ type: String) async throws {
        try await TestService.run { service throws in
            #expect(try Self.post(service, headers: [("Content-Type", type)]).status == 415)
        }
    }

    @Test(arguments: ["steps", "seconds", "guidance", "input_reference", "negative_prompt", "consent"])
    func whatCostsMoreThanTheDefaultIsRefused(_ field: String) async throws {
        try await TestService.run { service throws in
            let refused = try Self.post(service, "{\"prompt\":\"a fox\",\"\(field)\":1}")
            #expect(refused.status == 403 && refused.text.contains(field))
            #expect(try Self.post(service, "{\"prompt\":\"a fox\",\"seed\":1}").status == 200)
            #expect(try Self.post(service, "[]").status == 400)
        }
    }

    @Test func nothingIsDestroyedOrShownThatIsNotTheirs() async throws {
        try await TestService.run { service throws in
            let id = try service.create()
            #expect(try service.finish(id))
            for (method, path) in [
                ("DELETE", "/v1/videos/\(id)"), ("POST", "/v1/videos/\(id)/cancel"), ("POST", "/v1/videos/\(id)/remix"),
                ("POST", "/v1/videos/edits"), ("PUT", "/v1/videos/\(id)"), ("GET", "/metrics"), ("GET", "/state"),
                ("POST", "/v1/images/generations"), ("GET", "/v1"), ("GET", "/etc/passwd"),
            ] {
                let answer = try service.connectToKiosk().request(
                    method, path, headers: Self.own, body: method == "GET" ? nil : Array("{}".utf8), host: Self.host)
                #expect(answer.status == 403, "\(method) \(path): \(answer.status)")
            }
            for method in ["POST", "DELETE", "OPTIONS"] {
                let answer = try service.connectToKiosk().request(method, "/", headers: Self.own, host: Self.host)
                #expect(answer.status == 405 && answer.headers["access-control-allow-origin"] == nil)
            }
            #expect(try service.status(id) == "completed")
        }
    }

    @Test func tooMuchIsRefused() async throws {
        var options = ServiceOptions.patient
        options.bodyBytes = 1000
        try await TestService.run(options: options) { service throws in
            #expect(try Self.post(service, String(repeating: " ", count: 1001)).status == 413)
            #expect(try Self.get(service, "/", headers: [("X", String(repeating: "x", count: 17_000))]).status == 431)
        }
    }
}
