internal import CVideo4Linux
import Glibc
import Media
import Video

/// One picture from a V4L2 camera, or a few in a row, in whatever format it speaks, converted by libv4lconvert. The device is open only for as long
/// as that takes.
public struct VideoCapture: Sendable {
    public struct Options: Sendable {
        /// What the camera is asked for; it answers with the nearest it has.
        public var size: Size
        /// Frames that are let go first: most cameras' first ones are dark.
        public var warmUp = 4
        /// For all of it, opening included.
        public var timeLimitMilliseconds = 5000

        public init(size: Size) { self.size = size }
    }

    /// Bytes of a frame as a driver may give it.
    static let mostFrameBytes = 64 << 20

    private let path: String
    private let options: Options
    private let operations: DeviceOperations

    public init(path: String, options: Options, operations: DeviceOperations = .libv4l2) {
        self.path = path
        self.options = options
        self.operations = operations
    }

    /// Blocks the calling thread for at most about the time limit.
    public func frame() throws(CameraError) -> Frame {
        guard let frame = try frames(1, fps: 1, keeping: { $0 }).first else { throw .gone(path) }
        return frame
    }

    /// Pictures for a video of `fps` frames a second, whatever rate the camera has: of one that is faster frames are let go, of
    /// one that is slower a frame stands for those that it missed. Blocks for at most about the time limit and their length.
    ///
    /// - Parameter keep: what is kept of a frame, so that large ones don't pile up.
    public func frames(_ count: Int, fps: Int, keeping keep: (Frame) -> Frame) throws(CameraError) -> [Frame] {
        let limit = options.timeLimitMilliseconds + (count - 1) * 1000 / fps
        let deadline = operations.now() + Double(limit) / 1000
        let device = try VideoDevice.open(
            path, needed: cv_CAP_CAPTURE | cv_CAP_STREAMING, purpose: "a camera", operations: operations)
        let converter = try Converter(device)
        var formats = try converter.formats(options.size)
        try device.call("VIDIOC_S_FMT", cv_S_FMT, &formats.source)
        let size = try converter.settle(&formats)
        let stream = try CaptureStream(device)
        var dark = options.warmUp
        var start: Double?
        var frames: [Frame] = []
        while frames.count < count {
            let raw = try stream.next(until: deadline, limit: limit)
            guard !raw.isEmpty else { continue }
            guard dark == 0 else {
                dark -= 1
                continue
            }
            let now = operations.now()
            // Nearest to its place in time, so that a camera of the same rate gives each frame once.
            let due = min(count, Int((now - (start ?? now)) * Double(fps) + 0.5) + 1)
            guard due > frames.count else { continue }
            // After a damaged frame comes another.
            guard let frame = converter.convert(raw, formats, size).map(keep) else { continue }
            start = start ?? now
            frames += Array(repeating: frame, count: due - frames.count)
        }
        return frames
    }
}

/// libv4lconvert for one device, whose questions to the driver go through the same operations.
private final class Converter {
    struct Formats {
        /// As the driver sends it, and as it is converted to: RGB, 8 bits.
        var source: v4l2_format
        var wanted: v4l2_format
    }

    private final class Calls {
        let ioctl: @Sendable (Int32, UInt, UnsafeMutableRawPointer) -> Int32
        init(_ ioctl: @escaping @Sendable (Int32, UInt, UnsafeMutableRawPointer) -> Int32) { self.ioctl = ioctl }
    }

    private let path: String
    private let data: OpaquePointer
    private let table: UnsafeMutablePointer<libv4l_dev_ops>
    private let calls: Unmanaged<Calls>

    init(_ device: VideoDevice) throws(CameraError) {
        path = device.path
        table = .allocate(capacity: 1)
        table.initialize(to: libv4l_dev_ops())
        table.pointee.ioctl = { calls, descriptor, request, argument in
            guard let calls, let argument else {
                errno = EINVAL
                return -1
            }
            let code = Unmanaged<Calls>.fromOpaque(calls).takeUnretainedValue().ioctl(descriptor, request, argument)
            guard code < 0 else { return 0 }
            errno = -code
            return -1
        }
        // It takes frames from nobody but us.
        table.pointee.read = { _, _, _, _ in
            errno = ENOTSUP
            return -1
        }
        table.pointee.write = { _, _, _, _ in
            errno = ENOTSUP
            return -1
        }
        calls = Unmanaged.passRetained(Calls(device.operations.ioctl))
        guard let data = v4lconvert_create_with_dev_ops(device.descriptor, calls.toOpaque(), table) else {
            calls.release()
            table.deallocate()
            throw .failed(device.path, call: "libv4lconvert", reason: "no memory")
        }
        self.data = data
    }

