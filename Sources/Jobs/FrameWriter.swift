import Glibc
import Threads

/// frames.bin of a video that is being made.
final class FrameWriter: Sendable {
    private let file: GrowingFile
    private let count: Int
    private let files: FileOperations
    /// Where each frame ends, the header first.
    private let ends: Locked<[Int]>

    /// - Parameter count: frames that are to come.
    init(_ path: String, count: Int, files: FileOperations) {
        file = GrowingFile(path, files: files)
        self.count = count
        self.files = files
        ends = Locked([FrameFile.headerBytes(count)])
    }

    /// Bytes so far, the header included.
    var byteCount: Int { ends.withLock { $0[$0.count - 1] } }

    /// One thread at a time.
    func append(_ frame: [UInt8]) throws(FileError) {
        let (written, end) = ends.withLock { ($0.count - 1, $0[$0.count - 1]) }
        guard written < count, end + frame.count <= FrameFile.maximumBytes else {
            throw FileError(operation: "write", path: "frame \(written) of \(count)", code: EFBIG)
        }
        try file.write(frame, at: end)
        ends.withLock { $0.append(end + frame.count) }
    }

    /// `nil` when they are not all there, or are in the finished file.
    func read(_ range: Range<Int>) -> [[UInt8]]? {
        let ends = ends.withLock { $0 }
        guard range.upperBound < ends.count else { return nil }
        return file.read { FrameFile.read($0, range, ends, $1, files) }
    }

    /// Makes the frames durable; all must be there.
    func finish() throws(FileError) {
        let lengths = ends.withLock { ends in zip(ends, ends.dropFirst()).map { $1 - $0 } }
        guard lengths.count == count else {
            throw FileError(operation: "write", path: "\(lengths.count) of \(count) frames", code: EINVAL)
        }
        try file.write(FrameFile.header(lengths), at: 0)
        try file.finish()
    }

    /// Leaves nothing of what is not finished.
    func discard() { file.discard() }
}
