import Threads

/// Tells systemd that the daemon is alive, but only after it was seen to be. Lives on a thread of its own.
public final class Watchdog: Sendable {
    /// What one look at the daemon saw.
    public enum Observation: Sendable, Equatable {
        case idle
        /// Computing; the counter has to advance from one look to the next.
        case computing(workDone: UInt64)
    }

    private let stopped = Monitor(false)

    /// Looks three times in each `interval` and calls `alive` when the daemon is idle or has advanced, until `stop`.
    /// `observe` must make a round trip through whatever could hang: if it doesn't return, no sign is given. Both are
    /// called on the watchdog's thread. nil when the system has no thread to give.
    public init?(
        interval: Duration, observe: @escaping @Sendable () throws -> Observation,
        alive: @escaping @Sendable () -> Void
    ) {
        let thread = Thread("watchdog") { [stopped] in
            var previous: Observation?
            repeat {
                if let now = try? observe() {
                    if now == .idle || now != previous { alive() }
                    previous = now
                } else {
                    previous = nil
                }
            } while stopped.wait(atMost: interval / 3, { $0 ? true : nil }) == nil
        }
        guard let thread else { return nil }
        // Never joined: it may hang in `observe`, which is what it is for.
        thread.detach()
    }

    public func stop() { stopped.change { $0 = true } }
}
