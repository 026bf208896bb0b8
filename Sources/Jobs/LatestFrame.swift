import Threads

/// The newest preview of one job: one slot, which each client reads when it is ready for another. Nobody gets a backlog and
/// a stalled client delays nobody.
public final class LatestFrame: Sendable {
    public struct Entry: Sendable, Equatable {
        /// Counts the frames put in, from 1.
        public var sequence: UInt64
        public var jpeg: [UInt8]
        public var step: Int
        public var steps: Int
        /// Unix seconds when it was made.
        public var timestamp: Double
    }

    private struct State {
        var entry: Entry?
        var ended = false
        var waiters: [UInt64: CheckedContinuation<Entry?, Never>] = [:]
        var nextWaiter: UInt64 = 0
    }
    private let state = Locked(State())

    public init() {}

    public var current: Entry? { state.withLock { $0.entry } }

    func put(jpeg: [UInt8], step: Int, steps: Int, timestamp: Double) {
        let (entry, waiters) = state.withLock { state in
            let sequence = (state.entry?.sequence ?? 0) + 1
            let entry = Entry(sequence: sequence, jpeg: jpeg, step: step, steps: steps, timestamp: timestamp)
            state.entry = entry
            defer { state.waiters = [:] }
            return (entry, state.waiters)
        }
        for waiter in waiters.values { waiter.resume(returning: entry) }
    }

    /// No further frame will come.
    func end() {
        let waiters = state.withLock { state in
            state.ended = true
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume(returning: nil) }
    }

    /// The newest frame after `sequence`, waiting for it; `nil` at the end, or when the task is cancelled.
    public func next(after sequence: UInt64) async -> Entry? {
        let ticket = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // An outer nil is "wait".
                let now: Entry?? = state.withLock { state in
                    if let entry = state.entry, entry.sequence > sequence { return .some(entry) }
                    if state.ended || Task.isCancelled { return .some(nil) }
                    state.waiters[ticket] = continuation
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: ticket) }?.resume(returning: nil)
        }
    }
}
