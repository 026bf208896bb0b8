import Jobs
import Media
import NIOPosix
import Threads
import Video

/// Previews in other widths, made once for all clients that want the same. On a thread of its own: neither the event loop nor
/// the computing waits for it.
final class PreviewScaler: Sendable {
    /// Pictures kept: a few widths of the newest frame.
    private static let kept = 8

    private struct Key: Hashable {
        var job: String
        var sequence: UInt64
        var width: Int
    }
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let made = Locked<[(key: Key, jpeg: [UInt8])]>([])

    init() { pool.start() }

    /// The frame in that width; the frame itself when it has it already, or can't be read.
    func scale(_ entry: LatestFrame.Entry, of job: String, to width: Int?) async throws -> [UInt8] {
        guard let width else { return entry.jpeg }
        let key = Key(job: job, sequence: entry.sequence, width: width)
        return try await pool.runIfActive { [made] in
            // One thread: who asks second finds what the first has left.
            if let jpeg = made.withLock({ $0.first { $0.key == key }?.jpeg }) { return jpeg }
            let jpeg = Self.scaled(entry.jpeg, to: width) ?? entry.jpeg
            made.withLock { made in
                made.append((key, jpeg))
                if made.count > Self.kept { made.removeFirst() }
            }
            return jpeg
        }
    }

    private static func scaled(_ jpeg: [UInt8], to width: Int) -> [UInt8]? {
        guard let frame = try? JPEG.decode(jpeg), frame.size.width != width else { return nil }
        let height = max(1, (frame.size.height * width + frame.size.width / 2) / frame.size.width)
        guard let size = Size(width: width, height: height) else { return nil }
        return try? JPEG.encode(frame.resampled(to: size), quality: 85)
    }

    func stop() async { try? await pool.shutdownGracefully() }
}
