/// The JSON header of a safetensors file, read strictly:
/// `{"__metadata__": {string: string}, name: {"dtype": string, "shape": [int], "data_offsets": [int, int]}, ...}`.
/// A field that safetensors does not define, one that is missing and one that is there twice are all errors.
struct CheckpointHeader {
    struct Entry {
        var name: String
        var type: ElementType
        var shape: [Int]
        var begin: Int
        var end: Int
    }

    private(set) var entries: [Entry] = []
    private(set) var metadata: [String: String] = [:]

    static let byteLimit = 16 << 20
    static let tensorLimit = 1 << 16
    static let rankLimit = 8
    static let nameLimit = 512

    init(_ bytes: UnsafeRawBufferPointer, file: String) throws(CheckpointError) {
        var scanner = Scanner(bytes: bytes, file: file)
        var hasMetadata = false
        try scanner.object { (scanner, name) throws(CheckpointError) in
            if name == "__metadata__" {
                guard !hasMetadata else { throw .duplicate(file: file, tensor: name) }
                hasMetadata = true
                try scanner.object { (scanner, key) throws(CheckpointError) in
                    guard metadata.updateValue(try scanner.string(), forKey: key) == nil else {
                        throw scanner.error("'__metadata__' has a key twice")
                    }
                }
            } else {
                guard entries.count < Self.tensorLimit else {
                    throw .tooManyTensors(file: file, limit: Self.tensorLimit)
                }
                entries.append(try Self.entry(name, &scanner))
            }
        }
        try scanner.end()
    }

    private static func entry(_ name: String, _ scanner: inout Scanner) throws(CheckpointError) -> Entry {
        let file = scanner.file
        guard name.utf8.count <= nameLimit else {
            throw scanner.error("a tensor name of \(name.utf8.count) bytes, the limit is \(nameLimit)")
        }
        var dtype: String?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { (scanner, key) throws(CheckpointError) in
            switch key {
            case "dtype" where dtype == nil: dtype = try scanner.string()
            case "shape" where shape == nil: shape = try scanner.integers(limit: rankLimit)
            case "data_offsets" where offsets == nil: offsets = try scanner.integers(limit: 2)
            case "dtype", "shape", "data_offsets":
                throw .shape(file: file, tensor: name, reason: "'\(key)' is there twice")
            default: throw .shape(file: file, tensor: name, reason: "safetensors has no field '\(key)'")
            }
        }
        guard let dtype, let shape, let offsets else {
            let missing = dtype == nil ? "dtype" : shape == nil ? "shape" : "data_offsets"
            throw .shape(file: file, tensor: name, reason: "'\(missing)' is missing")
        }
        guard offsets.count == 2, offsets[0] <= offsets[1] else {
            throw .shape(file: file, tensor: name, reason: "data_offsets \(offsets) are no begin and end")
        }
        let entry = Entry(name: name, type: ElementType(dtype), shape: shape, begin: offsets[0], end: offsets[1])
        if let size = entry.type.byteCount {
            var bytes = size
            for dimension in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
                guard !overflow else {
                    throw .shape(file: file, tensor: name, reason: "shape \(shape) overflows 63 bits of bytes")
                }
                bytes = product
            }
            guard bytes == entry.end - entry.begin else {
                throw .byteCount(
                    file: file, tensor: name, type: entry.type, shape: shape, bytes: entry.end - entry.begin)
            }
        }
        return entry
    }
}

/// Just enough JSON: objects, strings, arrays of non-negative integers. No recursion, so no depth to exhaust.
private struct Scanner {
    let bytes: UnsafeRawBufferPointer
    let file: String
    var position = 0

    init(bytes: UnsafeRawBufferPointer, file: String) {
        self.bytes = bytes
        self.file = file
    }

    func error(_ reason: String) -> CheckpointError { .header(file: file, offset: position, reason: reason) }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
    }

    /// The next byte that is not space, without taking it.
    private mutating func peek() -> UInt8? {
        skipSpace()
        return position < bytes.count ? bytes[position] : nil
    }

    private mutating func expect(_ character: Character) throws(CheckpointError) {
        guard peek() == character.asciiValue else { throw error("'\(character)' is expected") }
        position += 1
    }

    mutating func end() throws(CheckpointError) {
        guard peek() == nil else { throw error("nothing may follow the header's object") }
    }

    /// Takes an object; `member` is called behind each key and colon and takes the value.
    mutating func object(
        _ member: (inout Scanner, String) throws(CheckpointError) -> Void
    ) throws(CheckpointError) {
        try expect("{")
        if peek() == UInt8(ascii: "}") {
            position += 1
            return
        }
        while true {
            skipSpace()
            let key = try string()
            try expect(":")
            try member(&self, key)
            if peek() == UInt8(ascii: ",") {
                position += 1
            } else {
                return try expect("}")
            }
        }
    }

    mutating func integers(limit: Int) throws(CheckpointError) -> [Int] {
        var values: [Int] = []
        try expect("[")
        if peek() == UInt8(ascii: "]") {
            position += 1
            return values
        }
        while true {
            guard values.count < limit else { throw error("more than \(limit) numbers") }
            values.append(try integer())
            if peek() == UInt8(ascii: ",") {
                position += 1
            } else {
                try expect("]")
                return values
            }
        }
    }

    private mutating func integer() throws(CheckpointError) -> Int {
        skipSpace()
        let start = position
        var value = 0
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) {
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = shifted.addingReportingOverflow(Int(bytes[position] - 0x30))
            guard !overflow, !carry else { throw error("a number over 63 bits") }
            value = sum
            position += 1
        }
        guard position > start else { throw error("a non-negative integer is expected") }
        guard position == start + 1 || bytes[start] != 0x30 else { throw error("a number starts with 0") }
        return value
    }

    mutating func string() throws(CheckpointError) -> String {
        try expect("\"")
        var text: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw error("a string is not UTF-8") }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw error("a control character in a string")
            default: text.append(byte)
            }
        }
        throw error("a string does not end")
    }

    private mutating func escape(into text: inout [UInt8]) throws(CheckpointError) {
        guard position < bytes.count else { throw error("a string does not end") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xD800..<0xDC00).contains(code) {
                guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw error("half a surrogate pair") }
                position += 2
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw error("half a surrogate pair") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair") }
            text.append(contentsOf: UTF8.encode(scalar).unsafelyUnwrapped)
        default: throw error("an unknown escape in a string")
        }
    }

    private mutating func hexadecimal() throws(CheckpointError) -> UInt32 {
        guard position + 4 <= bytes.count else { throw error("a string does not end") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
                throw error("four hexadecimal digits are expected")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
