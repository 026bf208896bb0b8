internal import CVideo4Linux
import Glibc
import Media
import Video

/// An open node that takes frames, as v4l2loopback's: YUYV if it wants that, else Motion JPEG.
public final class VideoOutput {
    public enum Pixels: String, Sendable {
        /// Packed 4:2:2, BT.601 in the limited range: what every camera program reads.
        case yuyv = "YUYV"
        case motionJPEG = "MJPG"
    }

    /// What the node has agreed to.
    public struct Format: Sendable, Equatable {
        public var pixels: Pixels
        public var size: Size
        /// Of YUYV, from one line to the next.
        public var bytesPerLine: Int
        /// Of one frame: exactly so many of YUYV, at most so many of a JPEG.
        public var frameBytes: Int
    }

    /// What became of a frame.
    public enum Outcome: Sendable, Equatable {
        case sent
        /// The node had no room for it within the time limit; nothing of it was written.
        case notReady
    }

    /// Bytes of a frame that a driver may ask for.
    static let mostFrameBytes = 64 << 20

    public let format: Format
    private let device: VideoDevice

    /// Opens the node and agrees on a format. The driver may choose another size; frames are brought to it.
    public init(
        path: String, size: Size, fps: Int, operations: DeviceOperations = .libv4l2
    ) throws(CameraError) {
        let device = try VideoDevice.open(
            path, needed: cv_CAP_OUTPUT | cv_CAP_READWRITE, purpose: "a video output that takes written frames",
            operations: operations)
        format = try Self.negotiate(device, size)
        Self.setRate(device, fps)
        self.device = device
    }

    private static func negotiate(_ device: VideoDevice, _ size: Size) throws(CameraError) -> Format {
        var refused: CameraError?
        for pixels in [Pixels.yuyv, .motionJPEG] {
            var answer = v4l2_format()
            answer.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
            answer.fmt.pix.width = UInt32(size.width)
            answer.fmt.pix.height = UInt32(size.height)
            answer.fmt.pix.pixelformat = pixels == .yuyv ? cv_YUYV : cv_MJPEG
            answer.fmt.pix.field = V4L2_FIELD_NONE.rawValue
            answer.fmt.pix.bytesperline = pixels == .yuyv ? UInt32(size.width + 1) / 2 * 4 : 0
            // A JPEG of noise is larger than its pixels.
            answer.fmt.pix.sizeimage = UInt32(size.pixels) * (pixels == .yuyv ? 2 : 4) + 4096
            answer.fmt.pix.colorspace = V4L2_COLORSPACE_SRGB.rawValue
            answer.fmt.pix.ycbcr_enc = V4L2_YCBCR_ENC_601.rawValue
            answer.fmt.pix.quantization =
                pixels == .yuyv ? V4L2_QUANTIZATION_LIM_RANGE.rawValue : V4L2_QUANTIZATION_FULL_RANGE.rawValue
            switch device.attempt(cv_S_FMT, &answer) {
            case 0: break
            case EINVAL: continue
            case let code:
                refused = .from(code, "VIDIOC_S_FMT", path: device.path)
                // It is gone, or somebody else's: another format would not help.
                if code != ENOTTY { throw .from(code, "VIDIOC_S_FMT", path: device.path) }
                continue
            }
            // A node that keeps its format answers with that, whatever was asked for.
            switch answer.fmt.pix.pixelformat {
            case cv_YUYV: return try checked(answer.fmt.pix, .yuyv, device.path)
            case cv_MJPEG: return try checked(answer.fmt.pix, .motionJPEG, device.path)
            case let other: refused = .unsuitable(device.path, reason: "it takes \(letters(of: other)) only")
            }
        }
        throw refused ?? .unsuitable(device.path, reason: "it takes neither YUYV nor MJPG")
    }

