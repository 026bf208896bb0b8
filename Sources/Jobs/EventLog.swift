import Synchronization
import Threads

/// Something that happened to a job.
public struct JobEvent: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case progress
        /// Frame `frame` of the predicted video.
        case preview(jpeg: [UInt8], width: Int, height: Int, frame: Int)
        /// So many frames of the video from `first` on are finished, and can be had.
        case frames(first: Int, count: Int)
        case completed
        case failed
    }
    /// Grows along a job's life, across restarts too: what `Last-Event-ID` brings back. The first event of a watch may carry
    /// the id of the event that led to the state it tells.
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

    var previewBytes: Int {
        if case .preview(let jpeg, _, _, _) = kind { return max(jpeg.count, 1) }
        return 0
    }
}

/// One client's view of a job's events.
public struct JobWatch: Sendable {
    /// The present state first (or what was missed since the last id), then what happens; ends after `completed` or `failed`.
    public let events: AsyncStream<JobEvent>
}

/// The events of one job and those who watch it.
///
/// A watcher is a place in the one list, so a client that does not read costs nothing and delays nobody: what it can't have
/// any more when it comes back are old previews, then old progress, never the end.
final class EventLog: Sendable {
    private struct State {
        var events: [JobEvent] = []
        var newest: UInt64
        /// The newest id of a dropped event that was no preview.
        var dropped: UInt64
        var previewBytes = 0
        var ended = false
        var watchers = 0
        var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextTicket: UInt64 = 0
    }
    private let state: Locked<State>
    private let epoch: UInt64
    private let backlog: Int
    private let previewBytes: Int

    /// - Parameters:
    ///   - epoch: how often the job was started, so that ids go on growing when it starts again.
    ///   - backlog: events kept.
    ///   - previewBytes: kept of previews; the newest one is kept however large it is.
    init(epoch: Int, backlog: Int, previewBytes: Int) {
        self.epoch = UInt64(clamping: epoch) << 32
        state = Locked(State(newest: self.epoch, dropped: self.epoch))
        self.backlog = max(backlog, 1)
        self.previewBytes = previewBytes
    }

    var watchers: Int { state.withLock { $0.watchers } }
    var keptPreviewBytes: Int { state.withLock { $0.previewBytes } }

    /// Gives `event` the next id and hands it to everyone. The last one has the same id whenever it is asked for.
    func append(_ event: JobEvent) {
        let waiting = state.withLock { state in
            var event = event
            state.newest = event.isTerminal ? terminalID : state.newest + 1
            event.id = state.newest
            state.events.append(event)
            state.previewBytes += event.previewBytes
            if event.isTerminal { state.ended = true }
            trim(&state)
            defer { state.waiting = [:] }
            return state.waiting
        }
        for one in waiting.values { one.resume() }
    }

    private var terminalID: UInt64 { epoch | 0xFFFF_FFFF }

    private func trim(_ state: inout State) {
        while state.previewBytes > previewBytes,
            let place = state.events.firstIndex(where: { $0.previewBytes > 0 }),
            place != state.events.lastIndex(where: { $0.previewBytes > 0 })
        {
            state.previewBytes -= state.events.remove(at: place).previewBytes
        }
        while state.events.count > backlog {
            let old = state.events.removeFirst()
            state.previewBytes -= old.previewBytes
            if old.previewBytes == 0 { state.dropped = old.id }
        }
    }

    /// Ends every watch without a last event: the job goes on elsewhere, or is gone.
    func close() {
        let waiting = state.withLock { state in
            state.ended = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for one in waiting.values { one.resume() }
    }

    /// - Parameters:
    ///   - last: what the client has seen already, 0 for nothing: then it gets all that is kept. An id of another life of the job
    ///     counts as `nil`.
    ///   - present: the state to begin with when `last` is of no use.
    ///   - limit: of watchers; `nil` is returned beyond it.
    func watch(after last: UInt64?, present: JobEvent, limit: Int) -> JobWatch? {
        let place: Place? = state.withLock { state in
            guard state.watchers < limit else { return nil }
            state.watchers += 1
            var present = present
            if present.isTerminal {
                state.ended = true
                state.newest = terminalID
            }
            present.id = state.newest
            if last == 0 {
                // All that is kept; there is nothing of a job that has not begun, or ended long ago.
                let nothing = state.events.isEmpty
                return Place(log: self, seen: nothing ? state.newest : 0, first: nothing ? present : nil)
            }
            if let last, last <= state.newest, last >= state.dropped {
                // A job that is done leaves no list, only its end.
                let end = present.isTerminal && last < terminalID && state.events.isEmpty
                return Place(log: self, seen: last, first: end ? present : nil)
            }
            return Place(log: self, seen: state.newest, first: present)
        }
        guard let place else { return nil }
        return JobWatch(events: AsyncStream(unfolding: { await place.next() }))
    }

    /// How far one client has come. Counted as a watcher until it has come to the end or nobody holds it.
    private final class Place: Sendable {
        private let log: EventLog
        private let at: Locked<(seen: UInt64, first: JobEvent?)>
        private let left = Atomic<Bool>(false)

        init(log: EventLog, seen: UInt64, first: JobEvent?) {
            self.log = log
            at = Locked((seen, first))
        }

        deinit { leave() }

        private func leave() {
            guard !left.exchange(true, ordering: .relaxed) else { return }
            log.state.withLock { $0.watchers -= 1 }
        }

        func next() async -> JobEvent? {
            if let first = at.withLock({ $0.first.take() }) { return first }
            while true {
                let seen = at.withLock { $0.seen }
                let (event, ended) = log.state.withLock { state in
                    (state.events.first { $0.id > seen }, state.ended)
                }
                if let event {
                    at.withLock { $0.seen = event.id }
                    return event
                }
                if ended || Task.isCancelled {
                    leave()
                    return nil
                }
                await log.wait(after: seen)
            }
        }
    }

    /// Returns when there may be an event after `seen`, at the end, or when the task is cancelled.
    private func wait(after seen: UInt64) async {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state in
                    if state.newest > seen || state.ended || Task.isCancelled { return true }
                    state.waiting[ticket] = continuation
                    return false
                }
                if ready { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: ticket) }?.resume()
        }
    }
}
