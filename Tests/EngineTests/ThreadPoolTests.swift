import Glibc
import Synchronization
import Testing
import Threads

@testable import Engine

@Suite struct ThreadPoolTests {
    @Test(arguments: 1...8) func runsEveryChunkOnce(threads: Int) {
        let pool = ThreadPool(threads: threads)
        #expect(pool.threads == threads)
        var generator = SeededGenerator(seed: UInt64(threads))
        let hits = UnsafeMutablePointer<Int>.allocate(capacity: 200)
        defer { hits.deallocate() }
        var total = 0
        for epoch in 0..<250 {
            let chunks = epoch % 7 == 0 ? threads : Int.random(in: 0...200, using: &generator)
            hits.update(repeating: 0, count: 200)
            // Plain memory, written by whoever has the chunk and read after the run: the sanitizer checks the hand-over.
            pool.run(chunks: chunks) { hits[$0] += 1 }
            #expect((0..<200).allSatisfy { hits[$0] == ($0 < chunks ? 1 : 0) })
            total += chunks
        }
        #expect(pool.progress == UInt64(total))
    }

    @Test func runsMoreChunksThanAClaimCounts() {
        let pool = ThreadPool(threads: 3)
        for chunks in [65_534, 65_535, 65_536, 65_537, 200_001] {
            let hits = UnsafeMutablePointer<UInt8>.allocate(capacity: chunks)
            defer { hits.deallocate() }
            hits.update(repeating: 0, count: chunks)
            pool.run(chunks: chunks) { hits[$0] += 1 }
            #expect((0..<chunks).allSatisfy { hits[$0] == 1 })
        }
    }

    /// The watchdog sees work advance inside a long run, with one thread too.
    @Test(arguments: [1, 2]) func progressesWithinARun(threads: Int) {
        let pool = ThreadPool(threads: threads)
        let least = Atomic<UInt64>(0)
        pool.run(chunks: 20) { chunk in
            usleep(200)
            if chunk == 19 { least.store(pool.progress, ordering: .relaxed) }
        }
        #expect((UInt64(20 - threads)..<20).contains(least.load(ordering: .relaxed)))
        #expect(pool.progress == 20)
    }

    /// Workers that went to sleep between runs are woken for each.
    @Test func wakesSleepers() {
        let pool = ThreadPool(threads: 4)
        let sum = Atomic<Int>(0)
        for _ in 0..<60 {
            usleep(1000)
            pool.run(chunks: 16) { chunk in
                usleep(50)
                sum.wrappingAdd(chunk, ordering: .relaxed)
            }
        }
        #expect(sum.load(ordering: .relaxed) == 60 * 120)
    }

    @Test func sharesTheWork() {
        let pool = ThreadPool(threads: 4)
        // A place for each chunk: no lock, so that the pool alone keeps the threads apart.
        let places = UnsafeMutablePointer<pthread_t>.allocate(capacity: 64)
        defer { places.deallocate() }
        var seen: Set<pthread_t> = []
        for _ in 0..<20 where seen.count < 4 {
            pool.run(chunks: 64) { chunk in
                (places + chunk).initialize(to: pthread_self())
                usleep(1000)
            }
            seen.formUnion(UnsafeBufferPointer(start: places, count: 64))
        }
        #expect(seen.count == 4)
    }

