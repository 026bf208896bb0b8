internal import CLinux
import Glibc
import Synchronization
import Threads

/// Threads of our own that run numbered chunks of work; asleep, without any wake-up, while there is none.
///
/// The cooperative pool of Swift never runs kernels: a blocked or preempted task there stalls unrelated work.
public final class ThreadPool: Sendable {
    /// How many threads take part in a run, the caller included. Less than asked for when the system refused threads.
    public let threads: Int
    /// The speed of the slowest CPU they may run on, where 1 is the mean of these CPUs.
    let slowest: Double
    private let shared: PoolState
    private let workers: [Thread]
    private let cpus: [Int]?

    /// - Parameters:
    ///   - threads: the caller of `run` and `threads - 1` workers, 1...256.
    ///   - cpus: where the workers are kept; nil leaves it to the kernel. For the caller there is `placeCaller`.
    public init(threads: Int, cpus: [Int]? = nil) {
        precondition((1...256).contains(threads), "a pool of \(threads) threads; 1...256 can be asked for")
        let shared = PoolState()
        // Workers leave signals to the main thread; synchronous faults stay deliverable, or the map guard could not speak.
        var blocked = sigset_t()
        var previous = sigset_t()
        sigfillset(&blocked)
        for fault in [SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT] { sigdelset(&blocked, fault) }
        pthread_sigmask(SIG_BLOCK, &blocked, &previous)
        var workers: [Thread] = []
        for _ in 1..<max(threads, 1) {
            let started = Thread("compute", computes: true) {
                if let cpus { Processors.keepCaller(on: cpus) }
                shared.live()
            }
            guard let worker = started else { break }
            workers.append(worker)
        }
        pthread_sigmask(SIG_SETMASK, &previous, nil)
        self.shared = shared
        self.workers = workers
        self.cpus = cpus
        slowest = Processors.slowest(of: cpus ?? Processors.available)
        self.threads = workers.count + 1
    }

    deinit {
        shared.stop()
        for worker in workers { worker.join() }
    }

    /// Calls `body` once for each of `0 ..< chunks`, on several threads at once; returns when every call has returned.
    ///
    /// One run at a time: another thread's run waits. `body` must not call `run`.
    public func run(chunks: Int, _ body: (_ chunk: Int) -> Void) {
        shared.run(chunks: chunks, alone: threads == 1, body)
    }

    /// Keeps the calling thread, which is about to call `run`, where the workers are.
    public func placeCaller() {
        if let cpus { Processors.keepCaller(on: cpus) }
    }

    /// Chunks finished since the start: the watchdog reads it.
    public var progress: UInt64 { shared.finished.load(ordering: .relaxed) }
}

/// Which chunks of the current run are still to be claimed, in one word: epoch (32 bits), count (16), next (16).
/// The epoch makes a claim fail that was prepared during an earlier run.
struct Claims: Equatable {
    static let maximumCount = 0xFFFF

    var word: UInt64
    var epoch: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }
    var count: Int { Int((word >> 16) & 0xFFFF) }
    var next: Int { Int(word & 0xFFFF) }

    init(word: UInt64) { self.word = word }
    init(epoch: UInt32, count: Int) { word = UInt64(epoch) << 32 | UInt64(count) << 16 }
}

/// One run, on the caller's stack: read only by a thread that holds a claimed chunk, so it outlives every reader.
private struct PoolJob {
    var chunks: Int
    var chunksPerClaim: Int
    var body: (Int) -> Void
}

/// What the workers and the caller share. Unchecked: `job` is written between runs and read under a claim, the
/// pthread objects are made for sharing, everything else is atomic.
private final class PoolState: @unchecked Sendable {
    /// How long an idle thread looks for work before it sleeps: longer than the gap between two operations.
    private static let spinNanoseconds: UInt64 = 40_000

