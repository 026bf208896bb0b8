import Glibc
import Testing

@testable import Service

/// Who asks is what the kernel says, so a second user is needed: only root can become one.
@Suite(.enabled(if: geteuid() == 0 && access("/usr/bin/perl", X_OK) == 0)) struct IdentityTests {
    private static let stranger = 65_534

    /// One request said by a process of another uid; what was answered.
    private func ask(_ service: TestService, _ request: String, administrator: Bool = false) throws -> String {
        let script = """
            use IO::Socket::UNIX;
            $) = "65534 $ARGV[2]"; $> = \(Self.stranger);
            my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!";
            print $s "$ARGV[1] HTTP/1.1\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\n";
            my $body = $ARGV[1] =~ /^POST/ ? '{"prompt":"theirs"}' : '';
            print $s "Content-Length: ", length($body), "\\r\\n\\r\\n$body"; $s->flush;
            open(my $out, ">", $ARGV[3]) or die; print $out $_ while <$s>;
            """
        let output = service.path + "-stranger"
        close(open(output, O_CREAT | O_TRUNC | O_WRONLY, 0o666))
        chmod(output, 0o666)
        let words = ["perl", "-e", script, service.path, request, administrator ? "4242" : "65534", output]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        guard posix_spawn(&child, "/usr/bin/perl", nil, nil, arguments, environ) == 0 else {
            throw RawClient.Failure("perl can't be started")
        }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        guard status == 0 else { throw RawClient.Failure("perl ended with \(status)") }
        return try String(contentsOfFile: output)
    }

    @Test func jobsBelongToAUser() async throws {
        try await TestService.run { service in
            service.openToEverybody()
            let mine = try service.create()
            let created = try ask(service, "POST /v1/videos")
            #expect(created.hasPrefix("HTTP/1.1 200"))
            #expect(try ask(service, "GET /v1/videos/\(mine)").hasPrefix("HTTP/1.1 404"))
            #expect(try ask(service, "DELETE /v1/videos/\(mine)").hasPrefix("HTTP/1.1 404"))
            #expect(try ask(service, "POST /v1/videos/\(mine)/remix").hasPrefix("HTTP/1.1 404"))
            #expect(try ask(service, "GET /v1/videos/\(mine)/preview.mjpeg").hasPrefix("HTTP/1.1 404"))
            let theirs = try ask(service, "GET /v1/videos")
            #expect(theirs.contains("theirs") && !theirs.contains(mine))
            // Root sees both.
            let all = try service.connect().request("GET", "/v1/videos").text
            #expect(all.contains("theirs") && all.contains(mine))
        }
    }

    @Test func nobodyIsAnAdministratorAtTheKiosk() async throws {
        try await TestService.run { service in
            service.openToEverybody()
            let theirs = try ask(service, "POST /v1/videos")
            #expect(theirs.hasPrefix("HTTP/1.1 200"))
            let mine = try service.create()
            // Root, who sees both on the other socket.
            let listed = try service.connectToKiosk().request("GET", "/v1/videos", host: "localhost").text
            #expect(listed.contains(mine) && !listed.contains("theirs"))
        }
    }

    @Test func membersOfTheAdministratorsGroupSeeAll() async throws {
        var options = ServiceOptions.patient
        options.administratorGroupID = 4242
        try await TestService.run(options: options) { service in
            service.openToEverybody()
            let mine = try service.create()
            #expect(try ask(service, "GET /v1/videos/\(mine)").hasPrefix("HTTP/1.1 404"))
            #expect(try ask(service, "GET /v1/videos/\(mine)", administrator: true).hasPrefix("HTTP/1.1 200"))
        }
    }
}

extension TestService {
    fileprivate func openToEverybody() {
        chmod(path, 0o666)
        chmod(String(path.dropLast(2)), 0o755)
    }
}

extension String {
    fileprivate init(contentsOfFile path: String) throws {
        guard let file = fopen(path, "r") else { throw RawClient.Failure("\(path): \(errno)") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        self.init(decoding: bytes[..<count], as: UTF8.self)
    }
}