    deinit {
        v4lconvert_destroy(data)
        calls.release()
        table.deallocate()
    }

    /// What to ask the driver for so that RGB of about `size` comes of it.
    func formats(_ size: Size) throws(CameraError) -> Formats {
        var formats = Formats(source: v4l2_format(), wanted: Self.rgb(size))
        let code = v4lconvert_try_format(data, &formats.wanted, &formats.source)
        guard code == 0 else {
            let code = errno
            throw code == EINVAL || code == 0
                ? .unsuitable(path, reason: "it has no format that could be converted")
                : .from(code, "VIDIOC_TRY_FMT", path: path)
        }
        _ = try check(formats.source)
        return formats
    }

    /// After VIDIOC_S_FMT, which may have changed anything.
    func settle(_ formats: inout Formats) throws(CameraError) -> Size {
        let size = try check(formats.source)
        formats.wanted = Self.rgb(size)
        return size
    }

    private static func rgb(_ size: Size) -> v4l2_format {
        var format = v4l2_format()
        format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        format.fmt.pix.width = UInt32(size.width)
        format.fmt.pix.height = UInt32(size.height)
        format.fmt.pix.pixelformat = cv_RGB24
        format.fmt.pix.field = V4L2_FIELD_NONE.rawValue
        v4lconvert_fixup_fmt(&format)
        return format
    }

    private func check(_ format: v4l2_format) throws(CameraError) -> Size {
        let pixels = format.fmt.pix
        guard let size = Size(width: Int(pixels.width), height: Int(pixels.height)),
            size.pixels <= Picture.maximumPixels
        else {
            throw .unsuitable(
                path,
                reason: "it sends \(pixels.width)x\(pixels.height); the limits are \(Picture.maximumPixels) pixels and "
                    + "\(Size.maximumSide) a side")
        }
        // 4 bytes a pixel, and lines padded to a page.
        guard Int(pixels.bytesperline) <= size.width * 4 + 4096,
            Int(pixels.sizeimage) <= VideoCapture.mostFrameBytes
        else {
            throw .unsuitable(
                path,
                reason: "it sends lines of \(pixels.bytesperline) and frames of \(pixels.sizeimage) bytes for \(size)")
        }
        return size
    }

    /// `nil` for a frame that is damaged.
    func convert(_ raw: [UInt8], _ formats: Formats, _ size: Size) -> Frame? {
        let count = raw.count
        // The library believes the format's lines, whatever came; what it reads beyond the frame is ours, and zero.
        let lines = max(Int(formats.source.fmt.pix.bytesperline), size.width * 4) * (size.height + 2)
        var raw = raw + [UInt8](repeating: 0, count: max(4096, lines * 2 - count))
        var (source, wanted) = (formats.source, formats.wanted)
        var pixels = [UInt8](repeating: 0, count: size.pixels * 3)
        let written = raw.withUnsafeMutableBufferPointer { raw in
            pixels.withUnsafeMutableBufferPointer {
                v4lconvert_convert(
                    data, &source, &wanted, raw.baseAddress, Int32(count), $0.baseAddress, Int32($0.count))
            }
        }
        guard written == pixels.count else { return nil }
        if Self.isLimited(formats.source.fmt.pix) {
            for place in pixels.indices { pixels[place] = Self.stretched[Int(pixels[place])] }
        }
        return Frame(size: size, pixels: pixels)
    }

    /// libv4lconvert takes luma for 0...255 whatever the driver says; cameras send 16...235, unless it is a JPEG's.
    private static func isLimited(_ format: v4l2_pix_format) -> Bool {
        limitedFormats.contains(format.pixelformat) && format.quantization != V4L2_QUANTIZATION_FULL_RANGE.rawValue
    }

    private static let limitedFormats: Set<UInt32> = Set(
        ["YUYV", "YVYU", "UYVY", "VYUY", "YU12", "YV12", "NV12", "NV21", "NV16", "NV61", "422P"].map { name in
            name.utf8.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        })

