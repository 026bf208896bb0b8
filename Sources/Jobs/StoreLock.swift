import Glibc

/// Keeps a second process out of the store: each would take the other's half-written files for rubbish. The system lets go of
/// it when the process ends, however it ends.
final class StoreLock: Sendable {
    private let descriptor: Int32

    init(_ path: String) throws(FileError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: path, code: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            throw FileError(operation: "lock", path: path, code: code)
        }
    }

    deinit { close(descriptor) }

    func unlock() { flock(descriptor, LOCK_UN) }
}
