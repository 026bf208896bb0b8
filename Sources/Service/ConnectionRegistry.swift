import Jobs
import NIOCore
import Threads

/// The open connections, for their caps and for the end. Used on the event loop, counted from anywhere.
final class ConnectionRegistry: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var perPeer: [UInt32: Int] = [:]
    }
    private let state = Locked(State())
    private let total: Int
    private let perPeer: Int

    init(total: Int, perPeer: Int) {
        self.total = total
        self.perPeer = perPeer
    }

    var count: Int { state.withLock { $0.channels.count } }

    /// Takes the channel in until it closes; `false` when there are too many already.
    func admit(_ channel: any Channel, uid: UInt32) -> Bool {
        let key = ObjectIdentifier(channel)
        let admitted = state.withLock { state in
            guard state.channels.count < total, state.perPeer[uid, default: 0] < perPeer else { return false }
            state.channels[key] = channel
            state.perPeer[uid, default: 0] += 1
            return true
        }
        guard admitted else { return false }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                state.channels[key] = nil
                let left = state.perPeer[uid, default: 1] - 1
                state.perPeer[uid] = left == 0 ? nil : left
            }
        }
        return true
    }

    func closeAll() {
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
    }
}
