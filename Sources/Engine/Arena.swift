import Glibc

/// All buffers of one request come from one arena, whose size an `ArenaPlan` gave before the request was accepted.
///
/// Used by one thread at a time; what it hands out may be used by the pool.
public final class Arena {
    public let byteCount: Int
    private let base: UnsafeMutableRawPointer
    private var cursor = ArenaPlan()
    private static let hugePagesFrom = 16 << 20

    /// Reserves `byteCount` zeroed bytes (touched pages alone cost memory).
    public init(byteCount: Int) throws(ArenaError) {
        guard byteCount >= 0, byteCount <= ArenaPlan.limit else { throw .tooLarge(bytes: byteCount) }
        let length = max(byteCount, 1)
        guard
            let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            base != MAP_FAILED
        else { throw .outOfMemory(bytes: byteCount, errno: errno) }
        // Rows of a large model are pages apart, and looking up where each lies takes as long as some kernels do. A kernel
        // without huge pages ignores it; small arenas would only grow.
        if byteCount >= Self.hugePagesFrom { madvise(base, length, MADV_HUGEPAGE) }
        self.base = base
        self.byteCount = byteCount
    }

    deinit { munmap(base, max(byteCount, 1)) }

    /// `count` elements, 64-byte aligned, with whatever bytes lay there before.
    ///
    /// - Throws: `exhausted` when the plan was smaller than the work.
    public func allocate<T: BitwiseCopyable>(
        _ type: T.Type, count: Int
    ) throws(ArenaError) -> UnsafeMutablePointer<T> {
        var next = cursor
        let offset = next.reserve(type, count: count)
        guard next.used <= byteCount else {
            throw .exhausted(requested: next.used - cursor.used, used: cursor.used, byteCount: byteCount)
        }
        cursor = next
        return (base + offset).bindMemory(to: type, capacity: count)
    }

    /// What is allocated now; give it back to `rewind(to:)`.
    public var mark: Int { cursor.mark }

    /// Frees everything allocated since `mark` was read.
    public func rewind(to mark: Int) { cursor.rewind(to: mark) }

    /// The most bytes that were allocated at one time.
    public var peakByteCount: Int { cursor.byteCount }
}

/// Mirrors the calls that will be made to an `Arena`, and gives the size it needs.
public struct ArenaPlan: Sendable {
    static let limit = 1 << 46
    static let alignment = 64

    /// Bytes an arena needs for the calls made so far: the peak.
    public private(set) var byteCount = 0
    fileprivate private(set) var used = 0

    public init() {}

    /// Counts `count` elements. A total beyond 64 TiB stays there, and `Arena.init` refuses it.
    public mutating func allocate<T: BitwiseCopyable>(_ type: T.Type, count: Int) { _ = reserve(type, count: count) }

    fileprivate mutating func reserve<T: BitwiseCopyable>(_ type: T.Type, count: Int) -> Int {
        precondition(count >= 0, "an arena allocation of \(count) elements")
        let offset = used
        let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<T>.stride)
        let ceiling = Self.limit + Self.alignment
        let rounded = overflow || bytes > Self.limit ? ceiling : (bytes + Self.alignment - 1) & ~(Self.alignment - 1)
        used = min(used + rounded, ceiling)
        byteCount = max(byteCount, used)
        return offset
    }

    public var mark: Int { used }

    public mutating func rewind(to mark: Int) {
        precondition(mark >= 0 && mark <= used, "rewound to \(mark), with \(used) bytes in use")
        used = mark
    }
}

/// Why an arena could not be made, or had no room.
public enum ArenaError: Error, Equatable, CustomStringConvertible {
    case tooLarge(bytes: Int)
    case outOfMemory(bytes: Int, errno: Int32)
    case exhausted(requested: Int, used: Int, byteCount: Int)

    public var description: String {
        switch self {
        case .tooLarge(let bytes): "an arena of \(bytes) bytes is over the limit of \(ArenaPlan.limit)"
        case .outOfMemory(let bytes, let code): "no memory for an arena of \(bytes) bytes (errno \(code))"
        case .exhausted(let requested, let used, let byteCount):
            "the arena has \(byteCount) bytes, \(used) are in use, \(requested) more were asked for"
        }
    }
}
