import Glibc
import Testing
import Threads

@testable import Host

@Suite struct JournalTests {
    @Test func fieldsAreNamedAsTheJournalWantsThem() {
        let entries = Journal.entries(
            .warning, "two\nlines", [("job", "video_1"), ("frames-sha256", "ab"), ("_hidden", "x"), ("__", "y")])
        let texts = entries.map { String(decoding: $0, as: UTF8.self) }
        #expect(
            texts == ["MESSAGE=two\nlines", "PRIORITY=4", "JOB=video_1", "FRAMES_SHA256=ab", "HIDDEN=x"])
    }

    @Test func aLineStaysOneLine() {
        #expect(Journal.line("a\nb", [("job", "c\r\nFAKE=1")]) == "a b job=c  FAKE=1")
    }

    @Test func onlyTheStreamThatSystemdNamedIsTheJournal() {
        var facts = stat()
        #expect(fstat(STDERR_FILENO, &facts) == 0)
        #expect(Journal.standardErrorIsJournal("\(facts.st_dev):\(facts.st_ino)"))
        #expect(!Journal.standardErrorIsJournal("\(facts.st_dev):\(facts.st_ino + 1)"))
        #expect(!Journal.standardErrorIsJournal("nonsense"))
        #expect(!Journal.standardErrorIsJournal(nil))
    }
}

@Suite struct MemoryFactsTests {
    @Test func readsKilobytes() {
        let facts = MemoryFacts.parse(
            meminfo: "MemTotal:       24684456 kB\nMemFree: 1 kB\nMemAvailable:   23000000 kB\n",
            status: "VmRSS:\t  100 kB\nRssAnon:\t    9216 kB\nRssFile:\t  2048 kB\n")
        #expect(
            facts
                == MemoryFacts(
                    available: 23_000_000 * 1024, total: 24_684_456 * 1024, privateResident: 9216 * 1024,
                    mappedResident: 2048 * 1024))
    }

    @Test func whatIsMissingOrHugeIsNil() {
        let facts = MemoryFacts.parse(meminfo: "MemTotal: 99999999999999999 kB\nMemAvailable:", status: "")
        #expect(facts == MemoryFacts())
    }

    @Test func thisProcessHasMemory() {
        let facts = MemoryFacts.now()
        #expect((facts.privateResident ?? 0) > 100_000)
        #expect((facts.available ?? 0) > 1_000_000)
    }
}

@Suite struct WatchdogTests {
    /// Signs of life counted over looks at a daemon that shows `observations` one after another, then hangs.
    private func signs(_ observations: [Watchdog.Observation?]) throws -> Int {
        struct Stuck: Error {}
        let shown = Monitor(0)
        let alive = Locked(0)
        let watchdog = Watchdog(
            interval: .milliseconds(3),
            observe: {
                var index = 0
                shown.change(wakeAll: true) { count in
                    index = count
                    count += 1
                }
                guard index < observations.count, let observation = observations[index] else { throw Stuck() }
                return observation
            }, alive: { alive.withLock { $0 += 1 } })
        let running = try #require(watchdog)
        defer { running.stop() }
        let seen: Bool? = shown.wait(atMost: .seconds(10)) { $0 > observations.count ? true : nil }
        try #require(seen == true)
        return alive.withLock { $0 }
    }

    @Test func idleIsAlive() throws { #expect(try signs([.idle, .idle, .idle]) == 3) }

    @Test func computingIsAliveOnlyWhileItAdvances() throws {
        let observations: [Watchdog.Observation?] = [
            .computing(workDone: 1), .computing(workDone: 2), .computing(workDone: 2), .computing(workDone: 2),
            .computing(workDone: 3), .idle,
        ]
        #expect(try signs(observations) == 4)
    }

    @Test func aFailedRoundTripIsNoSign() throws { #expect(try signs([.idle, nil, nil]) == 1) }
}

/// Changes the environment of the process, hence serialized and the only suite that does.
@Suite(.serialized) struct ServiceManagerTests {
    /// What arrives on a notification socket while `body` runs.
    private func notifications(_ body: () -> Void) throws -> [String] {
        let path = "/tmp/filoscope-notify-\(getpid())"
        unlink(path)
        let fd = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        try #require(fd >= 0)
        defer {
            close(fd)
            unlink(path)
            unsetenv("NOTIFY_SOCKET")
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        setenv("NOTIFY_SOCKET", path, 1)
        body()
        var received: [String] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(fd, &buffer, buffer.count, 0)
            guard count > 0 else { return received }
            received.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
    }

    @Test func tellsItsStates() throws {
        let received = try notifications {
            ServiceManager.ready(status: "listening")
            ServiceManager.status("job 1\nREADY=0")
            ServiceManager.aliveSign()
            ServiceManager.stopping(status: "stopping")
        }
        #expect(
            received == [
                "READY=1\nSTATUS=listening", "STATUS=job 1 READY=0", "WATCHDOG=1", "STOPPING=1\nSTATUS=stopping",
            ])
    }

    @Test func theWatchdogIsAskedFromTheEnvironment() {
        defer {
            unsetenv("WATCHDOG_USEC")
            unsetenv("WATCHDOG_PID")
        }
        #expect(ServiceManager.watchdogInterval() == nil)
        setenv("WATCHDOG_USEC", "30000000", 1)
        setenv("WATCHDOG_PID", "\(getpid())", 1)
        #expect(ServiceManager.watchdogInterval() == .seconds(30))
        setenv("WATCHDOG_PID", "1", 1)
        #expect(ServiceManager.watchdogInterval() == nil)
    }

    @Test func socketsAreTakenOnce() throws {
        // sd_listen_fds looks at descriptor 3 itself, so only the counting can be tried in a process that uses 3.
        setenv("LISTEN_PID", "1", 1)
        setenv("LISTEN_FDS", "1", 1)
        #expect(ServiceManager.handedOverSockets().isEmpty)
        unsetenv("LISTEN_PID")
        unsetenv("LISTEN_FDS")
        #expect(ServiceManager.handedOverSockets().isEmpty)
    }
}