    private let claims = Atomic<UInt64>(0)
    private let unfinished = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let callerSleeps = Atomic<Bool>(false)
    private let stopping = Atomic<Bool>(false)
    let finished = Atomic<UInt64>(0)
    private let job = UnsafeMutablePointer<UnsafePointer<PoolJob>?>.allocate(capacity: 1)
    private let runLock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let work = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        job.initialize(to: nil)
        runLock.initialize(to: pthread_mutex_t())
        lock.initialize(to: pthread_mutex_t())
        work.initialize(to: pthread_cond_t())
        done.initialize(to: pthread_cond_t())
        pthread_mutex_init(runLock, nil)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(work, nil)
        pthread_cond_init(done, nil)
    }

    deinit {
        pthread_cond_destroy(done)
        pthread_cond_destroy(work)
        pthread_mutex_destroy(lock)
        pthread_mutex_destroy(runLock)
        done.deallocate()
        work.deallocate()
        lock.deallocate()
        runLock.deallocate()
        job.deallocate()
    }

    func run(chunks: Int, alone: Bool, _ body: (Int) -> Void) {
        guard chunks > 0 else { return }
        if alone || chunks == 1 {
            for chunk in 0..<chunks {
                body(chunk)
                finished.wrappingAdd(1, ordering: .relaxed)
            }
            return
        }
        pthread_mutex_lock(runLock)
        defer { pthread_mutex_unlock(runLock) }
        withoutActuallyEscaping(body) { body in
            let perClaim = (chunks + Claims.maximumCount - 1) / Claims.maximumCount
            let claimable = (chunks + perClaim - 1) / perClaim
            withUnsafePointer(to: PoolJob(chunks: chunks, chunksPerClaim: perClaim, body: body)) { current in
                job.pointee = current
                unfinished.store(claimable, ordering: .relaxed)
                let epoch = Claims(word: claims.load(ordering: .relaxed)).epoch &+ 1
                // Sequentially consistent, as is the sleepers' count: one of the two sides sees the other.
                claims.store(Claims(epoch: epoch, count: claimable).word, ordering: .sequentiallyConsistent)
                if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
                    pthread_mutex_lock(lock)
                    pthread_cond_broadcast(work)
                    pthread_mutex_unlock(lock)
                }
                while performOne() {}
                waitForOthers()
                job.pointee = nil
            }
        }
    }

    /// Claims one chunk and runs it; false when there is none left to claim.
    private func performOne() -> Bool {
        var seen = Claims(word: claims.load(ordering: .acquiring))
        while true {
            guard seen.next < seen.count else { return false }
            let (exchanged, original) = claims.weakCompareExchange(
                expected: seen.word, desired: seen.word + 1, ordering: .acquiringAndReleasing)
            if exchanged { break }
            seen = Claims(word: original)
        }
        // The claim keeps the run, and so the job on its caller's stack, alive until `unfinished` goes down.
        let current = job.pointee.unsafelyUnwrapped
        let first = seen.next * current.pointee.chunksPerClaim
        let last = min(first + current.pointee.chunksPerClaim, current.pointee.chunks)
        for chunk in first..<last { current.pointee.body(chunk) }
        finished.wrappingAdd(UInt64(last - first), ordering: .relaxed)
        if unfinished.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0,
            callerSleeps.load(ordering: .sequentiallyConsistent)
        {
            pthread_mutex_lock(lock)
            pthread_cond_signal(done)
            pthread_mutex_unlock(lock)
        }
        return true
    }

    /// Every chunk is claimed by now: only those that others hold are waited for.
    private func waitForOthers() {
        if Self.spin(until: { unfinished.load(ordering: .acquiring) == 0 }) { return }
        pthread_mutex_lock(lock)
        callerSleeps.store(true, ordering: .sequentiallyConsistent)
        while unfinished.load(ordering: .sequentiallyConsistent) != 0 { pthread_cond_wait(done, lock) }
        callerSleeps.store(false, ordering: .relaxed)
        pthread_mutex_unlock(lock)
    }

    /// A worker's life.
    func live() {
        while !stopping.load(ordering: .relaxed) {
            if performOne() { continue }
            waitForWork()
        }
    }

    private var hasWork: Bool {
        // Sequentially consistent: `run` stores claims, then reads `sleepers`; a sleeper does the reverse.
        let now = Claims(word: claims.load(ordering: .sequentiallyConsistent))
        return now.next < now.count
    }

    private func waitForWork() {
        if Self.spin(until: { hasWork || stopping.load(ordering: .relaxed) }) { return }
        pthread_mutex_lock(lock)
        sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        while !hasWork && !stopping.load(ordering: .relaxed) { pthread_cond_wait(work, lock) }
        sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(lock)
    }

    /// True as soon as `condition` holds, false when it did not within `spinNanoseconds`.
    private static func spin(until condition: () -> Bool) -> Bool {
        let deadline = monotonicNanoseconds() + spinNanoseconds
        repeat {
            for _ in 0..<16 {
                if condition() { return true }
                cl_pause()
            }
        } while monotonicNanoseconds() < deadline
        return false
    }

    func stop() {
        pthread_mutex_lock(lock)
        stopping.store(true, ordering: .relaxed)
        pthread_cond_broadcast(work)
        pthread_mutex_unlock(lock)
    }
}

private func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}
