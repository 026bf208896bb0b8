import CVideo4Linux
import Glibc
import Media
import Testing
import Video

@testable import Camera

@Suite struct VideoCaptureTests {
    /// Smooth, as conversions between colours of neighbours lose what is not.
    private static let scene = Frame(
        size: .of(64, 48),
        pixels: (0..<64 * 48).flatMap { (place: Int) -> [UInt8] in
            let (x, y) = (UInt8(place % 64), UInt8(place / 64))
            return [40 + x * 2, 60 + y * 3, 120 + x]
        })

    /// A camera that sends `frames` in `format`, of the scene's size whatever is asked for.
    private func camera(
        _ format: UInt32, _ frames: [[UInt8]], line: UInt32 = 0, _ adjust: (inout FakeDriver.State) -> Void = { _ in }
    ) -> FakeDriver {
        FakeDriver {
            $0.capabilities = UInt32(V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING)
            $0.formats = [format]
            $0.frames = frames
            $0.bufferLength = UInt32(frames.map(\.count).max() ?? 0) + 1000
            let length = $0.bufferLength
            $0.format = {
                $0.fmt.pix.pixelformat = format
                ($0.fmt.pix.width, $0.fmt.pix.height) = (64, 48)
                ($0.fmt.pix.bytesperline, $0.fmt.pix.sizeimage) = (line, length)
                return 0
            }
            adjust(&$0)
        }
    }

