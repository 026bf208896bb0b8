import Jobs
import Threads

/// The preview streams that are open, and what became of their frames.
final class StreamRegistry: Sendable {
    private struct State {
        var streams: [UInt64: StreamCounter] = [:]
        var next: UInt64 = 0
        var sent: UInt64 = 0
        var dropped: UInt64 = 0
    }
    private let state = Locked(State())

    /// Counts for as long as `body` runs.
    func counting<Result>(
        _ peer: Peer, _ options: PreviewOptions, _ body: (StreamCounter) async throws -> Result
    ) async rethrows -> Result {
        let counter = StreamCounter(peer: peer, options: options)
        let key = state.withLock { state in
            state.next += 1
            state.streams[state.next] = counter
            return state.next
        }
        defer {
            let counts = counter.counts
            state.withLock { state in
                state.streams[key] = nil
                state.sent += counts.sent
                state.dropped += counts.dropped
            }
        }
        return try await body(counter)
    }

    /// The streams of a peer, oldest first; of everybody for an administrator.
    func streams(for peer: Peer) -> [StreamCounter] {
        state.withLock { state in
            state.streams.sorted { $0.key < $1.key }.map(\.value)
                .filter { peer.isAdministrator || $0.peer.uid == peer.uid }
        }
    }

    /// All that were open since the start, those that are open now included.
    var totals: (open: Int, sent: UInt64, dropped: UInt64) {
        state.withLock { state in
            var (sent, dropped) = (state.sent, state.dropped)
            for stream in state.streams.values {
                let counts = stream.counts
                sent += counts.sent
                dropped += counts.dropped
            }
            return (state.streams.count, sent, dropped)
        }
    }
}

/// One open preview stream.
final class StreamCounter: Sendable {
    struct Counts: Sendable, Equatable {
        var job: String?
        var sent: UInt64 = 0
        /// Newer ones came before the client was ready for them.
        var dropped: UInt64 = 0
        /// The same picture as the one before: not sent.
        var unchanged: UInt64 = 0
        /// When the newest frame that was sent had been made, in Unix seconds.
        var newest: Double?
    }
    let peer: Peer
    let options: PreviewOptions
    private let state = Locked(Counts())

    init(peer: Peer, options: PreviewOptions) {
        self.peer = peer
        self.options = options
    }

    var counts: Counts { state.withLock { $0 } }

    func update(_ body: (inout Counts) -> Void) { state.withLock { body(&$0) } }
}
