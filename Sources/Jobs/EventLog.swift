import Synchronization

/// Something that happened to a job.
public struct JobEvent: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case progress
        /// Frame `frame` of the predicted video.
        case preview(jpeg: [UInt8], width: Int, height: Int, frame: Int)
        case completed
        case failed
    }
    /// Grows along a job's life, across restarts too: what `Last-Event-ID` brings back.
    public var id: UInt64
    public var kind: Kind
    /// 0 before the first step is done.
    public var step: Int
    public var steps: Int
    /// Frames of the video.
    public var frames: Int
    /// 0...100
    public var progress: Int
    public var etaMilliseconds: Int?

    public var isTerminal: Bool { kind == .completed || kind == .failed }
}

/// One client's view of a job's events.
public struct JobWatch: Sendable {
    /// The present state first (or what was missed since the last id), then what happens; ends after `completed` or `failed`.
    public let events: AsyncStream<JobEvent>
}

/// The events of one job and those who watch it.
final class EventLog: Sendable {
    private struct State {
        var events: [JobEvent] = []
        var newest: UInt64
        var watchers: [UInt64: AsyncStream<JobEvent>.Continuation] = [:]
        var nextWatcher: UInt64 = 0
    }
    private let state: Mutex<State>
    private let backlog: Int
    private let subscriberBacklog: Int

    /// - Parameter epoch: how often the job was started, so that ids go on growing when it starts again.
    init(epoch: Int, backlog: Int, subscriberBacklog: Int) {
        state = Mutex(State(newest: UInt64(epoch) << 32))
        self.backlog = backlog
        self.subscriberBacklog = subscriberBacklog
    }

    var watchers: Int { state.withLock { $0.watchers.count } }

    /// Gives `event` the next id and hands it to everyone.
    func append(_ event: JobEvent) {
        let (event, watchers) = state.withLock { state in
            var event = event
            state.newest += 1
            event.id = state.newest
            state.events.append(event)
            // Nobody looks at old previews once the job is done.
            if event.isTerminal { state.events.removeAll { !$0.isTerminal } }
            if state.events.count > backlog { state.events.removeFirst(state.events.count - backlog) }
            defer { if event.isTerminal { state.watchers = [:] } }
            return (event, state.watchers.map(\.value))
        }
        for watcher in watchers {
            watcher.yield(event)
            if event.isTerminal { watcher.finish() }
        }
    }

    /// Ends every watch without a last event: the job goes on elsewhere, or is gone.
    func close() {
        let watchers = state.withLock { state in
            defer { state.watchers = [:] }
            return state.watchers.map(\.value)
        }
        for watcher in watchers { watcher.finish() }
    }

    /// - Parameters:
    ///   - last: what the client has seen already; an id of another life of the job counts as nothing seen.
    ///   - present: the state to begin with when nothing newer is kept.
    func watch(after last: UInt64?, present: JobEvent) -> JobWatch {
        // The oldest are dropped for a client that does not read: what counts is the newest progress, and the end.
        let (stream, continuation) = AsyncStream.makeStream(
            of: JobEvent.self, bufferingPolicy: .bufferingNewest(subscriberBacklog))
        state.withLock { state in
            var missed: [JobEvent] = []
            if let last, last <= state.newest, state.events.first.map({ $0.id <= last + 1 }) ?? false {
                missed = state.events.filter { $0.id > last }
            } else if present.isTerminal {
                var terminal = present
                terminal.id = state.events.last?.id ?? state.newest + 1
                missed = [terminal]
            } else {
                var first = present
                first.id = state.newest
                missed = [first]
            }
            for event in missed { continuation.yield(event) }
            if present.isTerminal || missed.last?.isTerminal == true {
                continuation.finish()
            } else {
                state.nextWatcher += 1
                let ticket = state.nextWatcher
                state.watchers[ticket] = continuation
                continuation.onTermination = { [weak self] _ in
                    self?.state.withLock { _ = $0.watchers.removeValue(forKey: ticket) }
                }
            }
        }
        return JobWatch(events: stream)
    }
}
