import Video

/// What every container takes.
enum FrameLimits {
    /// Frames a second.
    static let rates = 1...240
    static let maximumFrames = 100_000

    static func check(fps: Int, count: Int) throws(MediaError) {
        guard rates.contains(fps) else {
            throw .frames("fps is \(fps); it must be \(rates.lowerBound) to \(rates.upperBound)")
        }
        guard count > 0 else { throw .frames("a video needs a frame") }
        guard count <= maximumFrames else {
            throw .tooLarge("a video of \(count) frames; the limit is \(maximumFrames)")
        }
    }

    /// The one size of `frames`.
    static func size(of frames: [Frame]) throws(MediaError) -> Size {
        guard let first = frames.first else { throw .frames("a video needs a frame") }
        guard let other = frames.first(where: { $0.size != first.size }) else { return first.size }
        throw .frames("frames of \(first.size) and \(other.size) in one video; they must be of one size")
    }
}
