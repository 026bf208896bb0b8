import Video

/// What is kept of a finished video: its frames as high-quality JPEGs; containers are made when they are asked for.
public struct StoredVideo: Sendable, Equatable {
    public var size: Size
    /// Frames a second.
    public var fps: Int
    public var framesSHA256: String
    /// One JPEG each, in order.
    public var frames: [[UInt8]]

    public init(size: Size, fps: Int, framesSHA256: String, frames: [[UInt8]]) {
        self.size = size
        self.fps = fps
        self.framesSHA256 = framesSHA256
        self.frames = frames
    }
}
