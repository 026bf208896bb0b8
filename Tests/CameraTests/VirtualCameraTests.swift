import Glibc
import Media
import Testing
import Threads
import Video

@testable import Camera

/// The thread between those who have pictures and a device that may do anything.
@Suite struct VirtualCameraTests {
    /// Waits for `condition`, at most so long that a sanitized program on a busy machine gets there.
    private func settles(_ condition: () -> Bool) -> Bool {
        for _ in 0..<4000 {
            if condition() { return true }
            usleep(5000)
        }
        return false
    }

    private func jpeg(_ grey: UInt8) throws -> [UInt8] {
        try JPEG.encode(Frame(size: .of(16, 16), pixels: [UInt8](repeating: grey, count: 768)), quality: 95)
    }

    private func luma(_ packets: [[UInt8]]) -> [Int] { packets.map { Int($0[0]) } }

    /// A camera on `driver`; real time, as threads take it.
    private func withCamera(
        _ driver: FakeDriver, loops: Bool = false, _ body: (VirtualCamera, Locked<[String]>) throws -> Void
    ) throws {
        var operations = driver.operations
        operations.now = DeviceOperations.libv4l2.now
        var settings = VirtualCamera.Settings(path: "/dev/video9", size: .of(16, 16), fps: 8)
        settings.loops = loops
        let lines = Locked<[String]>([])
        let camera = VirtualCamera(settings, operations: operations) { line in lines.withLock { $0.append(line) } }
        #expect(camera.start())
        do { try body(camera, lines) } catch {
            camera.stop()
            throw error
        }
        camera.stop()
        #expect(!camera.facts.open)
        #expect(driver[\.opened] == driver[\.closed])
    }

    @Test func itShowsAStillFirstThenPreviewsThenTheVideo() throws {
        let driver = FakeDriver()
        try withCamera(driver) { camera, lines in
            #expect(settles { camera.facts.sent >= 1 })
            #expect(luma(driver[\.written]).first.map { (50...64).contains($0) } == true)
            camera.show(preview: try jpeg(100))
            #expect(settles { luma(driver[\.written]).contains { (99...105).contains($0) } })
            camera.play(try [150, 180, 210].map { try jpeg($0) }, fps: 50)
            #expect(settles { luma(driver[\.written]).contains { $0 > 190 } })
            #expect(camera.facts.open && camera.facts.format == "YUYV 16x16" && camera.facts.lastError == nil)
            #expect(lines.withLock { $0 } == ["/dev/video9 takes YUYV 16x16"])
        }
    }

    @Test func withoutADeviceItSleepsUntilAJobStarts() throws {
        let driver = FakeDriver { $0.openError = ENOENT }
        try withCamera(driver) { camera, lines in
            #expect(settles { camera.facts.lastError != nil })
            for grey in UInt8(0)..<50 { camera.show(preview: try jpeg(grey + 100)) }
            camera.play([try jpeg(230)], fps: 8)
            #expect(settles { camera.facts.dropped > 0 })
            #expect(camera.facts.sent == 0 && !camera.facts.open)
            #expect(camera.facts.lastError == "/dev/video9: there is no such device, or it was unplugged")
            // The same is not written down again.
            #expect(lines.withLock { $0.count } == 1)
            driver.state.withLock { $0.openError = 0 }
            camera.look()
            // The newest picture is what it comes back with.
            #expect(settles { camera.facts.sent > 0 })
            #expect((210...216).contains(luma(driver[\.written])[0]))
            #expect(lines.withLock { $0.count } == 2)
        }
    }

    @Test func unpluggedInTheMiddleOfAVideo() throws {
        let driver = FakeDriver()
        try withCamera(driver) { camera, lines in
            #expect(settles { camera.facts.sent >= 1 })
            camera.play(try (0..<40).map { try jpeg(UInt8(100 + $0)) }, fps: 100)
            #expect(settles { camera.facts.sent >= 4 })
            driver.state.withLock {
                $0.writesEndWith = -Int(ENODEV)
                $0.openError = ENODEV
            }
            #expect(settles { !camera.facts.open && camera.facts.lastError != nil })
            #expect(driver[\.opened] == 1 && driver[\.closed] == 1)
            // Nobody who has pictures is held up, and nothing is tried for itself.
            camera.play([try jpeg(1)], fps: 8)
            camera.show(preview: try jpeg(2))
            driver.state.withLock {
                $0.writesEndWith = nil
                $0.openError = 0
            }
            camera.look()
            #expect(settles { camera.facts.open })
            #expect(camera.facts.lastError?.contains("no such device") == true)
            #expect(lines.withLock { $0.count } == 3)
        }
    }

    @Test func aDeviceThatTakesNothingCostsFramesOnly() throws {
        let driver = FakeDriver {
            $0.writesEndWith = -Int(EAGAIN)
            $0.polls = [Int32](repeating: 0, count: 1000)
        }
        try withCamera(driver) { camera, _ in
            camera.play(try (0..<10).map { try jpeg(UInt8(100 + $0)) }, fps: 100)
            #expect(settles { camera.facts.dropped >= 10 })
            #expect(camera.facts.sent == 0 && camera.facts.open)
        }
    }

    @Test func brokenPicturesAreToldAndPassedOver() throws {
        let driver = FakeDriver()
        try withCamera(driver) { camera, _ in
            camera.play([[1, 2, 3]], fps: 8)
            #expect(settles { camera.facts.lastError?.contains("libturbojpeg") == true })
            camera.show(preview: try jpeg(100))
            #expect(settles { luma(driver[\.written]).contains { (99...105).contains($0) } })
            #expect(camera.facts.open)
        }
    }

    @Test func loopsGoOn() throws {
        let driver = FakeDriver()
        try withCamera(driver, loops: true) { camera, _ in
            camera.play(try [200, 220].map { try jpeg($0) }, fps: 100)
            #expect(settles { luma(driver[\.written]).count { $0 > 200 } >= 4 })
        }
    }
}