    private static func checked(
        _ answer: v4l2_pix_format, _ pixels: Pixels, _ path: String
    ) throws(CameraError) -> Format {
        guard let size = Size(width: Int(answer.width), height: Int(answer.height)) else {
            throw .unsuitable(
                path, reason: "it wants \(answer.width)x\(answer.height); sides are 1 to \(Size.maximumSide)")
        }
        var (line, bytes) = (Int(answer.bytesperline), Int(answer.sizeimage))
        guard bytes <= mostFrameBytes else {
            throw .unsuitable(path, reason: "it wants frames of \(bytes) bytes; the limit is \(mostFrameBytes)")
        }
        if pixels == .yuyv {
            let least = (size.width + 1) / 2 * 4
            if line == 0 { line = least }
            guard line >= least, line * size.height <= mostFrameBytes else {
                throw .unsuitable(path, reason: "it wants lines of \(line) bytes for \(size) in YUYV")
            }
            // Some drivers leave it out, or count as if lines had no padding.
            bytes = max(bytes, line * size.height)
        } else {
            line = 0
            // Nothing said: as much as the pixels would take.
            if bytes == 0 { bytes = size.pixels * 2 }
        }
        return Format(pixels: pixels, size: size, bytesPerLine: line, frameBytes: bytes)
    }

    /// Only tells consumers what to expect; the frames themselves keep the time.
    private static func setRate(_ device: VideoDevice, _ fps: Int) {
        var parameters = v4l2_streamparm()
        parameters.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
        parameters.parm.output.timeperframe = v4l2_fract(numerator: 1, denominator: UInt32(max(1, fps)))
        _ = device.attempt(cv_S_PARM, &parameters)
    }

    /// The bytes of one frame as the node takes them, from a JPEG: as it is where it fits, else decoded, brought to size and
    /// put together again.
    public func packet(_ jpeg: [UInt8]) throws(MediaError) -> [UInt8] {
        if format.pixels == .motionJPEG, jpeg.count <= format.frameBytes, try JPEG.size(of: jpeg) == format.size {
            return jpeg
        }
        let frame = try JPEG.decode(jpeg).resampled(to: format.size)
        switch format.pixels {
        case .yuyv: return YUYV.pack(frame, bytesPerLine: format.bytesPerLine, byteCount: format.frameBytes)
        case .motionJPEG:
            for quality in [95, 85, 60, 30] {
                let bytes = try JPEG.encode(frame, quality: quality, subsampling: .quarter)
                if bytes.count <= format.frameBytes { return bytes }
            }
            throw .tooLarge("a JPEG of \(format.size) in \(format.frameBytes) bytes")
        }
    }

    /// Writes one frame, waiting at most so long for room. Throws when the node is gone, and when it stops in the middle of a
    /// frame: what would follow belonged to no frame, so it must be opened again.
    public func write(_ packet: [UInt8], atMost milliseconds: Int) throws(CameraError) -> Outcome {
        let deadline = device.operations.now() + Double(milliseconds) / 1000
        var done = 0
        var promises = 0
        while done < packet.count {
            let count = packet.withUnsafeBytes {
                device.operations.write(device.descriptor, UnsafeRawBufferPointer(rebasing: $0[done...]))
            }
            if count > packet.count - done {
                throw .unsuitable(device.path, reason: "it took \(count) of \(packet.count - done) bytes")
            }
            if count > 0 {
                done += count
                promises = 0
                continue
            }
            if count == -Int(EINTR) { continue }
            guard count == 0 || count == -Int(EAGAIN) else {
                throw .from(Int32(-count), "write", path: device.path)
            }
            let left = Int32(max(0, (deadline - device.operations.now()) * 1000))
            // A driver that says "ready" and takes nothing would keep a processor busy.
            let events =
                left == 0 || promises == 3 ? 0 : device.operations.poll(device.descriptor, Int16(POLLOUT), left)
            if events == -EINTR { continue }
            guard events >= 0 else { throw .from(-events, "poll", path: device.path) }
            if events & Int32(POLLOUT) != 0 {
                promises += 1
                continue
            }
            if events & Int32(POLLHUP | POLLNVAL) != 0 { throw .gone(device.path) }
            // POLLERR alone: the next write would say why; without room it says EAGAIN again, at once and for ever.
            if done == 0 { return .notReady }
            throw .stalled(device.path, milliseconds: milliseconds)
        }
        return .sent
    }
}
