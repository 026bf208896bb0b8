/// What a virtual camera shows when: nothing here knows of devices, threads or the time of day.
///
/// A finished video is shown through once, whatever comes meanwhile; then the newest of what came; and when there is nothing, the
/// last picture, as often as a program that opens the camera now would wait for one.
struct Programme {
    /// What is shown between jobs.
    enum Idle: String, Sendable {
        /// The last picture.
        case still
        /// The last video, again and again.
        case loop
    }

    struct Video: Sendable, Equatable {
        /// One JPEG a frame; not empty.
        var jpegs: [[UInt8]]
        /// Frames a second.
        var fps: Int
    }

    private enum Showing {
        case nothing
        case still([UInt8])
        /// The frame that is due next, of a video that began at `start`.
        case video(Video, next: Int, start: Double, isRepeat: Bool)
    }

    /// Seconds from one sending of a picture that doesn't change to the next.
    static let stillInterval = 1.0

    let idle: Idle
    private var showing = Showing.nothing
    private var waitingVideo: Video?
    private var waitingPreview: [UInt8]?
    /// When the next frame is to be sent, by the clock that `next(at:)` is asked with; `nil` when there is none.
    private(set) var due: Double?
    /// Frames that were never sent, because newer ones came or their time was over.
    private(set) var dropped: UInt64 = 0

    init(idle: Idle) { self.idle = idle }

    /// A preview of a job that runs.
    mutating func take(preview jpeg: [UInt8], at now: Double) {
        if isBusy {
            if waitingPreview != nil { dropped += 1 }
            waitingPreview = jpeg
        } else {
            showing = .still(jpeg)
            due = now
        }
    }

    /// A finished video; previews that wait are of it, or older.
    mutating func take(video: Video, at now: Double) {
        guard !video.jpegs.isEmpty else { return }
        if waitingPreview != nil {
            waitingPreview = nil
            dropped += 1
        }
        if isBusy {
            dropped += UInt64(waitingVideo?.jpegs.count ?? 0)
            waitingVideo = video
        } else {
            begin(video, at: now, isRepeat: false)
        }
    }

    /// Shows nothing that moves: the last picture of all, at once. For when a device is gone, or is there again.
    mutating func settle(at now: Double) {
        var last: [UInt8]?
        switch showing {
        case .nothing: break
        case .still(let jpeg): last = jpeg
        case .video(let video, _, _, _): last = video.jpegs.last
        }
        last = waitingPreview ?? waitingVideo?.jpegs.last ?? last
        waitingPreview = nil
        waitingVideo = nil
        guard let last else { return }
        showing = .still(last)
        due = now
    }

    /// The frame to send now, if one is due.
    mutating func next(at now: Double) -> [UInt8]? {
        guard let due, due <= now else { return nil }
        switch showing {
        case .nothing:
            self.due = nil
            return nil
        case .still(let jpeg):
            self.due = now + Self.stillInterval
            return jpeg
        case .video(let video, let index, let start, let isRepeat):
            let fps = Double(video.fps)
            // What should have been shown by now; the last frame is shown in any case.
            let current = min(video.jpegs.count - 1, max(index, Int((now - start) * fps)))
            dropped += UInt64(current - index)
            let jpeg = video.jpegs[current]
            let end = start + Double(current + 1) / fps
            if current + 1 < video.jpegs.count {
                showing = .video(video, next: current + 1, start: start, isRepeat: isRepeat)
                self.due = end
            } else {
                // Late ends don't add up: the next begins when this one should have ended, or now.
                finish(video, at: max(end, now))
            }
            return jpeg
        }
    }

    /// A video is shown for the first time.
    private var isBusy: Bool {
        if case .video(_, _, _, isRepeat: false) = showing { return true }
        return false
    }

    private mutating func begin(_ video: Video, at start: Double, isRepeat: Bool) {
        showing = .video(video, next: 0, start: start, isRepeat: isRepeat)
        due = start
    }

    private mutating func finish(_ video: Video, at end: Double) {
        if let waiting = waitingVideo {
            waitingVideo = nil
            begin(waiting, at: end, isRepeat: false)
        } else if let preview = waitingPreview {
            waitingPreview = nil
            showing = .still(preview)
            due = end
        } else if idle == .loop {
            begin(video, at: end, isRepeat: true)
        } else {
            showing = .still(video.jpegs[video.jpegs.count - 1])
            due = end + Self.stillInterval
        }
    }
}
