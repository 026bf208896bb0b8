import Glibc
import Video

/// What came of a run.
enum RunResult: Sendable {
    /// Frames and latents are durable.
    case made(lastFrame: [UInt8]?, sha256: String, peakBytes: Int)
    case failed(GenerationError)
    case notStored(JobFailure)
}

/// The one thread that computes; asleep while there is nothing to do. Kernels never run on the cooperative pool.
///
/// Unchecked: `work` and `stopping` are guarded by `lock`.
final class ComputeThread: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var work: (@Sendable () -> Void)?
    private var stopping = false
    private var thread: pthread_t?

    init() {
        lock.initialize(to: pthread_mutex_t())
        wake.initialize(to: pthread_cond_t())
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(lock)
        wake.deallocate()
        lock.deallocate()
    }

    /// `false` when the system has no thread to give.
    func start() -> Bool {
        thread = startComputing(self)
        return thread != nil
    }

    /// Runs `body` on the thread; the one before must have returned or be about to.
    func run(_ body: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(lock)
        work = body
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
    }

    /// Waits for the running work to return.
    func stop() {
        pthread_mutex_lock(lock)
        stopping = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        if let thread { pthread_join(thread, nil) }
        thread = nil
    }

    fileprivate func live() {
        while true {
            pthread_mutex_lock(lock)
            while work == nil && !stopping { pthread_cond_wait(wake, lock) }
            let next = work
            work = nil
            pthread_mutex_unlock(lock)
            guard let next else { return }
            next()
        }
    }
}

/// A function of this file, isolated to nothing: a thread closure formed in a `@MainActor` context dies with SIGILL.
private func startComputing(_ owner: ComputeThread) -> pthread_t? {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(owner)
    let status = pthread_create(
        &thread, nil,
        { context in
            Unmanaged<ComputeThread>.fromOpaque(context!).takeRetainedValue().live()
            return nil
        }, context.toOpaque())
    guard status == 0 else {
        context.release()
        return nil
    }
    return thread
}
