internal import CKernels
import Synchronization

/// What every operation needs: the kernels of one level, the pool, and the cancel flag, read once per chunk.
///
/// A cancelled operation returns at once and leaves its output undefined: callers look at `isCancelled` and throw.
/// All operations give the same bits on every level and for every number of threads. Pointers that an operation
/// writes may not overlap those it reads, unless its comment allows it.
public final class Compute: Sendable {
    public let level: KernelLevel
    public let pool: ThreadPool
    private let cancelled = Atomic<Bool>(false)

    public init(level: KernelLevel, pool: ThreadPool) {
        self.level = level
        self.pool = pool
        kernels = ck_kernels_at(level.value).unsafelyUnwrapped.pointee
    }

    /// The functions of the level; a `KernelLevel` exists only where they do. Looked up once: asking the CPU what it can
    /// do costs tens of microseconds in a virtual machine.
    let kernels: ck_kernels

    public func setCancelled(_ value: Bool) { cancelled.store(value, ordering: .relaxed) }
    public var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

    /// Runs `body` for each chunk on the pool, unless cancelled.
    public func parallel(chunks: Int, _ body: (_ chunk: Int) -> Void) {
        pool.run(chunks: chunks) { chunk in
            if !isCancelled { body(chunk) }
        }
    }

    /// Splits `0 ..< count` into ranges and runs `body` for each on the pool.
    ///
    /// - Parameters:
    ///   - cost: of one element, in floats touched or multiplied; small totals stay on the calling thread.
    ///   - smallest: elements of a chunk for which what every chunk does once is little; fewer where a thread would have none.
    public func parallel(count: Int, cost: Int, smallest: Int = 1, _ body: (_ range: Range<Int>) -> Void) {
        guard count > 0 else { return }
        let cost = max(cost, 1)
        let fairShare = (count + pool.threads - 1) / pool.threads
        let smallest = max(min(smallest, fairShare), Self.smallestChunk / cost, count / (pool.threads * 16))
        let chunks = Self.shrinkingChunks(
            of: count, threads: pool.threads, smallest: smallest, largest: Self.largestChunk / cost)
        parallel(chunks: chunks.count) { body(chunks[$0]) }
    }

    /// Cuts `0 ..< count` at multiples of `unit`, each chunk a fair share of half of what the chunks before it left: who is
    /// late, on a slower core or interrupted, is late with little. One thread has nobody to wait for.
    ///
    /// - Parameters:
    ///   - smallest, largest: of a chunk; it has a unit at least.
    static func shrinkingChunks(
        of count: Int, unit: Int = 1, threads: Int, smallest: Int, largest: Int
    ) -> [Range<Int>] {
        var chunks: [Range<Int>] = []
        var start = 0
        while start < count {
            let share = threads == 1 ? count : (count - start) / (2 * threads)
            let size = min(max(share, smallest), largest)
            let end = size >= count - start ? count : min(start + max(size / unit, 1) * unit, count)
            chunks.append(start..<end)
            start = end
        }
        return chunks
    }

    /// Below this a hand-over to another thread costs more than it saves.
    private static let smallestChunk = 8192
    /// Above this a cancel would wait too long: tens of milliseconds of plain C.
    static let largestChunk = 32 << 20
}

/// One vector of floats per row, chosen by index: distinct timesteps are embedded once, rows say which is theirs.
///
/// Row `r` uses `base + index[r] * stride`; without an index every row uses `base`.
public struct RowVectors {
    public var base: UnsafePointer<Float>
    public var stride: Int
    public var index: UnsafePointer<Int32>?

    public init(_ base: UnsafePointer<Float>, stride: Int = 0, index: UnsafePointer<Int32>? = nil) {
        self.base = base
        self.stride = stride
        self.index = index
    }

    func callAsFunction(_ row: Int) -> UnsafePointer<Float> {
        guard let index else { return base }
        return base + Int(index[row]) * stride
    }
}
