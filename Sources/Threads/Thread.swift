internal import CLinux
import Glibc

/// A thread of our own, for work that must not stand on the cooperative pool.
///
/// Not isolated to anything: a thread closure formed in a `@MainActor` context dies with SIGILL.
public struct Thread: Sendable {
    private let handle: pthread_t

    /// Starts a thread that runs `body` once and must be joined; nil when the system has no thread to give.
    ///
    /// - Parameters:
    ///   - name: what `ps -L` shows, 15 bytes.
    ///   - niceness: its own, -20...19 (Linux gives every thread one); nil keeps the caller's.
    ///   - computes: it is one that works long and that nobody waits for at a display: scheduled as SCHED_BATCH, so that it
    ///     never pushes a thread aside that has just woken. Where that is not allowed it is scheduled as its caller.
    public init?(
        _ name: String, niceness: Int32? = nil, computes: Bool = false, _ body: @escaping @Sendable () -> Void
    ) {
        let context = Unmanaged.passRetained(
            ThreadBody(name: name, niceness: niceness, computes: computes, run: body))
        var handle = pthread_t()
        let status = pthread_create(
            &handle, nil,
            { context in
                guard let context else { return nil }
                let body = Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
                cl_set_thread_name(body.name)
                if body.computes { _ = cl_schedule_as_batch() }
                if let niceness = body.niceness { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness) }
                body.run()
                return nil
            }, context.toOpaque())
        guard status == 0 else {
            context.release()
            return nil
        }
        self.handle = handle
    }

    /// How many CPUs this process may run on.
    public static var processors: Int { Int(cl_affinity_count()) }

    /// Waits for `body` to return; once, and not after `detach`.
    public func join() { pthread_join(handle, nil) }

    /// Lets the thread end by itself.
    public func detach() { pthread_detach(handle) }
}

private final class ThreadBody: Sendable {
    let name: String
    let niceness: Int32?
    let computes: Bool
    let run: @Sendable () -> Void

    init(name: String, niceness: Int32?, computes: Bool, run: @escaping @Sendable () -> Void) {
        self.name = name
        self.niceness = niceness
        self.computes = computes
        self.run = run
    }
}
