import CVideo4Linux
import Glibc
import Media
import Testing
import Video

@testable import Camera

@Suite struct VideoOutputTests {
    private static let frame = picture(8, 6)

    private func open(_ driver: FakeDriver, _ size: Size = .of(8, 6), fps: Int = 8) throws -> VideoOutput {
        try VideoOutput(path: "/dev/video9", size: size, fps: fps, operations: driver.operations)
    }

    @Test func aNodeThatTakesAnythingGetsYUYV() throws {
        let driver = FakeDriver()
        let output = try open(driver)
        #expect(output.format.pixels == .yuyv && output.format.size == .of(8, 6))
        #expect(output.format.bytesPerLine == 16 && driver[\.rate] == 8)
        let jpeg = try JPEG.encode(Self.frame, quality: 95, subsampling: .full)
        let packet = try output.packet(jpeg)
        #expect(try packet == YUYV.pack(JPEG.decode(jpeg), bytesPerLine: 16, byteCount: output.format.frameBytes))
        #expect(try output.write(packet, atMost: 100) == .sent)
        #expect(driver[\.written] == [packet])
    }

    @Test func aNodeThatRefusesYUYVGetsTheStoredJPEGsAsTheyAre() throws {
        let driver = FakeDriver {
            $0.format = { $0.fmt.pix.pixelformat == cv_YUYV ? EINVAL : 0 }
        }
        let output = try open(driver)
        #expect(output.format.pixels == .motionJPEG)
        let jpeg = try JPEG.encode(Self.frame, quality: 95, subsampling: .full)
        #expect(try output.packet(jpeg) == jpeg)
    }

    @Test func aNodeThatKeepsItsFormatIsObeyed() throws {
        let driver = FakeDriver {
            $0.format = {
                $0.fmt.pix.pixelformat = cv_MJPEG
                ($0.fmt.pix.width, $0.fmt.pix.height, $0.fmt.pix.sizeimage) = (32, 16, 4000)
                return 0
            }
        }
        let output = try open(driver)
        #expect(output.format == .init(pixels: .motionJPEG, size: .of(32, 16), bytesPerLine: 0, frameBytes: 4000))
        let packet = try output.packet(JPEG.encode(Self.frame, quality: 95))
        #expect(try JPEG.size(of: packet) == .of(32, 16))
    }

    @Test func aJPEGThatIsTooLargeIsMadeSmaller() throws {
        let driver = FakeDriver {
            $0.format = {
                guard $0.fmt.pix.pixelformat == cv_MJPEG else { return EINVAL }
                $0.fmt.pix.sizeimage = 2500
                return 0
            }
        }
        let output = try open(driver, .of(64, 48))
        let jpeg = try JPEG.encode(picture(64, 48), quality: 100, subsampling: .full)
        let packet = try output.packet(jpeg)
        #expect(jpeg.count > 2500 && packet.count <= 2500)
        #expect(try JPEG.decode(packet).size == .of(64, 48))
    }

    @Test func anotherSizeAndPaddedLinesAreTheDrivers() throws {
        let driver = FakeDriver {
            $0.format = {
                ($0.fmt.pix.width, $0.fmt.pix.height) = (10, 4)
                ($0.fmt.pix.bytesperline, $0.fmt.pix.sizeimage) = (64, 300)
                return 0
            }
        }
        let output = try open(driver)
        #expect(output.format == .init(pixels: .yuyv, size: .of(10, 4), bytesPerLine: 64, frameBytes: 300))
        let jpeg = try JPEG.encode(Self.frame, quality: 95, subsampling: .full)
        let packet = try output.packet(jpeg)
        let tight = try YUYV.pack(
            JPEG.decode(jpeg).resampled(to: .of(10, 4)), bytesPerLine: 20, byteCount: 80)
        #expect(packet.count == 300)
        for row in 0..<4 {
            #expect(packet[row * 64..<row * 64 + 20] == tight[row * 20..<row * 20 + 20])
            #expect(packet[row * 64 + 20..<row * 64 + 64].allSatisfy { $0 == 0 })
        }
    }

    /// What no honest driver says; each would have overrun a buffer, or divided by zero.
    @Test(arguments: [
        (0, 48, 16, 768), (5000, 48, 10_000, 480_000), (8, 0, 16, 96), (8, 6, 4, 96),
        (4096, 4096, 1 << 30, 1 << 25), (8, 6, 16, Int(UInt32.max)), (Int(UInt32.max), Int(UInt32.max), 0, 0),
    ])
    func hostileFormatsAreRefused(_ width: Int, _ height: Int, _ line: Int, _ bytes: Int) throws {
        let driver = FakeDriver {
            $0.format = {
                ($0.fmt.pix.width, $0.fmt.pix.height) = (UInt32(width), UInt32(height))
                ($0.fmt.pix.bytesperline, $0.fmt.pix.sizeimage) = (UInt32(line), UInt32(bytes))
                return 0
            }
        }
        let error = #expect(throws: CameraError.self) { try open(driver) }
        guard case .unsuitable("/dev/video9", _) = error else { throw Unexpected(error) }
        #expect(driver[\.opened] == 1 && driver[\.closed] == 1)
    }

