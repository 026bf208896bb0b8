import Glibc

/// Why a file operation failed: `errno`, and what was done to which file.
struct FileError: Error, Equatable {
    var operation: String
    var path: String
    var code: Int32

    var message: String { "\(operation) \(path): \(String(cString: strerror(code)))" }
    var isFull: Bool { code == ENOSPC || code == EDQUOT }
}

/// The system calls that the store is made of. Tests put a failure, or a power cut, before any of them.
struct FileOperations: Sendable {
    /// Asked before each operation; throws to make it fail.
    var before: @Sendable (_ operation: String, _ path: String) throws(FileError) -> Void = { _, _ throws(FileError) in
    }

    /// Makes `path` hold `bytes` or what it held before, whatever happens: temporary name, fsync, rename, fsync of the folder.
    func replace(_ path: String, with bytes: [UInt8]) throws(FileError) {
        let temporary = path + ".tmp"
        let descriptor = try create(temporary)
        do throws(FileError) {
            defer { close(descriptor) }
            try write(bytes, to: descriptor, at: 0, temporary)
            try keep(descriptor, temporary, as: path)
        } catch {
            discard(temporary)
            throw error
        }
    }

    /// An empty file, for writing and reading back.
    func create(_ path: String) throws(FileError) -> Int32 {
        try before("open", path)
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: path, code: errno) }
        return descriptor
    }

    /// Makes what was written to `temporary` durable, under the name `path`.
    func keep(_ descriptor: Int32, _ temporary: String, as path: String) throws(FileError) {
        try before("fsync", temporary)
        guard fsync(descriptor) == 0 else { throw FileError(operation: "fsync", path: temporary, code: errno) }
        try before("rename", path)
        guard Glibc.rename(temporary, path) == 0 else {
            throw FileError(operation: "rename", path: path, code: errno)
        }
        try synchronize(folder: parent(of: path))
    }

    /// - Parameter place: where the first of `bytes` goes.
    func write(_ bytes: [UInt8], to descriptor: Int32, at place: Int, _ path: String) throws(FileError) {
        var done = 0
        while done < bytes.count {
            try before("write", path)
            let count = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, off_t(place + done))
            }
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                throw FileError(operation: "write", path: path, code: count == 0 ? ENOSPC : errno)
            }
        }
    }

    func makeFolder(_ path: String) throws(FileError) {
        try before("mkdir", path)
        if mkdir(path, 0o700) == 0 { return try synchronize(folder: parent(of: path)) }
        guard errno == EEXIST else { throw FileError(operation: "mkdir", path: path, code: errno) }
    }

    func synchronize(folder: String) throws(FileError) {
        try before("fsync", folder)
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: folder, code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError(operation: "fsync", path: folder, code: errno) }
    }

    /// The bytes of a regular file that is no link, at most `limit`.
    func read(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: path, code: errno) }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw FileError(operation: "stat", path: path, code: errno) }
        guard facts.st_mode & S_IFMT == S_IFREG else { throw FileError(operation: "open", path: path, code: EINVAL) }
        guard facts.st_size <= limit else { throw FileError(operation: "read", path: path, code: EFBIG) }
        return try read(descriptor, 0..<Int(facts.st_size), path)
    }

    /// The bytes of `range` that are there.
    func read(_ descriptor: Int32, _ range: Range<Int>, _ path: String) throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress! + done, $0.count - done, off_t(range.lowerBound + done))
            }
            if count == 0 { break }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw FileError(operation: "read", path: path, code: errno)
            }
        }
        bytes.removeSubrange(done...)
        return bytes
    }

    /// Removes a file or link if it is there; that it stays does no harm.
    func discard(_ path: String) {
        guard (try? before("unlink", path)) != nil else { return }
        unlink(path)
    }

    /// Whether `path` is of this kind itself, as `S_IFREG`; what a link leads to does not count.
    func isKind(_ kind: mode_t, _ path: String) -> Bool {
        var facts = stat()
        return lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == kind
    }

    /// Removes a folder and the plain files and links in it; of a link, the link.
    func removeFolder(_ path: String) throws(FileError) {
        for name in names(in: path) { discard("\(path)/\(name)") }
        try before("rmdir", path)
        guard isKind(S_IFDIR, path) else { return discard(path) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw FileError(operation: "rmdir", path: path, code: errno) }
        try synchronize(folder: parent(of: path))
    }

    func rename(folder: String, to target: String) throws(FileError) {
        try before("rename", target)
        guard Glibc.rename(folder, target) == 0 else { throw FileError(operation: "rename", path: target, code: errno) }
        try synchronize(folder: parent(of: target))
    }

    /// What is in a folder but `.` and `..`, in the order of names; empty when it can't be read or is a link.
    func names(in folder: String) -> [String] {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        guard let handle = fdopendir(descriptor) else {
            close(descriptor)
            return []
        }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Bytes of a folder's plain files.
    func size(ofFolder folder: String) -> Int64 {
        var total: Int64 = 0
        for name in names(in: folder) {
            var facts = stat()
            if lstat("\(folder)/\(name)", &facts) == 0 { total += Int64(facts.st_blocks) * 512 }
        }
        return total
    }

    /// Bytes that may still be written to the file system of `path`.
    func freeBytes(at path: String) -> Int64 {
        var facts = statvfs()
        guard (try? before("statvfs", path)) != nil else { return 0 }
        guard statvfs(path, &facts) == 0 else { return .max }
        return Int64(
            clamping: UInt64(facts.f_bavail).multipliedReportingOverflow(by: UInt64(facts.f_frsize)).partialValue)
    }

    private func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
