import Media
import Threads
import Video

/// Shows previews and finished videos on a video output node, from a thread of its own. It never delays who hands it pictures, and
/// a device that is missing, busy or unplugged is only written down: it is looked for again when the next job starts or ends, and
/// until then the thread sleeps.
public final class VirtualCamera: Sendable {
    public struct Settings: Sendable, Equatable {
        /// As `/dev/video9`.
        public var path: String
        /// Frames are brought to it.
        public var size: Size
        /// Frames a second that the node is told to expect.
        public var fps: Int
        /// Shows the last video again and again between jobs, instead of its last picture.
        public var loops = false

        public init(path: String, size: Size, fps: Int) {
            self.path = path
            self.size = size
            self.fps = fps
        }
    }

    /// What `/state` tells.
    public struct Facts: Sendable, Equatable, Encodable {
        public var path: String
        public var open = false
        /// As `YUYV 64x64`; `nil` while it is not open.
        public var format: String?
        /// Frames since start. What is dropped was replaced by something newer, late, or not taken by the device.
        public var sent: UInt64 = 0
        public var dropped: UInt64 = 0
        /// What was wrong last; it stays when the device is there again.
        public var lastError: String?

        enum CodingKeys: String, CodingKey {
            case path, open, format, sent, dropped
            case lastError = "last_error"
        }
    }

    private struct Inbox {
        var look = false
        var preview: [UInt8]?
        var video: Programme.Video?
        var ends = false
        var dropped: UInt64 = 0

        var isEmpty: Bool { !look && preview == nil && video == nil && !ends }
    }

    private let settings: Settings
    private let operations: DeviceOperations
    private let log: @Sendable (String) -> Void
    private let inbox = Monitor(Inbox())
    private let state: Locked<Facts>
    private let thread = Locked<Thread?>(nil)

    /// - Parameter log: told when the device is opened or lost, never twice the same.
    public init(
        _ settings: Settings, operations: DeviceOperations = .libv4l2, log: @escaping @Sendable (String) -> Void
    ) {
        self.settings = settings
        self.operations = operations
        self.log = log
        state = Locked(Facts(path: settings.path))
    }

    public var facts: Facts { state.withLock { $0 } }

    /// Starts the thread and looks for the device; `false` when the system has no thread to give.
    public func start() -> Bool {
        let started = Thread("video-device") { [self] in run() }
        thread.withLock { $0 = started }
        return started != nil
    }

    /// Closes the device and ends the thread.
    public func stop() {
        inbox.change { $0.ends = true }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    /// A job starts: a device that was missing is looked for.
    public func look() { inbox.change { $0.look = true } }

    /// The newest preview, a JPEG.
    public func show(preview jpeg: [UInt8]) {
        inbox.change {
            if $0.preview != nil { $0.dropped += 1 }
            $0.preview = jpeg
        }
    }

    /// A finished video, one JPEG a frame.
    public func play(_ jpegs: [[UInt8]], fps: Int) {
        guard !jpegs.isEmpty, fps > 0 else { return }
        inbox.change {
            $0.dropped += UInt64($0.video?.jpegs.count ?? 0) + ($0.preview == nil ? 0 : 1)
            $0.preview = nil
            $0.video = Programme.Video(jpegs: jpegs, fps: fps)
        }
    }

    // MARK: The thread

    private func run() {
        var programme = Programme(idle: settings.loops ? .loop : .still)
        let grey = Frame(size: settings.size, pixels: [UInt8](repeating: 48, count: settings.size.pixels * 3))
        if let jpeg = try? JPEG.encode(grey, quality: 90) { programme.take(preview: jpeg, at: operations.now()) }
        var output = open()
        var extra: UInt64 = 0
        while true {
            let now = operations.now()
            let limit = output == nil ? nil : programme.due.map { Duration.seconds(max(0, $0 - now)) }
            let mail = inbox.wait(atMost: limit) { inbox -> Inbox? in
                guard !inbox.isEmpty else { return nil }
                defer { inbox = Inbox() }
                return inbox
            }
            if let mail {
                if mail.ends { break }
                extra += mail.dropped
                if output == nil { output = open() }
                let time = operations.now()
                // In the order they were made: a preview that came with a video came after it.
                if let video = mail.video { programme.take(video: video, at: time) }
                if let preview = mail.preview { programme.take(preview: preview, at: time) }
            }
            if let device = output {
                if let jpeg = programme.next(at: operations.now()), !send(jpeg, to: device, &extra) { output = nil }
            }
            if output == nil { programme.settle(at: operations.now()) }
            let dropped = programme.dropped + extra
            state.withLock { $0.dropped = dropped }
        }
        output = nil
        state.withLock {
            $0.open = false
            $0.format = nil
        }
    }

    private func open() -> VideoOutput? {
        do throws(CameraError) {
            let output = try VideoOutput(
                path: settings.path, size: settings.size, fps: settings.fps, operations: operations)
            let format = "\(output.format.pixels.rawValue) \(output.format.size)"
            state.withLock {
                $0.open = true
                $0.format = format
            }
            log("\(settings.path) takes \(format)")
            return output
        } catch {
            lost(error)
            return nil
        }
    }

    /// `false` when the device is lost.
    private func send(_ jpeg: [UInt8], to output: VideoOutput, _ dropped: inout UInt64) -> Bool {
        let packet: [UInt8]
        do throws(MediaError) {
            packet = try output.packet(jpeg)
        } catch {
            dropped += 1
            state.withLock { $0.lastError = "\(error)" }
            return true
        }
        do throws(CameraError) {
            switch try output.write(packet, atMost: 100) {
            case .sent: state.withLock { $0.sent += 1 }
            case .notReady: dropped += 1
            }
            return true
        } catch {
            dropped += 1
            lost(error)
            return false
        }
    }

    private func lost(_ error: CameraError) {
        let words = "\(error)"
        let isNew = state.withLock {
            let isNew = $0.open || $0.lastError != words
            $0.open = false
            $0.format = nil
            $0.lastError = words
            return isNew
        }
        if isNew { log(words) }
    }
}