    private func take(_ driver: FakeDriver, limit: Int = 5000) throws -> Frame {
        var options = VideoCapture.Options(size: .of(64, 48))
        options.timeLimitMilliseconds = limit
        defer {
            // Whatever happens, the camera is closed and its light goes out.
            #expect(
                driver[\FakeDriver.State.opened] == driver[\FakeDriver.State.closed]
                    && !driver[\FakeDriver.State.streaming] && driver[\FakeDriver.State.mapped].isEmpty)
        }
        return try VideoCapture(path: "/dev/video0", options: options, operations: driver.operations).frame()
    }

    private func difference(_ a: Frame, _ b: Frame) -> Int {
        a.size == b.size ? zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0 : .max
    }

    @Test func rgbIsTakenAsItIs() throws {
        let driver = camera(cv_RGB24, [Self.scene.pixels], line: 192)
        #expect(try take(driver) == Self.scene)
        #expect(driver[\FakeDriver.State.sent] == 5, "four frames of a camera that wakes up are let go")
    }

    /// Of cameras with a higher rate than the clip's, the same, and lower ones: which of the frames after the first four.
    @Test(arguments: [
        (30.0, 4, [0, 2, 6, 10]), (8.0, 4, [0, 1, 2, 3]), (3.0, 6, [0, 1, 1, 1, 2, 2]),
        (1.0, 9, [0] + Array(repeating: 1, count: 8)),
    ])
    func aClipKeepsItsOwnTime(_ rate: Double, _ count: Int, _ wanted: [Int]) throws {
        let frames = (0..<40).map { [UInt8](repeating: UInt8($0), count: 64 * 48 * 3) }
        let driver = camera(cv_RGB24, frames, line: 192)
        var operations = driver.operations
        operations.now = { Double(driver[\FakeDriver.State.sent]) / rate }
        var options = VideoCapture.Options(size: .of(64, 48))
        options.timeLimitMilliseconds = 5000
        let clip = try VideoCapture(path: "/dev/video0", options: options, operations: operations)
            .frames(count, fps: 8) { Frame(size: .of(1, 1), pixels: Array($0.pixels.prefix(3))) }
        #expect(clip.map { Int($0.pixels[0]) - 4 } == wanted)
        #expect(clip.allSatisfy { $0.size == .of(1, 1) })
        #expect(driver[\FakeDriver.State.opened] == driver[\FakeDriver.State.closed])
    }

    @Test func yuyvIsConverted() throws {
        let packed = YUYV.pack(Self.scene, bytesPerLine: 128, byteCount: 128 * 48)
        // Its arithmetic is coarse; without the range it would be off by 40.
        #expect(difference(try take(camera(cv_YUYV, [packed], line: 128)), Self.scene) < 20)
    }

    @Test func motionJPEGIsConverted() throws {
        let jpeg = try JPEG.encode(Self.scene, quality: 95)
        #expect(difference(try take(camera(cv_MJPEG, [jpeg])), Self.scene) < 12)
    }

    @Test func darkAndDamagedFramesArePassedOver() throws {
        let black = [UInt8](repeating: 0, count: 64 * 48 * 3)
        let good = Self.scene.pixels
        #expect(try take(camera(cv_RGB24, [black, black, black, black, good], line: 192)) == Self.scene)
        // Cut off: libv4lconvert says no, and the next one is taken.
        let jpeg = try JPEG.encode(Self.scene, quality: 95)
        let cut = Array(jpeg.prefix(20))
        let frames = [jpeg, jpeg, jpeg, jpeg, cut, [], cut, jpeg]
        let driver = camera(cv_MJPEG, frames)
        #expect(difference(try take(driver), Self.scene) < 12)
        #expect(driver[\FakeDriver.State.sent] == 8)
    }

    @Test(arguments: [(ENOENT, CameraError.gone("/dev/video0")), (EBUSY, .busy("/dev/video0"))])
    func whatCannotBeOpened(_ code: Int32, _ wanted: CameraError) {
        #expect(throws: wanted) { try take(camera(cv_RGB24, []) { $0.openError = code }) }
    }

    @Test func busyOnlyWhenItIsToStream() {
        // As UVC cameras that another program reads: they open, and refuse the format.
        let driver = camera(cv_YUYV, [])
        // The question is answered (TRY_FMT), the order (S_FMT) is not.
        var operations = driver.operations
        let plain = operations.ioctl
        operations.ioctl = { $1 == cv_S_FMT ? -EBUSY : plain($0, $1, $2) }
        let options = VideoCapture.Options(size: .of(64, 48))
        #expect(throws: CameraError.busy("/dev/video0")) {
            try VideoCapture(path: "/dev/video0", options: options, operations: operations).frame()
        }
        #expect(driver[\FakeDriver.State.opened] == 1 && driver[\FakeDriver.State.closed] == 1)
    }

    @Test func anOutputIsNoCamera() {
        let driver = FakeDriver()
        #expect(throws: CameraError.unsuitable("/dev/video0", reason: "it is not a camera")) { try take(driver) }
    }

    @Test func aCameraThatStallsIsGivenUp() {
        let driver = camera(cv_RGB24, [Self.scene.pixels], line: 192) { $0.polls = [1, 1, 0] }
        #expect(throws: CameraError.stalled("/dev/video0", milliseconds: 700)) { try take(driver, limit: 700) }
        #expect(driver[\FakeDriver.State.clock] <= 0.8)
        // One that is always ready and never has anything.
        let liar = camera(cv_RGB24, [])
        #expect(throws: CameraError.stalled("/dev/video0", milliseconds: 700)) { try take(liar, limit: 700) }
        #expect(liar[\FakeDriver.State.pollCount] <= 100)
    }

    @Test func unpluggedInTheMiddle() {
        let driver = camera(cv_RGB24, [Self.scene.pixels], line: 192) { $0.dequeue = { _ in ENODEV } }
        #expect(throws: CameraError.gone("/dev/video0")) { try take(driver) }
        let hung = camera(cv_RGB24, []) { $0.polls = [Int32(POLLERR | POLLHUP)] }
        #expect(throws: CameraError.gone("/dev/video0")) { try take(hung) }
    }

    /// Sizes, lines and frames that would have run out of a buffer.
    @Test(arguments: [
        (0, 48, 192, 9216), (5000, 48, 15_000, 720_000), (4096, 4097, 0, 0), (64, 48, 1 << 20, 9216),
        (64, 48, 192, Int(UInt32.max)), (Int(UInt32.max), Int(UInt32.max), 0, 0),
    ])
    func absurdFormats(_ width: Int, _ height: Int, _ line: Int, _ bytes: Int) throws {
        let driver = camera(cv_YUYV, [Self.scene.pixels]) {
            $0.format = {
                ($0.fmt.pix.width, $0.fmt.pix.height) = (UInt32(width), UInt32(height))
                ($0.fmt.pix.bytesperline, $0.fmt.pix.sizeimage) = (UInt32(line), UInt32(bytes))
                $0.fmt.pix.pixelformat = cv_YUYV
                return 0
            }
        }
        let error = #expect(throws: CameraError.self) { try take(driver) }
        guard case .unsuitable("/dev/video0", _) = error else { throw Unexpected(error) }
    }

    @Test func absurdBuffers() throws {
        let lies: [(String, (inout FakeDriver.State) -> Void)] = [
            ("gives 0 buffers", { $0.buffers = 0 }), ("gives 4000000000 buffers", { $0.buffers = 4_000_000_000 }),
            ("buffers of 4294967295 bytes", { $0.bufferLength = .max }),
            ("buffers of 0 bytes", { $0.bufferLength = 0 }),
            (
                "fills buffer 77 of 4",
                {
                    $0.dequeue = {
                        $0.index = 77
                        return 0
                    }
                }
            ),
            (
                "bytes into a buffer of",
                {
                    $0.dequeue = {
                        $0.bytesused = .max
                        return 0
                    }
                }
            ),
        ]
        for (words, lie) in lies {
            let error = #expect(throws: CameraError.self) {
                try take(camera(cv_RGB24, [Self.scene.pixels], line: 192, lie))
            }
            #expect(error.map { "\($0)".contains(words) } == true, "\(words): \(String(describing: error))")
        }
    }

    /// Lines that are longer than what came: the converter reads our zeros, not somebody's memory.
    @Test func aFrameShorterThanItsLinesSay() throws {
        let packed = YUYV.pack(Self.scene, bytesPerLine: 128, byteCount: 128 * 48)
        let driver = camera(cv_YUYV, [packed], line: 4200)
        let frame = try? take(driver, limit: 1000)
        #expect(frame == nil || frame?.size == .of(64, 48))
    }

    @Test func changesItsMindBetweenTryingAndSetting() throws {
        let scene = Self.scene
        let driver = camera(cv_RGB24, [scene.pixels], line: 192)
        var operations = driver.operations
        let plain = operations.ioctl
        operations.ioctl = { (descriptor: Int32, request: UInt, argument: UnsafeMutableRawPointer) -> Int32 in
            guard request == cv_TRY_FMT else { return plain(descriptor, request, argument) }
            let format = argument.assumingMemoryBound(to: v4l2_format.self)
            (format.pointee.fmt.pix.width, format.pointee.fmt.pix.height) = (32, 24)
            format.pointee.fmt.pix.pixelformat = cv_RGB24
            return 0
        }
        let options = VideoCapture.Options(size: .of(64, 48))
        #expect(
            try VideoCapture(path: "/dev/video0", options: options, operations: operations).frame() == scene)
    }
}
