import Generation
import Jobs
import Threads
import Video

/// Writes down what it is told.
final class Watched: GenerationObserver {
    enum Event: Equatable {
        case step(Int)
        /// So many frames are finished in all; in a row these count once.
        case frames(Int)
    }

    let events = Locked<[Event]>([])
    let frames = Locked<[Frame]>([])
    private let latent = Locked<(channels: Int, frames: [[Float]])>((0, []))
    var isCancelled: Bool { false }

    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int) {
        events.withLock { $0.append(.step(step)) }
    }

    func finished(latent: [Float], channels: Int, at index: Int, of count: Int) {
        self.latent.withLock {
            if index == $0.frames.count, index < count { $0 = (channels, $0.frames + [latent]) }
        }
    }

    /// `[channels, frames, height, width]`, float32 little-endian.
    var latents: [UInt8] {
        latent.withLock { latent in
            (0..<latent.channels).flatMap { channel in
                latent.frames.flatMap { frame in
                    let area = frame.count / latent.channels
                    return frame[channel * area..<(channel + 1) * area].withUnsafeBytes { Array($0) }
                }
            }
        }
    }

    func finished(frames: [Frame]) {
        let count = self.frames.withLock {
            $0 += frames
            return $0.count
        }
        events.withLock { events in
            if case .frames = events.last { events.removeLast() }
            events.append(.frames(count))
        }
    }
}

struct WatchedVideo {
    var frames: [Frame]
    var latents: [UInt8]
    var peakBytes: Int
}

extension VideoGenerator {
    func video(
        _ request: VideoRequest, material: VideoMaterial = VideoMaterial(), observer: Watched = Watched()
    ) throws -> WatchedVideo {
        let video = try generate(request, material: material, observer: observer)
        return WatchedVideo(
            frames: observer.frames.withLock { $0 }, latents: observer.latents, peakBytes: video.peakBytes)
    }
}
