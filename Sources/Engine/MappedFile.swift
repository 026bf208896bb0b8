internal import CLinux
import Glibc

/// A file mapped read-only; unmapped when the value ends.
///
/// A page of the map can fail after it was made (the file was truncated, the card died): the range is registered with
/// the SIGBUS guard, which names the file on stderr and ends the process. The corresponding C function is `mmap`.
public struct MappedFile: ~Copyable, @unchecked Sendable {
    public let path: String
    /// Page-aligned; `byteCount` bytes can be read.
    public let base: UnsafeRawPointer
    public let byteCount: Int
    private let descriptor: Int32
    private let identity: Identity

    private struct Identity: Equatable {
        var size: Int
        var seconds: Int
        var nanoseconds: Int

        init(_ status: stat) {
            size = Int(status.st_size)
            seconds = Int(status.st_mtim.tv_sec)
            nanoseconds = Int(status.st_mtim.tv_nsec)
        }
    }

    /// Maps a regular file of at least one byte.
    public init(path: String) throws(MappedFileError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .open(path: path, errno: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let code = errno
            close(descriptor)
            throw .open(path: path, errno: code)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .notRegular(path: path)
        }
        guard status.st_size > 0 else {
            close(descriptor)
            throw .empty(path: path)
        }
        let length = Int(status.st_size)
        guard let base = mmap(nil, length, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
            let code = errno
            close(descriptor)
            throw .map(path: path, errno: code)
        }
        let registered = cl_register_map(base, length, path)
        guard registered == 0 else {
            munmap(base, length)
            close(descriptor)
            throw registered == -ENOSPC
                ? .tooManyMaps(path: path, limit: CL_MAP_CAPACITY) : .map(path: path, errno: -registered)
        }
        self.path = path
        self.base = UnsafeRawPointer(base)
        self.byteCount = length
        self.descriptor = descriptor
        self.identity = Identity(status)
    }

    deinit {
        cl_unregister_map(base)
        munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
        close(descriptor)
    }

    /// Whether the file still has the size and modification time it was mapped with. A file cut inside its last page
    /// reads as zeros, without a fault: so this is asked before a job starts.
    public var isUnchanged: Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && Identity(status) == identity
    }

    /// Asks the kernel to read a range ahead. A hint: nothing is waited for, and errors are ignored.
    public func prefetch(_ range: Range<Int>) {
        let pages = Self.pages(of: range.clamped(to: 0..<byteCount), pageSize: Self.pageSize)
        guard !pages.isEmpty else { return }
        madvise(UnsafeMutableRawPointer(mutating: base) + pages.lowerBound, pages.count, MADV_WILLNEED)
    }

    /// The page size of this system in bytes (16 KiB on a Raspberry Pi 5).
    static var pageSize: Int { sysconf(Int32(_SC_PAGESIZE)) }

    /// The range in bytes, grown to whole pages. `pageSize` is a power of two.
    static func pages(of range: Range<Int>, pageSize: Int) -> Range<Int> {
        guard !range.isEmpty else { return range.lowerBound..<range.lowerBound }
        let mask = pageSize - 1
        return (range.lowerBound & ~mask)..<((range.upperBound + mask) & ~mask)
    }
}

/// Why a file could not be mapped.
public enum MappedFileError: Error, Equatable, CustomStringConvertible {
    case open(path: String, errno: Int32)
    case notRegular(path: String)
    case empty(path: String)
    case map(path: String, errno: Int32)
    case tooManyMaps(path: String, limit: Int)

    public var description: String {
        switch self {
        case .open(let path, let code): "\(path): can't be opened: \(String(cString: strerror(code)))"
        case .notRegular(let path): "\(path): not a regular file"
        case .empty(let path): "\(path): the file is empty"
        case .map(let path, let code): "\(path): can't be mapped: \(String(cString: strerror(code)))"
        case .tooManyMaps(let path, let limit): "\(path): \(limit) files are mapped already, the limit"
        }
    }
}
