import Threads
import Video

/// What came of a run.
enum RunResult: Sendable {
    /// Frames and latents are durable.
    case made(lastFrame: [UInt8]?, sha256: String, peakBytes: Int)
    case failed(GenerationError)
    case notStored(JobFailure)
}

/// The one thread that computes; asleep while there is nothing to do. Kernels never run where tasks do.
final class ComputeThread: Sendable {
    private enum Order {
        case work(@Sendable () -> Void)
        case stop
    }

    private let orders = Monitor<Order?>(nil)
    private let thread = Locked<Thread?>(nil)

    /// `false` when the system has no thread to give.
    func start() -> Bool {
        let started = Thread("compute", computes: true) { [orders] in
            while case .work(let body) = orders.wait({ $0.take() }) { body() }
        }
        thread.withLock { $0 = started }
        return started != nil
    }

    /// Runs `body` on the thread; the one before must have returned or be about to.
    func run(_ body: @escaping @Sendable () -> Void) {
        orders.change { $0 = .work(body) }
    }

    /// Waits for the running work to return.
    func stop() {
        guard let thread = thread.withLock({ $0.take() }) else { return }
        orders.change { $0 = .stop }
        thread.join()
    }
}
