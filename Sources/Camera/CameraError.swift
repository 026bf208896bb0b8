import Glibc

/// What a video device can be wrong about. The daemon and its jobs go on without it.
public enum CameraError: Error, Sendable, Equatable, CustomStringConvertible {
    /// There is no such device, or it was unplugged.
    case gone(String)
    /// Somebody else has it.
    case busy(String)
    /// This process may not open it.
    case denied(String)
    /// It is no device of the kind that is needed, or it answers what no such device may.
    case unsuitable(String, reason: String)
    /// Nothing came, or nothing was taken, for so long.
    case stalled(String, milliseconds: Int)
    /// A call failed for another reason.
    case failed(String, call: String, reason: String)

    /// - Parameter code: a positive `errno`.
    static func from(_ code: Int32, _ call: String, path: String) -> CameraError {
        switch code {
        case ENOENT, ENODEV, ENXIO: .gone(path)
        case EBUSY: .busy(path)
        case EACCES, EPERM: .denied(path)
        case ENOTTY: .unsuitable(path, reason: "it does not know \(call)")
        default: .failed(path, call: call, reason: String(cString: strerror(code)))
        }
    }

    public var description: String {
        switch self {
        case .gone(let path): "\(path): there is no such device, or it was unplugged"
        case .busy(let path): "\(path): another program has it"
        case .denied(let path): "\(path): this process may not open it"
        case .unsuitable(let path, let reason): "\(path): \(reason)"
        case .stalled(let path, let milliseconds): "\(path): nothing for \(milliseconds) ms"
        case .failed(let path, let call, let reason): "\(path): \(call): \(reason)"
        }
    }
}
