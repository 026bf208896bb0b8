import Testing

@testable import Host

@Suite struct ConfigurationTests {
    private func load(
        flags: Configuration.Flags = .init(), environment: [String: String] = [:], file: String? = nil
    ) throws -> Configuration {
        var environment = environment
        if file != nil { environment["FILOSCOPE_CONFIG"] = "/etc/filoscope.json5" }
        return try Configuration.load(flags: flags, environment: environment) { _ in Array((file ?? "").utf8) }
    }

    private func failure(
        flags: Configuration.Flags = .init(), environment: [String: String] = [:], file: String? = nil
    ) -> String {
        do {
            _ = try load(flags: flags, environment: environment, file: file)
            return "no error"
        } catch {
            return "\(error)"
        }
    }

    @Test func flagsBeforeEnvironmentBeforeFileBeforeDefaults() throws {
        let file = "{ listen: '/file', state: '/file', models: '/file', threads: 3, /* JSON5 */ }"
        #expect(try load() == Configuration())
        let fromFile = try load(file: file)
        #expect(fromFile.listen == "/file" && fromFile.state == "/file" && fromFile.threads == 3)

        let environment = ["FILOSCOPE_LISTEN": "/env", "FILOSCOPE_STATE": "/env", "FILOSCOPE_THREADS": "5"]
        let fromEnvironment = try load(environment: environment, file: file)
        #expect(fromEnvironment.listen == "/env" && fromEnvironment.state == "/env")
        #expect(fromEnvironment.models == "/file" && fromEnvironment.threads == 5)

        var flags = Configuration.Flags()
        flags.listen = "/flag"
        flags.threads = 7
        let fromFlags = try load(flags: flags, environment: environment, file: file)
        #expect(fromFlags.listen == "/flag" && fromFlags.threads == 7)
        #expect(fromFlags.state == "/env" && fromFlags.models == "/file")
    }

    @Test func cpusAreAList() throws {
        #expect(try load(file: "{ cpus: '4-7' }").cpus == [4, 5, 6, 7])
        #expect(try load(environment: ["FILOSCOPE_CPUS": "0,2,1-2"], file: "{ cpus: '9' }").cpus == [0, 1, 2])
        var flags = Configuration.Flags()
        flags.cpus = "3"
        #expect(try load(flags: flags, environment: ["FILOSCOPE_CPUS": "0"]).cpus == [3])
        for wrong in ["", ",", "1,", "a", "-1", "3-1", "0-1024", "1--2", "99999999999999999999", "0x1"] {
            flags.cpus = wrong
            #expect(failure(flags: flags).hasPrefix("--cpus: "), "\(wrong)")
        }
        #expect(failure(file: "{ cpus: [1] }").contains("cpus has the wrong type"))
    }

    @Test func theFlagForTheFileComesBeforeTheEnvironments() throws {
        var flags = Configuration.Flags()
        flags.config = "/flag.json5"
        var asked: [String] = []
        _ = try Configuration.load(flags: flags, environment: ["FILOSCOPE_CONFIG": "/env.json5"]) { path in
            asked.append(path)
            return Array("{}".utf8)
        }
        #expect(asked == ["/flag.json5"])
    }

    @Test func systemdsStateFolderIsTheDefaultOnly() throws {
        #expect(try load(environment: ["STATE_DIRECTORY": "/var/lib/x:/var/lib/y"]).state == "/var/lib/x")
        #expect(try load(environment: ["STATE_DIRECTORY": "/var/lib/x", "FILOSCOPE_STATE": "/mine"]).state == "/mine")
    }

    @Test func limitsAreReadAndBounded() throws {
        let limits = try load(file: "{limits: {queue_length: 4, store_bytes: 1048576, retention_seconds: 3600}}").limits
        #expect(limits.queueLength == 4 && limits.storeBytes == 1 << 20 && limits.retentionSeconds == 3600)
        #expect(failure(file: "{limits: {queue_length: 0}}").contains("limits.queue_length: 0 is not in 1...10000"))
        #expect(failure(file: "{threads: 100000}").contains("threads: 100000"))
        let connections = try load(file: "{limits: {connections: 900, connections_per_user: 800}}").limits
        #expect(connections.connections == 900 && connections.connectionsPerUser == 800)
        #expect(failure(file: "{limits: {connections_per_user: 5000}}").contains("limits.connections_per_user: 5000"))
    }

