import Jobs
import Testing

@testable import Service

/// What happens where as many connections are open as may be.
@Suite struct ConnectionTests {
    private func options(_ count: Int, ofOneUser: Int) -> ServiceOptions {
        var options = ServiceOptions.patient
        (options.connections, options.connectionsPerPeer) = (count, ofOneUser)
        return options
    }

    @Test(arguments: [(2, 64), (64, 2)])
    func restingConnectionsMakeRoom(count: Int, ofOneUser: Int) async throws {
        try await TestService.run(options: options(count, ofOneUser: ofOneUser)) { service in
            let oldest = try service.connect()
            let older = try service.connect()
            for (client, resting) in [(oldest, 1), (older, 2), (oldest, 2)] {
                #expect(try client.request("GET", "/v1/models").status == 200)
                #expect(service.settles { service.service.restingConnectionCount == resting })
            }
            // `older` has rested longest by now.
            let late = try service.connect()
            #expect(try late.request("GET", "/v1/models").status == 200)
            #expect(try older.more().isEmpty, "it was closed")
            #expect(try oldest.request("GET", "/v1/models").status == 200)
        }
    }

    @Test(arguments: [(2, 64), (64, 2)])
    func workingConnectionsDoNot(count: Int, ofOneUser: Int) async throws {
        try await TestService.run(options: options(count, ofOneUser: ofOneUser)) { service in
            let silent = try service.connect()
            let speaking = try service.connect()
            speaking.send("GET /v1/models HTTP/1.1\r\n")
            let refused = try service.connect().answer()
            #expect(refused.status == 503 && refused.headers["retry-after"] == "5")
            #expect(refused.text.contains("all 2 connections are in use"), "\(refused.text)")
            // Whoever was there first is served all the same.
            speaking.send("Host: test\r\n\r\n")
            #expect(try speaking.answer().status == 200)
            #expect(try silent.request("GET", "/v1/models").status == 200)
        }
    }
}
