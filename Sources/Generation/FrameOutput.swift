import Jobs
import Video

protocol FrameReceiver {
    /// The next frames, in order. Throws when no more are wanted.
    func take(_ frames: [Frame]) throws
}

/// All frames of a video.
final class FrameList: FrameReceiver {
    private(set) var frames: [Frame] = []

    func take(_ frames: [Frame]) { self.frames += frames }
}

/// Hands finished frames to the observer as soon as nothing can change them any more, so that the memory of a video does not grow
/// with its length.
final class FrameOutput: FrameReceiver {
    /// Those so far of a video whose later frames are made from all of its earlier ones; of another, none.
    private(set) var kept: [Frame] = []
    private let keeps: Bool
    private let observer: any GenerationObserver
    /// Frames that are still wanted before those of the video it leads to. The last one made is not: the first of these stands for
    /// it.
    private var left: Int

    init(_ request: VideoRequest, _ observer: any GenerationObserver) {
        keeps = request.isLoop || request.destination != nil
        left = request.frames - (request.destination?.frames ?? 0)
        self.observer = observer
    }

    func take(_ frames: [Frame]) throws {
        if observer.isCancelled { throw GenerationError.cancelled }
        if keeps { kept += frames }
        let wanted = Array(frames.prefix(left))
        left -= wanted.count
        if !wanted.isEmpty { observer.finished(frames: wanted) }
    }

    /// What the video leads to.
    func end(with frames: [Frame]) throws {
        if observer.isCancelled { throw GenerationError.cancelled }
        if !frames.isEmpty { observer.finished(frames: frames) }
    }
}