    @Test func devicesAreWholePathsAndNoneByDefault() throws {
        #expect(try load().cameraDevice == nil && load().videoDevice == nil)
        let both = try load(file: "{video_device: '/dev/video9', camera_device: '/dev/video0'}")
        #expect(both.videoDevice == "/dev/video9" && both.cameraDevice == "/dev/video0")
        var flags = Configuration.Flags()
        let environment = ["FILOSCOPE_CAMERA_DEVICE": "/dev/video1"]
        #expect(try load(environment: environment, file: "{camera_device: '/f'}").cameraDevice == "/dev/video1")
        flags.cameraDevice = "/dev/video2"
        #expect(try load(flags: flags, environment: environment).cameraDevice == "/dev/video2")
        #expect(try !load(file: "{}").videoDeviceLoops && load(file: "{video_device_loop: true}").videoDeviceLoops)
        let off = ["FILOSCOPE_VIDEO_DEVICE_LOOP": "false"]
        #expect(try !load(environment: off, file: "{video_device_loop: true}").videoDeviceLoops)
        flags.videoDeviceLoop = true
        #expect(try load(flags: flags, environment: off).videoDeviceLoops)
        #expect(
            failure(environment: ["FILOSCOPE_VIDEO_DEVICE_LOOP": "1"]).hasPrefix("FILOSCOPE_VIDEO_DEVICE_LOOP: '1'"))
        #expect(failure(file: "{video_device: 'video9'}").hasPrefix("video_device: 'video9'"))
        #expect(failure(file: "{camera_device: 'video0'}").hasPrefix("camera_device: 'video0'"))
        #expect(failure(file: "{camera_device: true}").contains("camera_device has the wrong type"))
    }

    @Test func theKioskIsReadAndBounded() throws {
        let kiosk = try load(
            environment: ["FILOSCOPE_KIOSK": "/k"],
            file: "{kiosk: {listen: '/file', title: 'T', prompts: ['a', 'b'], idle_seconds: 5}}"
        ).kiosk
        #expect(kiosk.listen == "/k" && kiosk.title == "T" && kiosk.prompts == ["a", "b"] && kiosk.idleSeconds == 5)
        #expect(try load(file: "{}").kiosk == Configuration.Kiosk())
        #expect(failure(file: "{kiosk: {prompts: ['a', '']}}").contains("kiosk.prompts[1]"))
        #expect(failure(file: "{kiosk: {idle_seconds: 4}}").contains("kiosk.idle_seconds: 4"))
        #expect(failure(file: "{kiosk: {idle: 4}}").contains("'kiosk.idle'"))
        let many = String(repeating: "'a',", count: 101)
        #expect(failure(file: "{kiosk: {prompts: [\(many)]}}").contains("kiosk.prompts: more than 100"))
    }

    @Test func errorsNameTheSetting() {
        #expect(failure(file: "{lisen: '/x'}").contains("'lisen'"))
        #expect(failure(file: "{limits: {queue: 3}}").contains("'limits.queue'"))
        #expect(failure(file: "{threads: 'two'}").contains("threads has the wrong type"))
        #expect(failure(file: "{threads: ").contains("not JSON5"))
        #expect(failure(file: "[]").contains("wrong type"))
        #expect(failure(environment: ["FILOSCOPE_THREADS": "two"]).contains("FILOSCOPE_THREADS: 'two'"))
        #expect(failure(file: "{threads: 1.5}").contains("a number that is not a whole one"))
        var flags = Configuration.Flags()
        flags.threads = 0
        #expect(failure(flags: flags).contains("--threads: 0"))
    }

    @Test func aFileThatCannotBeReadIsNamed() {
        struct Missing: Error, CustomStringConvertible { var description: String { "no such file" } }
        var flags = Configuration.Flags()
        flags.config = "/nowhere"
        #expect(throws: ConfigurationError("/nowhere: no such file")) {
            try Configuration.load(flags: flags, environment: [:]) { _ in throw Missing() }
        }
    }
}
