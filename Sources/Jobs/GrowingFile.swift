import Glibc
import Threads

/// A file that is written part after part, under a temporary name until all of it is there. What was written can be read back, from
/// any thread.
final class GrowingFile: Sendable {
    private enum Stage {
        /// There is no file before the first write: a full disk fails the video that needs it, not all that wait.
        case new
        case open(Int32)
        case done
    }

    private let path: String
    private let files: FileOperations
    private let stage = Locked(Stage.new)
    private var temporary: String { path + ".tmp" }

    init(_ path: String, files: FileOperations) {
        self.path = path
        self.files = files
    }

    deinit { discard() }

    func write(_ bytes: [UInt8], at place: Int) throws(FileError) {
        try stage.withLock { stage throws(FileError) in
            if case .new = stage { stage = .open(try files.create(temporary)) }
            guard case .open(let descriptor) = stage else {
                throw FileError(operation: "write", path: temporary, code: EBADF)
            }
            try files.write(bytes, to: descriptor, at: place, temporary)
        }
    }

    /// What `body` reads by the descriptor and the name it is given; `nil` when there is nothing yet, or no longer under this
    /// name.
    func read<Result>(_ body: (Int32, String) -> Result?) -> Result? {
        stage.withLock { stage in
            guard case .open(let descriptor) = stage else { return nil }
            return body(descriptor, temporary)
        }
    }

    /// Makes what was written durable, under its own name.
    func finish() throws(FileError) {
        try stage.withLock { stage throws(FileError) in
            guard case .open(let descriptor) = stage else {
                throw FileError(operation: "write", path: temporary, code: EBADF)
            }
            try files.keep(descriptor, temporary, as: path)
            close(descriptor)
            stage = .done
        }
    }

    /// Leaves nothing of what is not finished.
    func discard() {
        stage.withLock { stage in
            guard case .open(let descriptor) = stage else { return }
            close(descriptor)
            stage = .done
            files.discard(temporary)
        }
    }
}
