/// Why a model folder can't be used, or a network could not finish.
public enum ModelError: Error, Sendable, Equatable {
    /// A file can't be opened or read; `reason` is the system's own words.
    case unreadable(file: String, reason: String)
    /// `field` is the path inside model.json, as in `transformer.num_layers`.
    case invalid(field: String, reason: String)
    /// A file's size is not what model.json says.
    case wrongSize(file: String, bytes: Int, expected: Int)
    /// A safetensors file lacks a tensor, or one has another type or shape than the configuration asks for.
    case checkpoint(file: String, reason: String)
    /// `verify()` found a file whose SHA-256 differs from model.json's.
    case hashMismatch(file: String, found: String, expected: String)
    /// `verify()` found a value that no kernel level promises a result for.
    case badValue(file: String, tensor: String, reason: String)
    /// A text is longer than the tokenizer takes.
    case textTooLong(bytes: Int, limit: Int)
    /// An argument does not fit the model: a latent's shape, a timestep count.
    case shape(String)
    /// An arena was smaller than the work, or could not be had.
    case memory(String)
    /// The work was cancelled between two chunks.
    case cancelled
}

extension ModelError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "\(file) can't be read: \(reason)"
        case .invalid(let field, let reason): "model.json: \(field) \(reason)"
        case .wrongSize(let file, let bytes, let expected):
            "\(file) has \(bytes) bytes where model.json says \(expected)"
        case .checkpoint(let file, let reason): "\(file): \(reason)"
        case .hashMismatch(let file, let found, let expected): "\(file) has SHA-256 \(found), expected \(expected)"
        case .badValue(let file, let tensor, let reason): "\(file): \(tensor) \(reason)"
        case .textTooLong(let bytes, let limit): "the text has \(bytes) bytes, the limit is \(limit)"
        case .shape(let reason), .memory(let reason): reason
        case .cancelled: "cancelled"
        }
    }
}
