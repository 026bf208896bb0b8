import Jobs
import Threads

/// Answers counted by status, since start.
final class Metrics: Sendable {
    private let counts = Locked<[Int: Int]>([:])

    func count(status: Int) { counts.withLock { $0[status, default: 0] += 1 } }

    var answers: [(status: Int, count: Int)] {
        counts.withLock { counts in counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }
}
