import Glibc

extension ModelDescription {
    /// Compares the size of every file of the folder with `files`.
    func checkSizes(in folder: String) throws(ModelError) {
        for (name, entry) in files.sorted(by: { $0.key < $1.key }) {
            var status = stat()
            guard stat("\(folder)/\(name)", &status) == 0 else {
                throw .unreadable(file: name, reason: String(cString: strerror(errno)))
            }
            guard Int(status.st_size) == entry.bytes else {
                throw .wrongSize(file: name, bytes: Int(status.st_size), expected: entry.bytes)
            }
        }
    }
}

/// The bytes of a small file. Throws `unreadable`, also for what is no regular file or larger than `limit` bytes.
func contents(of name: String, in folder: String, limit: Int) throws(ModelError) -> [UInt8] {
    var bytes: [UInt8] = []
    try readFile(name, in: folder) { bytes_, _ throws(ModelError) in
        guard bytes.count + bytes_.count <= limit else {
            throw .unreadable(file: name, reason: "it has more than \(limit) bytes")
        }
        bytes.append(contentsOf: bytes_)
    }
    return bytes
}

/// Reads a regular file from start to end; `body` gets each piece and how many bytes came before it.
func readFile(
    _ name: String, in folder: String,
    _ body: (_ piece: UnsafeRawBufferPointer, _ offset: Int) throws(ModelError) -> Void
) throws(ModelError) {
    func refuse(_ code: Int32) -> ModelError { .unreadable(file: name, reason: String(cString: strerror(code))) }
    // Not blocking: a FIFO of that name must not hold us up.
    let descriptor = open("\(folder)/\(name)", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw refuse(errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw refuse(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw .unreadable(file: name, reason: "it is not a regular file")
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 64)
    defer { buffer.deallocate() }
    var offset = 0
    while true {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw refuse(errno) }
        if count == 0 { return }
        try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]), offset)
        offset += count
    }
}
