import Jobs
import NIOCore

/// Writes previews to one client: the newest frame when the client is ready for one, never a backlog; not more than it asked
/// for; what hasn't changed only as a sign of life.
struct PreviewStream {
    /// The last frame is repeated when none was sent for so long: proxies and browsers give up on silence.
    static let keepAlive = TimeAmount.seconds(5)

    private let writer: StreamWriter
    private let options: PreviewOptions
    private let scaler: PreviewScaler
    private let counter: StreamCounter
    private var due: NIODeadline?
    private var lastJPEG: [UInt8] = []
    private var lastPart: [UInt8]?

    init(_ writer: StreamWriter, _ options: PreviewOptions, _ scaler: PreviewScaler, _ counter: StreamCounter) {
        self.writer = writer
        self.options = options
        self.scaler = scaler
        self.counter = counter
    }

    /// Follows one job to its end.
    mutating func follow(_ job: String, _ frames: LatestFrame) async throws {
        counter.update { $0.job = job }
        var sequence: UInt64 = 0
        while let next = await frames.next(after: sequence) {
            if let due { try await writer.pause(until: due) }
            // Newer ones may have come while this one had to wait.
            let entry = frames.current ?? next
            counter.update { $0.dropped += sequence == 0 ? 0 : entry.sequence - sequence - 1 }
            sequence = entry.sequence
            try await send(entry, of: job)
        }
    }

    private mutating func send(_ entry: LatestFrame.Entry, of job: String) async throws {
        guard entry.jpeg != lastJPEG else {
            counter.update { $0.unchanged += 1 }
            return
        }
        lastJPEG = entry.jpeg
        let jpeg = try await scaler.scale(entry, of: job, to: options.width)
        let part = MotionJPEG.part(jpeg, timestamp: entry.timestamp, step: entry.step, steps: entry.steps)
        due = options.interval.map { .now() + $0 }
        try await writer.write(part, repeatedEvery: Self.keepAlive)
        lastPart = part
        counter.update {
            $0.sent += 1
            $0.newest = entry.timestamp
        }
    }

    /// Sends the last part once more: browsers show a part only when the next begins.
    func repeatLast() async throws {
        if let lastPart { try await writer.write(lastPart, repeatedEvery: Self.keepAlive) }
    }
}
