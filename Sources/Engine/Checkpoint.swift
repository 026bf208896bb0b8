/// A mapped safetensors file: 8 bytes of header length (little-endian), a JSON header, then the tensors' data.
/// https://huggingface.co/docs/safetensors, narrowed: every tensor starts at a multiple of 64 bytes of the file. Names
/// with the prefix `_pad.` are fillers, excepted from that and not listed. Nothing is copied: tensors point into the map.
public final class Checkpoint: Sendable {
    private let file: MappedFile
    private let dataOffset: Int
    private let index: [String: Tensor]
    /// Names of the tensors in the order of the file, without fillers.
    public let names: [String]
    /// The header's `__metadata__`.
    public let metadata: [String: String]
    /// The path as it was opened.
    public var path: String { file.path }
    /// Bytes of the whole file.
    public var byteCount: Int { file.byteCount }

    static let alignment = 64
    static let fillerPrefix = "_pad."

    /// Maps the file and checks the whole header: its length (at most 16 MiB), JSON, shapes against dtypes and bytes,
    /// that tensors lie inside the file, aligned, without overlaps or holes. Reads no tensor.
    public init(path: String) throws(CheckpointError) {
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch { throw .file(error) }
        guard file.byteCount >= 8 else {
            throw .tooShort(file: path, bytes: file.byteCount, needed: "the length of a header")
        }
        let length = UInt64(littleEndian: file.base.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(CheckpointHeader.byteLimit) else {
            throw .headerTooLong(file: path, bytes: length, limit: CheckpointHeader.byteLimit)
        }
        let dataOffset = 8 + Int(length)
        guard dataOffset <= file.byteCount else {
            throw .tooShort(file: path, bytes: file.byteCount, needed: "a header of \(length) bytes")
        }
        let header = try CheckpointHeader(UnsafeRawBufferPointer(start: file.base + 8, count: Int(length)), file: path)
        let data = file.base + dataOffset
        let dataCount = file.byteCount - dataOffset

        var index: [String: Tensor] = Dictionary(minimumCapacity: header.entries.count)
        var names: [String] = []
        var previous: CheckpointHeader.Entry?
        for entry in header.entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            guard entry.end <= dataCount else {
                throw .outOfRange(file: path, tensor: entry.name, end: entry.end, limit: dataCount)
            }
            let reached = previous?.end ?? 0
            guard entry.begin >= reached else {
                throw .overlap(file: path, tensor: entry.name, other: previous?.name ?? "")
            }
            guard entry.begin == reached else { throw .hole(file: path, offset: reached, end: entry.begin) }
            previous = entry
            let isFiller = entry.name.hasPrefix(Self.fillerPrefix)
            guard isFiller || (dataOffset + entry.begin) % Self.alignment == 0 else {
                throw .misaligned(
                    file: path, tensor: entry.name, offset: dataOffset + entry.begin, alignment: Self.alignment)
            }
            let tensor = Tensor(
                name: entry.name, type: entry.type, shape: entry.shape, base: data + entry.begin,
                byteCount: entry.end - entry.begin, readableBytesAfter: dataCount - entry.end)
            guard index.updateValue(tensor, forKey: entry.name) == nil else {
                throw .duplicate(file: path, tensor: entry.name)
            }
            if !isFiller { names.append(entry.name) }
        }
        guard (previous?.end ?? 0) == dataCount else {
            throw .hole(file: path, offset: previous?.end ?? 0, end: dataCount)
        }
        self.file = file
        self.dataOffset = dataOffset
        self.index = index
        self.names = names
        self.metadata = header.metadata
    }

    public func has(_ name: String) -> Bool { index[name] != nil }

    /// The tensor with this name, whatever it is.
    public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
        guard let tensor = index[name] else { throw .missing(file: path, tensor: name) }
        return tensor
    }

    /// The tensor with this name, of exactly this type and shape.
    public func tensor(_ name: String, _ type: ElementType, shape: [Int]) throws(CheckpointError) -> Tensor {
        let tensor = try tensor(name)
        guard tensor.type == type else {
            throw .wrongType(file: path, tensor: name, type: tensor.type, expected: type)
        }
        guard tensor.shape == shape else {
            throw .wrongShape(file: path, tensor: name, shape: tensor.shape, expected: shape)
        }
        return tensor
    }

    /// Asks the kernel to read the tensors whose names have this prefix: the next block, while this one runs.
    public func prefetch(prefix: String) {
        for name in names where name.hasPrefix(prefix) {
            guard let tensor = index[name] else { continue }
            let start = tensor.base - file.base
            file.prefetch(start..<start + tensor.byteCount)
        }
    }

    /// Throws `changed` when the file has another size or modification time than when it was mapped. Ask before a job.
    public func checkUnchanged() throws(CheckpointError) {
        guard file.isUnchanged else { throw .changed(file: path) }
    }

    /// Reads every int8 tensor and refuses a -128. Touches the whole file: part of `verify`, not of loading.
    public func checkWeights() throws(CheckpointError) {
        for name in names {
            guard let tensor = index[name], tensor.type == .i8 else { continue }
            try checkWeights(of: tensor)
        }
    }

    /// Reads an int8 tensor and refuses a -128.
    func checkWeights(of tensor: Tensor) throws(CheckpointError) {
        if let element = firstMinimum(tensor.int8s, tensor.byteCount) {
            throw .minimumWeight(file: path, tensor: tensor.name, element: element)
        }
    }

    /// A dimension that a layer was asked to have, against its limits.
    func require(
        _ layer: String, _ value: Int, in allowed: ClosedRange<Int>, _ field: String
    ) throws(CheckpointError) {
        guard allowed.contains(value) else {
            throw .limit(
                file: path, layer: layer, field: field, value: value,
                allowed: "\(allowed.lowerBound)...\(allowed.upperBound)")
        }
    }
}

/// The index of the first -128, or nil. `values` is 8-byte aligned.
///
/// Eight bytes at a time: after the exclusive or, a byte that was -128 is zero, and a zero byte alone borrows into its
/// own top bit (Hacker's Delight, 6-1). Blocks of words are reduced by "or", which vectorises.
private func firstMinimum(_ values: UnsafePointer<Int8>, _ count: Int) -> Int? {
    let raw = UnsafeRawPointer(values)
    let (tops, ones): (UInt64, UInt64) = (0x8080_8080_8080_8080, 0x0101_0101_0101_0101)
    let block = 4096
    var start = 0
    while start + block <= count {
        var found: UInt64 = 0
        for offset in stride(from: start, to: start + block, by: 8) {
            let word = raw.load(fromByteOffset: offset, as: UInt64.self) ^ tops
            found |= (word &- ones) & ~word & tops
        }
        if found != 0 { break }
        start += block
    }
    return (start..<count).first { values[$0] == Int8.min }
}
