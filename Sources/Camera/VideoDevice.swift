internal import CVideo4Linux
import Glibc

/// An open V4L2 node. What the driver answers is believed by nobody: who uses it checks every number.
final class VideoDevice {
    let path: String
    let operations: DeviceOperations
    let descriptor: Int32

    /// Opens `path` and asks what it can; throws when it can't do all of `needed`, `V4L2_CAP_…` of the node.
    static func open(
        _ path: String, needed: UInt32, purpose: String, operations: DeviceOperations
    ) throws(CameraError) -> VideoDevice {
        let descriptor = operations.open(path)
        guard descriptor >= 0 else { throw .from(-descriptor, "open", path: path) }
        let device = VideoDevice(path, operations, descriptor)
        var answer = v4l2_capability()
        try device.call("VIDIOC_QUERYCAP", cv_QUERYCAP, &answer)
        // Of this node where the driver tells it, else of the whole device.
        let own = answer.capabilities & cv_CAP_DEVICE_CAPS != 0 ? answer.device_caps : answer.capabilities
        guard own & needed == needed else { throw .unsuitable(path, reason: "it is not \(purpose)") }
        return device
    }

    private init(_ path: String, _ operations: DeviceOperations, _ descriptor: Int32) {
        self.path = path
        self.operations = operations
        self.descriptor = descriptor
    }

    deinit { operations.close(descriptor) }

    /// An ioctl that is tried again when a signal cuts it.
    func call<Argument>(_ name: String, _ request: UInt, _ argument: inout Argument) throws(CameraError) {
        let code = attempt(request, &argument)
        guard code == 0 else { throw .from(code, name, path: path) }
    }

    /// 0, or a positive `errno`.
    func attempt<Argument>(_ request: UInt, _ argument: inout Argument) -> Int32 {
        var code: Int32
        repeat {
            code = withUnsafeMutablePointer(to: &argument) { operations.ioctl(descriptor, request, $0) }
        } while code == -EINTR
        return -code
    }
}

/// A pixel format's four letters, as `YUYV`.
func letters(of format: UInt32) -> String {
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: format >> ($0 * 8)) }
    guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { return "0x" + String(format, radix: 16) }
    return String(decoding: bytes, as: UTF8.self)
}
