import Threads

/// What all bodies together may take, so that many clients that upload slowly can't fill the memory.
final class BodyBudget: Sendable {
    /// Bytes of each body that are not counted: words always find room.
    static let free = 64 << 10
    let limit: Int
    private let used = Locked(0)

    init(limit: Int) { self.limit = limit }

    /// Takes `bytes` when there are so many left.
    func take(_ bytes: Int) -> Bool {
        used.withLock { used in
            guard bytes <= limit - used else { return false }
            used += bytes
            return true
        }
    }

    func give(_ bytes: Int) { used.withLock { $0 -= bytes } }

    var taken: Int { used.withLock { $0 } }
}
