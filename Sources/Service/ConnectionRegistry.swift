import Jobs
import NIOCore
import Threads

/// The open connections, for their caps and for the end. Used on the event loop, counted from anywhere.
///
/// Where a cap is reached, the connection that was kept alive after an answer and has rested longest makes room: clients keep more
/// of them than they need, and open a new one when they find one closed.
final class ConnectionRegistry: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var perPeer: [UInt32: Int] = [:]
        /// Connections between two requests: the one that has rested longest has the lowest number.
        var resting: [ObjectIdentifier: (number: UInt64, uid: UInt32)] = [:]
        var rests: UInt64 = 0

        func longestResting(of uid: UInt32?) -> (ObjectIdentifier, uid: UInt32)? {
            resting.lazy.filter { uid == nil || $0.value.uid == uid }.min { $0.value.number < $1.value.number }
                .map { ($0.key, $0.value.uid) }
        }

        mutating func remove(_ key: ObjectIdentifier, uid: UInt32) {
            // Whoever made room is out already.
            guard channels.removeValue(forKey: key) != nil else { return }
            resting[key] = nil
            let left = perPeer[uid, default: 1] - 1
            perPeer[uid] = left == 0 ? nil : left
        }
    }
    private let state = Locked(State())
    private let total: Int
    private let perPeer: Int

    init(total: Int, perPeer: Int) {
        self.total = total
        self.perPeer = perPeer
    }

    var count: Int { state.withLock { $0.channels.count } }
    var restingCount: Int { state.withLock { $0.resting.count } }

    /// Takes the channel in until it closes, instead of one that rests if need be.
    ///
    /// - Returns: the cap that is in the way, nil when it was taken in.
    func admit(_ channel: any Channel, uid: UInt32) -> Int? {
        let key = ObjectIdentifier(channel)
        let (cap, replaced): (Int?, (any Channel)?) = state.withLock { state in
            let peerIsFull = state.perPeer[uid, default: 0] >= perPeer
            var replaced: (any Channel)?
            if peerIsFull || state.channels.count >= total {
                guard let (longest, owner) = state.longestResting(of: peerIsFull ? uid : nil) else {
                    return (peerIsFull ? perPeer : total, nil)
                }
                replaced = state.channels[longest]
                state.remove(longest, uid: owner)
            }
            state.channels[key] = channel
            state.perPeer[uid, default: 0] += 1
            return (nil, replaced)
        }
        guard cap == nil else { return cap }
        replaced?.close(promise: nil)
        channel.closeFuture.whenComplete { [self] _ in state.withLock { $0.remove(key, uid: uid) } }
        return nil
    }

    /// An answer was written in full, and nothing of a next request has come.
    func rests(_ channel: any Channel, uid: UInt32) {
        let key = ObjectIdentifier(channel)
        state.withLock { state in
            guard state.channels[key] != nil else { return }
            state.rests += 1
            state.resting[key] = (state.rests, uid)
        }
    }

    /// A request begins.
    func works(_ channel: any Channel) { state.withLock { $0.resting[ObjectIdentifier(channel)] = nil } }

    func closeAll() {
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
    }
}
