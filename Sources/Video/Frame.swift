/// One picture of a video.
public struct Frame: Sendable, Equatable {
    public let size: Size
    /// RGB, 8 bits a channel, `[height, width, 3]`, no padding between rows.
    public let pixels: [UInt8]

    /// `pixels` must hold `width * height * 3` bytes.
    public init(size: Size, pixels: [UInt8]) {
        precondition(pixels.count == size.pixels * 3, "a frame of \(size) holds \(size.pixels * 3) bytes")
        self.size = size
        self.pixels = pixels
    }

    /// SHA-256 of the pixels of `frames` one after another: the same frames have the same hash, whatever container they came in.
    public static func sha256(of frames: [Frame]) -> String {
        var hash = SHA256()
        for frame in frames { hash.update(frame.pixels) }
        return hash.finalize()
    }
}
