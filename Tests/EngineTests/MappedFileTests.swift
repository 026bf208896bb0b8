import CLinux
import Glibc
import Testing

@testable import Engine

func truncateFile(_ path: String, to byteCount: Int) -> Bool { truncate(path, byteCount) == 0 }

@Suite struct MappedFileTests {
    @Test func showsTheFile() throws {
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = try TemporaryFile(bytes)
        let map = try MappedFile(path: file.path)
        let count = map.byteCount
        #expect(count == bytes.count)
        #expect(Array(UnsafeRawBufferPointer(start: map.base, count: map.byteCount)) == bytes)
        map.prefetch(100..<9000)
        map.prefetch(0..<Int.max)
        let unchanged = map.isUnchanged
        #expect(unchanged)
    }

    @Test(arguments: [4 << 10, 16 << 10, 64 << 10]) func roundsToPages(of pageSize: Int) {
        #expect(MappedFile.pages(of: 0..<1, pageSize: pageSize) == 0..<pageSize)
        #expect(MappedFile.pages(of: 1..<pageSize, pageSize: pageSize) == 0..<pageSize)
        #expect(MappedFile.pages(of: pageSize..<pageSize + 1, pageSize: pageSize) == pageSize..<2 * pageSize)
        #expect(MappedFile.pages(of: pageSize - 1..<pageSize + 1, pageSize: pageSize) == 0..<2 * pageSize)
        #expect(MappedFile.pages(of: 5..<5, pageSize: pageSize).isEmpty)
        for start in stride(from: 0, to: 200_000, by: 7777) {
            let range = start..<start + 12_345
            let pages = MappedFile.pages(of: range, pageSize: pageSize)
            #expect(pages.lowerBound % pageSize == 0 && pages.upperBound % pageSize == 0)
            #expect(pages.lowerBound <= range.lowerBound && pages.upperBound >= range.upperBound)
            #expect(pages.count < range.count + 2 * pageSize)
        }
    }

    @Test func usesThePageSizeOfTheSystem() {
        #expect(MappedFile.pageSize == sysconf(Int32(_SC_PAGESIZE)))
    }

