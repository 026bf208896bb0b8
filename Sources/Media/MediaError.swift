public enum MediaError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A library refused; `reason` is its own words.
    case codec(String, reason: String)
    /// Bytes that are not what they should be.
    case malformed(String)
    /// More pixels, frames or bytes than this program takes.
    case tooLarge(String)
    /// A kind of file that is not read here.
    case unsupported(String)
    /// Frames of different sizes, or none.
    case frames(String)

    public var description: String {
        switch self {
        case .codec(let name, let reason): "\(name): \(reason)"
        case .malformed(let what): what
        case .tooLarge(let what): what
        case .unsupported(let what): what
        case .frames(let what): what
        }
    }
}
