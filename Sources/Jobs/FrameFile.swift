import Glibc

/// frames.bin: `FLSCFRMS`, version, count, then each frame's length, all little-endian UInt32, then the frames.
enum FrameFile {
    private static let magic = Array("FLSCFRMS".utf8)
    private static let version: UInt32 = 1
    static let maximumBytes = 1 << 30
    static let maximumFrames = 100_000

    /// What stands in front of frames of these lengths.
    static func header(_ lengths: [Int]) -> [UInt8] {
        var bytes = magic
        bytes.reserveCapacity(headerBytes(lengths.count))
        for value in [version, UInt32(lengths.count)] + lengths.map({ UInt32($0) }) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    static func headerBytes(_ count: Int) -> Int { 16 + 4 * count }

    /// The frames of `range`, or all; `nil` when they are not there, or for a file that no `FrameWriter` has finished.
    static func read(_ path: String, _ range: Range<Int>? = nil, files: FileOperations) -> [[UInt8]]? {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG, facts.st_size <= maximumBytes,
            let ends = ends(descriptor, path, files), ends.last == Int(facts.st_size)
        else { return nil }
        let range = range ?? 0..<ends.count - 1
        guard range.upperBound < ends.count else { return nil }
        return read(descriptor, range, ends, path, files)
    }

    /// Where each frame ends, the header first.
    private static func ends(_ descriptor: Int32, _ path: String, _ files: FileOperations) -> [Int]? {
        guard let start = try? files.read(descriptor, 0..<headerBytes(0), path), start.count == headerBytes(0),
            Array(start[..<8]) == magic, number(start, 8) == version
        else { return nil }
        let count = number(start, 12)
        guard count <= maximumFrames,
            let table = try? files.read(descriptor, headerBytes(0)..<headerBytes(count), path), table.count == 4 * count
        else { return nil }
        return (0..<count).reduce(into: [headerBytes(count)]) { $0.append($0[$0.count - 1] + number(table, 4 * $1)) }
    }

    static func read(
        _ descriptor: Int32, _ range: Range<Int>, _ ends: [Int], _ path: String, _ files: FileOperations
    ) -> [[UInt8]]? {
        let (start, end) = (ends[range.lowerBound], ends[range.upperBound])
        guard let bytes = try? files.read(descriptor, start..<end, path), bytes.count == end - start else { return nil }
        return range.map { Array(bytes[ends[$0] - start..<ends[$0 + 1] - start]) }
    }

    private static func number(_ bytes: [UInt8], _ offset: Int) -> Int {
        bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}
