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

/// frames.bin: `FLSCFRMS`, version, count, then each frame's length, all little-endian UInt32, then the frames.
enum FrameFile {
    private static let magic = Array("FLSCFRMS".utf8)
    private static let version: UInt32 = 1
    static let maximumBytes = 1 << 30
    static let maximumFrames = 100_000

    static func encode(_ frames: [[UInt8]]) -> [UInt8] {
        var bytes = magic
        bytes.reserveCapacity(16 + frames.reduce(0) { $0 + $1.count + 4 })
        func append(_ value: UInt32, to bytes: inout [UInt8]) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(version, to: &bytes)
        append(UInt32(frames.count), to: &bytes)
        for frame in frames { append(UInt32(frame.count), to: &bytes) }
        for frame in frames { bytes += frame }
        return bytes
    }

    /// `nil` for anything that `encode` did not write.
    static func decode(_ bytes: [UInt8]) -> [[UInt8]]? {
        guard bytes.count >= 16, Array(bytes[..<8]) == magic else { return nil }
        func number(_ offset: Int) -> Int {
            bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
        }
        let count = number(12)
        guard number(8) == version, count <= maximumFrames, bytes.count >= 16 + 4 * count else { return nil }
        var frames: [[UInt8]] = []
        var start = 16 + 4 * count
        for index in 0..<count {
            let length = number(16 + 4 * index)
            guard length <= bytes.count - start else { return nil }
            frames.append(Array(bytes[start..<start + length]))
            start += length
        }
        return start == bytes.count ? frames : nil
    }
}
