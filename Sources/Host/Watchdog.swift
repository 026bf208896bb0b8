/// Tells systemd that the daemon is alive, but only after it was seen to be.
public enum Watchdog {
    /// What one look at the daemon saw.
    public enum Observation: Sendable, Equatable {
        case idle
        /// Computing; the counter has to advance from one look to the next.
        case computing(workDone: UInt64)
    }

    /// Looks three times in each `interval` and calls `alive` when the daemon is idle or has advanced. Runs until
    /// cancelled. `observe` must make a round trip through whatever could hang: if it doesn't return, no sign is given.
    public static func run(
        interval: Duration, observe: @Sendable () async throws -> Observation, alive: @Sendable () -> Void
    ) async {
        var previous: Observation?
        while !Task.isCancelled {
            if let now = try? await observe() {
                if now == .idle || now != previous { alive() }
                previous = now
            } else {
                previous = nil
            }
            // Tolerance lets the kernel merge wake-ups.
            try? await Task.sleep(for: interval / 3, tolerance: interval / 20)
        }
    }
}