    /// A file that is cut while it is mapped ends the process with one line that names it.
    @Test(.enabled(if: startsItself, emulated)) func namesTheFileThatWentAway() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(CInt(CL_MAP_EXIT_STATUS)), observing: [\.standardErrorContent]
        ) {
            let path = "/tmp/filoscope-engine-cut-\(getpid()).safetensors"
            try makeFile(path, byteCount: 40_000)
            let map = try MappedFile(path: path)
            #expect(truncate(path, 0) == 0)
            unlink(path)
            _ = map.base.load(fromByteOffset: 20_000, as: UInt8.self)
        }
        let message = String(decoding: result.standardErrorContent, as: UTF8.self)
        let lines = message.split(separator: "\n").filter { $0.contains("model file") }
        try #require(lines.count == 1, "\(message)")
        #expect(lines[0].hasPrefix("<2>filoscoped: model file /tmp/filoscope-engine-cut-"))
        #expect(
            lines[0].hasSuffix(
                ".safetensors could not be read (I/O error or truncated) at offset 20000;"
                    + " the running job is kept and starts again"))
    }

    /// On a thread of the pool too, where other signals are blocked.
    @Test(.enabled(if: startsItself, emulated)) func namesTheFileFromTheComputeThreads() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(CInt(CL_MAP_EXIT_STATUS)), observing: [\.standardErrorContent]
        ) {
            let path = "/tmp/filoscope-engine-pool-\(getpid())"
            try makeFile(path, byteCount: 40_000)
            let map = try MappedFile(path: path)
            let base = map.base
            #expect(truncate(path, 0) == 0)
            unlink(path)
            let caller = pthread_self()
            let pool = ThreadPool(threads: 2)
            while true {
                pool.run(chunks: 64) { _ in
                    if pthread_self() != caller { _ = base.load(as: UInt8.self) }
                }
            }
        }
        #expect(String(decoding: result.standardErrorContent, as: UTF8.self).contains("at offset 0;"))
    }

    @Test(.enabled(if: startsItself, emulated)) func leavesOtherFaultsAlone() async throws {
        let result = try await #require(
            processExitsWith: .signal(SIGBUS), observing: [\.standardErrorContent]
        ) {
            var limit = rlimit(rlim_cur: 0, rlim_max: 0)
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
            let path = "/tmp/filoscope-engine-other-\(getpid())"
            try makeFile(path, byteCount: 40_000)
            let registered = try MappedFile(path: path)
            let descriptor = open(path, O_RDONLY)
            let other = try #require(mmap(nil, registered.byteCount, PROT_READ, MAP_SHARED, descriptor, 0))
            #expect(truncate(path, 0) == 0)
            unlink(path)
            _ = other.load(fromByteOffset: 20_000, as: UInt8.self)
        }
        #expect(!String(decoding: result.standardErrorContent, as: UTF8.self).contains("model file"))
    }

    @Test(.enabled(if: startsItself, emulated)) func diesOfASignalThatWasSent() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            var limit = rlimit(rlim_cur: 0, rlim_max: 0)
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
            let path = "/tmp/filoscope-engine-sent-\(getpid())"
            try makeFile(path, byteCount: 4096)
            let map = try MappedFile(path: path)
            unlink(path)
            kill(getpid(), SIGBUS)
            sleep(5)
            let count = map.byteCount
            #expect(count == 4096)
        }
    }

    @Test(.enabled(if: startsItself, emulated)) func limitsTheNumberOfMaps() async {
        await #expect(processExitsWith: .success) {
            let path = "/tmp/filoscope-engine-many-\(getpid())"
            try makeFile(path, byteCount: 4096)
            var checkpoints: [Box] = []
            for _ in 0..<Int(CL_MAP_CAPACITY) { checkpoints.append(Box(try MappedFile(path: path))) }
            #expect(throws: MappedFileError.tooManyMaps(path: path, limit: 64)) { _ = Box(try MappedFile(path: path)) }
            checkpoints.removeLast()
            _ = Box(try MappedFile(path: path))
            unlink(path)
        }
    }

    @Test func readsPeerCredentials() {
        var pair: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { pair.forEach { close($0) } }
        var (pid, uid, gid) = (pid_t(), uid_t(), gid_t())
        #expect(cl_peer_credentials(pair[0], &pid, &uid, &gid) == 0)
        #expect(pid == getpid() && uid == geteuid() && gid == getegid())
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = cl_peer_groups(pair[0], &groups, 1024)
        #expect(count == getgroups(0, nil))
        #expect(cl_peer_credentials(-1, &pid, &uid, &gid) == -EBADF)
    }

    @Test func acceptsWithFlags() {
        let path = "/tmp/filoscope-engine-socket-\(getpid())"
        unlink(path)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                let length = socklen_t(MemoryLayout<sockaddr_un>.size)
                #expect(bind(listener, $0, length) == 0 && listen(listener, 1) == 0)
                #expect(connect(client, $0, length) == 0)
            }
        }
        unlink(path)
        let accepted = cl_accept(listener, 1)
        #expect(accepted >= 0)
        #expect(fcntl(accepted, F_GETFD) & FD_CLOEXEC != 0 && fcntl(accepted, F_GETFL) & O_NONBLOCK != 0)
        for descriptor in [accepted, client, listener] { close(descriptor) }
        #expect(cl_accept(-1, 0) == -EBADF)
    }

    @Test func readsAffinity() {
        var cpus = [Int32](repeating: -1, count: 1024)
        let count = cl_affinity(&cpus, 1024)
        #expect(count >= 1 && count == cl_affinity_count())
        #expect(cpus.prefix(Int(count)).allSatisfy { $0 >= 0 })
        #expect(Processors.available.count == Int(count))
        #expect(cl_set_affinity([-1], 1) == -EINVAL)
    }
}

/// Keeps a map alive in an array.
final class Box {
    let file: MappedFile
    init(_ file: consuming MappedFile) { self.file = file }
}

func makeFile(_ path: String, byteCount: Int) throws {
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    let bytes = [UInt8](repeating: 1, count: byteCount)
    try #require(write(descriptor, bytes, byteCount) == byteCount)
    close(descriptor)
}