    @Test func aDriverThatSaysNothingOfLinesIsGivenTightOnes() throws {
        let driver = FakeDriver {
            $0.format = {
                ($0.fmt.pix.bytesperline, $0.fmt.pix.sizeimage) = (0, 0)
                return 0
            }
        }
        #expect(
            try open(driver, .of(7, 3)).format
                == .init(pixels: .yuyv, size: .of(7, 3), bytesPerLine: 16, frameBytes: 48))
    }

    @Test(arguments: [(ENOENT, "gone"), (ENODEV, "gone"), (EBUSY, "busy"), (EACCES, "denied"), (EIO, "failed")])
    func whatIsWrongIsTold(_ code: Int32, _ kind: String) throws {
        let driver = FakeDriver { $0.openError = code }
        let error = #expect(throws: CameraError.self) { try open(driver) }
        #expect(error.map { "\($0)".contains("/dev/video9") } == true)
        let found =
            switch error {
            case .gone: "gone"
            case .busy: "busy"
            case .denied: "denied"
            case .failed: "failed"
            default: "\(String(describing: error))"
            }
        #expect(found == kind)
        #expect(driver[\.opened] == driver[\.closed])
    }

    @Test func aCameraIsNoOutputAndABusyOneIsTold() throws {
        let camera = FakeDriver { $0.capabilities = UInt32(V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING) }
        #expect(
            throws: CameraError.unsuitable(
                "/dev/video9", reason: "it is not a video output that takes written frames")
        ) { try open(camera) }
        let busy = FakeDriver { $0.format = { _ in EBUSY } }
        #expect(throws: CameraError.busy("/dev/video9")) { try open(busy) }
        let strange = FakeDriver {
            $0.format = {
                $0.fmt.pix.pixelformat = cv_RGB24
                return 0
            }
        }
        #expect(throws: CameraError.unsuitable("/dev/video9", reason: "it takes RGB3 only")) { try open(strange) }
        for driver in [camera, busy, strange] { #expect(driver[\.opened] == 1 && driver[\.closed] == 1) }
    }

    @Test func shortWritesAreContinued() throws {
        let driver = FakeDriver { $0.writes = [10, -Int(EINTR), -Int(EAGAIN), 5] }
        let output = try open(driver)
        let packet = try output.packet(JPEG.encode(Self.frame, quality: 95))
        #expect(try output.write(packet, atMost: 100) == .sent)
        #expect(driver[\.written].count == 3)
        #expect(driver[\.written].flatMap { $0 } == packet)
    }

    @Test func aNodeWithoutRoomCostsTheFrameAndNoTime() throws {
        let driver = FakeDriver {
            $0.writesEndWith = -Int(EAGAIN)
            $0.polls = [0]
        }
        let output = try open(driver)
        #expect(try output.write([1, 2, 3], atMost: 100) == .notReady)
        #expect(driver[\.clock] < 0.101)
        // One that says "ready" for ever is asked a few times.
        #expect(try output.write([1, 2, 3], atMost: 100) == .notReady)
        #expect(driver[\.pollCount] <= 5)
        #expect(driver[\.written].isEmpty)
    }

    @Test func aFrameCutInTheMiddleIsAnError() throws {
        let driver = FakeDriver {
            $0.writes = [2]
            $0.writesEndWith = -Int(EAGAIN)
            $0.polls = [0]
        }
        let output = try open(driver)
        #expect(throws: CameraError.stalled("/dev/video9", milliseconds: 100)) {
            try output.write([1, 2, 3], atMost: 100)
        }
    }

    @Test(arguments: [(-Int(ENODEV), "gone"), (-Int(EIO), "failed"), (9, "unsuitable")])
    func writesThatFail(_ count: Int, _ kind: String) throws {
        let driver = FakeDriver { $0.writes = [count] }
        let output = try open(driver)
        let error = #expect(throws: CameraError.self) { try output.write([1, 2, 3], atMost: 100) }
        #expect(error.map { "\($0)" }?.contains("/dev/video9") == true)
        switch (error, kind) {
        case (.gone, "gone"), (.failed, "failed"), (.unsuitable, "unsuitable"): break
        default: throw Unexpected(error)
        }
    }

    @Test func hangingUpIsGone() throws {
        let driver = FakeDriver {
            $0.writes = [-Int(EAGAIN)]
            $0.polls = [Int32(POLLHUP | POLLERR)]
        }
        let output = try open(driver)
        #expect(throws: CameraError.gone("/dev/video9")) { try output.write([1], atMost: 100) }
    }
}

struct Unexpected: Error {
    let what: String
    init(_ what: Any?) { self.what = String(describing: what) }
}
