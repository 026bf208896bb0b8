/// Why a checkpoint, or a layer of one, was refused. `file` is the path as it was opened.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
    case file(MappedFileError)
    /// The file ends before its own header does.
    case tooShort(file: String, bytes: Int, needed: String)
    case headerTooLong(file: String, bytes: UInt64, limit: Int)
    /// The header is not the JSON that safetensors defines; `offset` counts from its first byte.
    case header(file: String, offset: Int, reason: String)
    case tooManyTensors(file: String, limit: Int)
    case duplicate(file: String, tensor: String)
    case shape(file: String, tensor: String, reason: String)
    case byteCount(file: String, tensor: String, type: ElementType, shape: [Int], bytes: Int)
    case outOfRange(file: String, tensor: String, end: Int, limit: Int)
    case overlap(file: String, tensor: String, other: String)
    /// Bytes of the data that no tensor owns.
    case hole(file: String, offset: Int, end: Int)
    case misaligned(file: String, tensor: String, offset: Int, alignment: Int)
    case missing(file: String, tensor: String)
    case wrongType(file: String, tensor: String, type: ElementType, expected: ElementType)
    case wrongShape(file: String, tensor: String, shape: [Int], expected: [Int])
    /// Int8 kernels read up to 64 bytes past their weights.
    case noSlack(file: String, tensor: String, bytes: Int)
    case limit(file: String, layer: String, field: String, value: Int, allowed: String)
    /// An int8 weight of -128: it has no negative, so levels would differ.
    case minimumWeight(file: String, tensor: String, element: Int)
    /// What a number of a layer may not be.
    case badNumber(file: String, tensor: String, value: Float, allowed: String)
    /// The file is not the one that was mapped any more.
    case changed(file: String)

    public var description: String {
        switch self {
        case .file(let error): error.description
        case .tooShort(let file, let bytes, let needed): "\(file): \(bytes) bytes are too few for \(needed)"
        case .headerTooLong(let file, let bytes, let limit):
            "\(file): the header has \(bytes) bytes, the limit is \(limit)"
        case .header(let file, let offset, let reason): "\(file): header, byte \(offset): \(shown(reason))"
        case .tooManyTensors(let file, let limit): "\(file): more tensors than the limit of \(limit)"
        case .duplicate(let file, let tensor): "\(file): tensor '\(shown(tensor))' is there twice"
        case .shape(let file, let tensor, let reason): "\(file): tensor '\(shown(tensor))': \(shown(reason))"
        case .byteCount(let file, let tensor, let type, let shape, let bytes):
            "\(file): tensor '\(shown(tensor))': \(type) \(shape) does not take the \(bytes) bytes of its data_offsets"
        case .outOfRange(let file, let tensor, let end, let limit):
            "\(file): tensor '\(shown(tensor))' ends at byte \(end) of the data, which has \(limit)"
        case .overlap(let file, let tensor, let other):
            "\(file): tensor '\(shown(tensor))' overlaps '\(shown(other))'"
        case .hole(let file, let offset, let end): "\(file): bytes \(offset)..<\(end) of the data belong to no tensor"
        case .misaligned(let file, let tensor, let offset, let alignment):
            "\(file): tensor '\(shown(tensor))' starts at byte \(offset) of the file, not a multiple of \(alignment);"
                + " convert the folder with `Quantization convert`"
        case .missing(let file, let tensor): "\(file): there is no tensor '\(shown(tensor))'"
        case .wrongType(let file, let tensor, let type, let expected):
            "\(file): tensor '\(shown(tensor))' is \(shown(type.description)), expected \(expected)"
        case .wrongShape(let file, let tensor, let shape, let expected):
            "\(file): tensor '\(shown(tensor))' has shape \(shape), expected \(expected)"
        case .noSlack(let file, let tensor, let bytes):
            "\(file): \(bytes) bytes follow tensor '\(shown(tensor))', at least 64 are needed (a filler tensor)"
        case .limit(let file, let layer, let field, let value, let allowed):
            "\(file): layer '\(shown(layer))': \(field) is \(value), allowed is \(allowed)"
        case .minimumWeight(let file, let tensor, let element):
            "\(file): tensor '\(shown(tensor))' holds -128 at element \(element); weights are -127...127"
        case .badNumber(let file, let tensor, let value, let allowed):
            "\(file): tensor '\(shown(tensor))' holds \(value), allowed is \(allowed)"
        case .changed(let file): "\(file): the file was changed or cut after it was opened"
        }
    }
}

/// A name out of a hostile file, fit for one line of a journal.
private func shown(_ name: String) -> String {
    let printable = String(
        String.UnicodeScalarView(name.unicodeScalars.prefix(256).map { $0.properties.isPrintable ? $0 : "?" }))
    return name.unicodeScalars.count > 256 ? printable + "…" : printable
}

extension Unicode.Scalar.Properties {
    fileprivate var isPrintable: Bool {
        switch generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
}