    @Test func takesRunsOfSeveralThreadsInTurn() async {
        let pool = ThreadPool(threads: 3)
        let sum = Atomic<Int>(0)
        let threads = (0..<3).map { _ in
            startThread {
                for _ in 0..<100 { pool.run(chunks: 10) { sum.wrappingAdd($0, ordering: .relaxed) } }
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        #expect(sum.load(ordering: .relaxed) == 3 * 100 * 45)
    }

    @Test func startsAndStopsAtAnyMoment() {
        for round in 0..<100 {
            let pool = ThreadPool(threads: 1 + round % 4)
            if round % 2 == 0 { pool.run(chunks: round) { _ in } }
        }
    }

    /// A watched, idle process: the workers do not run at all.
    @Test(.enabled(if: startsItself, emulated)) func sleepsWhileIdle() async {
        await #expect(processExitsWith: .success) {
            let pool = ThreadPool(threads: 4)
            pool.run(chunks: 100) { _ in usleep(10) }
            usleep(200_000)
            let before = try contextSwitches(ofThreads: "compute")
            try #require(before.count == 3)
            usleep(400_000)
            #expect(try contextSwitches(ofThreads: "compute") == before)
            #expect(pool.progress == 100)
        }
    }
}

/// Voluntary and involuntary switches of every thread with this name, from /proc.
func contextSwitches(ofThreads name: String) throws -> [[String]] {
    let directory = try #require(opendir("/proc/self/task"))
    defer { closedir(directory) }
    var result: [[String]] = []
    while let entry = readdir(directory) {
        let task = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard Int(task) != nil, let status = readText("/proc/self/task/\(task)/status") else { continue }
        let lines = status.split(separator: "\n")
        guard lines.contains("Name:\t\(name)") else { continue }
        result.append([task] + lines.filter { $0.contains("ctxt_switches") }.map(String.init))
    }
    return result.sorted { $0[0] < $1[0] }
}

func readText(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = read(descriptor, &bytes, bytes.count)
    return count < 0 ? nil : String(decoding: bytes[0..<count], as: UTF8.self)
}

final class ThreadBody {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { context in
            Unmanaged<ThreadBody>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(ThreadBody(body)).toOpaque())
    return thread
}

@Suite struct ProcessorsTests {
    /// A board of four small CPUs and two big ones, as the kernel shows it.
    private func board() throws -> String {
        var template = Array("/tmp/filoscope-board-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        for (cpu, capacity) in [414, 414, 414, 414, 1024, 1024].enumerated() {
            mkdir("\(root)/cpu\(cpu)", 0o700)
            let file = try #require(fopen("\(root)/cpu\(cpu)/cpu_capacity", "w"))
            fputs("\(capacity)\n", file)
            fclose(file)
        }
        return root
    }

    @Test func fewThreadsGoToTheBigOnes() throws {
        let root = try board()
        let all = Array(0..<6)
        #expect(Processors.placement(threads: 2, wanted: nil, available: all, root: root) == [4, 5])
        #expect(Processors.placement(threads: 3, wanted: nil, available: all, root: root) == [0, 4, 5])
        #expect(Processors.placement(threads: 6, wanted: nil, available: all, root: root) == nil)
        #expect(Processors.placement(threads: 2, wanted: [1, 2], available: all, root: root) == [1, 2])
        #expect(Processors.placement(threads: 2, wanted: nil, available: [0, 1, 2], root: root) == nil)
    }

    @Test func theSlowestIsKnown() throws {
        let root = try board()
        #expect(Processors.slowest(of: Array(0..<6), root: root) == 414 * 6 / Double(414 * 4 + 1024 * 2))
        #expect(Processors.slowest(of: [4, 5], root: root) == 1)
        #expect(Processors.slowest(of: [0, 1], root: root) == 1)
        #expect(Processors.slowest(of: [], root: root) == 1)
        #expect(Processors.slowest(of: [0, 5], root: "/nonexistent") == 1)
    }

    @Test func withoutCapacitiesAllAreEqual() {
        #expect(Processors.placement(threads: 2, wanted: nil, available: [0, 1, 2], root: "/nonexistent") == nil)
        #expect(Processors.fastest(2, of: [3, 1, 2], root: "/nonexistent") == [1, 2])
    }

    @Test func threadsStayWhereTheyArePut() throws {
        let cpu = try #require(Processors.available.last)
        let pool = ThreadPool(threads: 3, cpus: [cpu])
        // A thread of its own, since the caller's place is changed.
        let seen = Locked<Set<Int>>([])
        let thread = Thread("placed") {
            pool.placeCaller()
            pool.run(chunks: 64) { _ in
                usleep(100)
                for cpu in Processors.available { seen.withLock { _ = $0.insert(cpu) } }
            }
        }
        try #require(thread).join()
        #expect(seen.withLock { $0 } == [cpu])
    }
}
