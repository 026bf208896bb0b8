import Jobs
import Media
import NIOCore
import NIOPosix

/// Puts stored frames into a container on a thread of its own: neither the event loop nor the computing waits for it.
final class ContentEncoder: Sendable {
    private let pool = NIOThreadPool(numberOfThreads: 1)

    init() { pool.start() }

    func encode(_ video: StoredVideo, as format: ContentFormat) async throws -> [UInt8] {
        do {
            return try await pool.runIfActive { try format.encode(video) }
        } catch let error as MediaError {
            throw ServiceError.internalError("the video could not be put into \(format): \(error)")
        }
    }

    func stop() async { try? await pool.shutdownGracefully() }
}
