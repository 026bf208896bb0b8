import Jobs
import Media
import NIOCore
import NIOPosix
import Video

/// Puts stored frames into a container, and takes uploads apart, on a thread of its own: neither the event loop nor the
/// computing waits for it, and one picture is decoded at a time.
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

    /// A JPEG or PNG that somebody sent as `field`.
    ///
    /// - Parameter sizes: it is brought to the one that is nearest to its own shape.
    func picture(_ bytes: [UInt8], field: String, sizes: [Size]) async throws -> Frame {
        do {
            return try await pool.runIfActive {
                let picture = try Picture.decode(bytes)
                return picture.resampled(to: picture.size.nearest(of: sizes))
            }
        } catch let error as MediaError {
            switch error {
            case .unsupported: throw ServiceError.unsupportedUpload(field: field, accepted: "a JPEG or a PNG")
            case .tooLarge(let words): throw ServiceError.uploadTooLarge(field: field, words)
            case .codec, .malformed, .frames:
                throw ServiceError.invalid(code: "invalid_image", field: field, "\(field) can't be read: \(error)")
            }
        }
    }

    /// A video that somebody sent as `field`, at `fps` frames a second.
    ///
    /// - Parameters:
    ///   - sizes: it is brought to the one that is nearest to its own shape.
    ///   - longest: frames at `fps`.
    func video(_ bytes: [UInt8], field: String, sizes: [Size], fps: Int, longest: Int) async throws -> [Frame] {
        do {
            return try await pool.runIfActive {
                let video = try UploadedVideo(bytes)
                guard video.count(at: fps) <= longest else {
                    throw ServiceError.uploadTooLarge(
                        field: field,
                        "\(video.count) frames at \(video.rate.frames)/\(video.rate.seconds) a second; the limit is "
                            + "\(longest) frames at \(fps) a second")
                }
                return try video.frames(at: fps, size: video.size.nearest(of: sizes))
            }
        } catch let error as MediaError {
            switch error {
            case .unsupported(let words):
                throw ServiceError.unsupportedUpload(
                    field: field, accepted: "\(UploadedVideo.accepted); this is \(words)")
            case .tooLarge(let words): throw ServiceError.uploadTooLarge(field: field, words)
            case .codec, .malformed, .frames:
                throw ServiceError.invalid(code: "invalid_video", field: field, "\(field) can't be read: \(error)")
            }
        }
    }

    /// The frames of a stored video, decoded.
    func frames(of video: StoredVideo) async throws -> [Frame] {
        try await pool.runIfActive { try video.frames.map { try JPEG.decode($0) } }
    }

    /// A stored picture in the format that was asked for.
    func picture(jpeg: [UInt8], as format: ImageRequest.PictureFormat) async throws -> [UInt8] {
        guard format == .png else { return jpeg }
        return try await pool.runIfActive { try PNG.encode(JPEG.decode(jpeg)) }
    }

    func stop() async { try? await pool.shutdownGracefully() }
}