    private static let stretched = (0..<256).map { (value: Int) -> UInt8 in
        let wide = ((value - 16) * 255 + 109) / 219
        return UInt8(min(255, max(0, wide)))
    }
}

/// Buffers of the driver's memory that it fills in turn; given back at the end.
private final class CaptureStream {
    private let device: VideoDevice
    private var maps: [(start: UnsafeMutableRawPointer, length: Int)] = []
    private var streaming = false

    init(_ device: VideoDevice) throws(CameraError) {
        self.device = device
        var request = v4l2_requestbuffers()
        request.count = 4
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        request.memory = V4L2_MEMORY_MMAP.rawValue
        try device.call("VIDIOC_REQBUFS", cv_REQBUFS, &request)
        guard (1...32).contains(request.count) else {
            throw .unsuitable(device.path, reason: "it gives \(request.count) buffers")
        }
        for index in 0..<request.count {
            var buffer = Self.buffer(index)
            try device.call("VIDIOC_QUERYBUF", cv_QUERYBUF, &buffer)
            let length = Int(buffer.length)
            guard (1...VideoCapture.mostFrameBytes).contains(length) else {
                throw .unsuitable(device.path, reason: "it gives buffers of \(length) bytes")
            }
            guard let start = device.operations.map(device.descriptor, length, Int(buffer.m.offset)) else {
                throw .failed(device.path, call: "mmap", reason: "the driver's memory can't be had")
            }
            maps.append((start, length))
        }
        for index in 0..<request.count {
            var buffer = Self.buffer(index)
            try device.call("VIDIOC_QBUF", cv_QBUF, &buffer)
        }
        var type = Int32(V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue)
        try device.call("VIDIOC_STREAMON", cv_STREAMON, &type)
        streaming = true
    }

    deinit {
        if streaming {
            var type = Int32(V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue)
            _ = device.attempt(cv_STREAMOFF, &type)
        }
        for map in maps { device.operations.unmap(map.start, map.length) }
    }

    private static func buffer(_ index: UInt32) -> v4l2_buffer {
        var buffer = v4l2_buffer()
        buffer.index = index
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        buffer.memory = V4L2_MEMORY_MMAP.rawValue
        return buffer
    }

    /// A copy of the next frame; empty for one that the driver itself calls damaged.
    func next(until deadline: Double, limit milliseconds: Int) throws(CameraError) -> [UInt8] {
        var promises = 0
        while true {
            let left = (deadline - device.operations.now()) * 1000
            guard left > 0 else { throw .stalled(device.path, milliseconds: milliseconds) }
            let events = device.operations.poll(device.descriptor, Int16(POLLIN), Int32(left.rounded(.up)))
            if events == -EINTR { continue }
            guard events >= 0 else { throw .from(-events, "poll", path: device.path) }
            if events == 0 { throw .stalled(device.path, milliseconds: milliseconds) }
            var buffer = Self.buffer(0)
            let code = device.attempt(cv_DQBUF, &buffer)
            if code == EAGAIN {
                if events & Int32(POLLERR | POLLHUP | POLLNVAL) != 0 { throw .gone(device.path) }
                // A driver that says "ready" and has nothing would keep a processor busy.
                promises += 1
                guard promises < 100 else { throw .stalled(device.path, milliseconds: milliseconds) }
                continue
            }
            guard code == 0 else { throw .from(code, "VIDIOC_DQBUF", path: device.path) }
            guard Int(buffer.index) < maps.count else {
                throw .unsuitable(device.path, reason: "it fills buffer \(buffer.index) of \(maps.count)")
            }
            let map = maps[Int(buffer.index)]
            guard Int(buffer.bytesused) <= map.length else {
                throw .unsuitable(
                    device.path, reason: "it has put \(buffer.bytesused) bytes into a buffer of \(map.length)")
            }
            let isDamaged = buffer.flags & cv_BUFFER_ERROR != 0
            let bytes =
                isDamaged
                ? [] : Array(UnsafeRawBufferPointer(start: map.start, count: Int(buffer.bytesused)))
            let again = device.attempt(cv_QBUF, &buffer)
            guard again == 0 else { throw .from(again, "VIDIOC_QBUF", path: device.path) }
            return bytes
        }
    }
}
