import Video

/// A video that somebody sent: an MP4 of H.264, an AVI of Motion JPEG or a Y4M, told by its first bytes. Only its headers are looked at until
/// a frame is asked for.
public struct UploadedVideo: Sendable {
    /// What is read, for messages.
    public static let accepted = "an MP4 of H.264, an AVI of Motion JPEG, or a Y4M"

    private enum Body: Sendable {
        case avi(AVI.Contents)
        case y4m(Y4M.Contents)
        case mp4(MP4.Contents)
    }

    private let body: Body

    /// Throws `.unsupported` for anything else, `.malformed` for what is damaged or holds no frame.
    public init(_ bytes: [UInt8]) throws(MediaError) {
        if bytes.starts(with: Y4M.signature) {
            body = .y4m(try Y4M.read(bytes))
        } else if bytes.count >= 12, bytes.starts(with: "RIFF".utf8), bytes[8..<12].elementsEqual("AVI ".utf8) {
            body = .avi(try AVI.read(bytes))
        } else if bytes.count >= 8, bytes[4..<8].elementsEqual("ftyp".utf8) {
            body = .mp4(try MP4.read(bytes))
        } else {
            throw .unsupported("neither an MP4 nor an AVI nor a Y4M")
        }
    }

    public var size: Size {
        switch body {
        case .avi(let contents): contents.size
        case .y4m(let contents): contents.size
        case .mp4(let contents): contents.size
        }
    }

    public var count: Int {
        switch body {
        case .avi(let contents): contents.jpegs.count
        case .y4m(let contents): contents.count
        case .mp4(let contents): contents.count
        }
    }

    /// Frames a second, as a fraction.
    public var rate: (frames: Int, seconds: Int) {
        switch body {
        case .avi(let contents): (contents.fps, 1)
        case .y4m(let contents): contents.rate
        case .mp4(let contents): contents.rate
        }
    }

    /// Frames it has at `fps` a second: at least one.
    public func count(at fps: Int) -> Int {
        if case .mp4(let contents) = body { return contents.count(at: fps) }
        return max(1, (2 * count * fps * rate.seconds + rate.frames) / (2 * rate.frames))
    }

    /// At `fps` frames a second (those that are shown in the middle of each new frame's time) and of `size`. Of an AVI and
    /// a Y4M only these frames are decoded; of an MP4 those before them too, but no other is brought to size.
    ///
    /// - Parameter maximumPixels: of all of them; looked at before anything is decoded. Four times as many may have to be
    ///   decoded for them.
    public func frames(at fps: Int, size wanted: Size, maximumPixels: Int = 1 << 28) throws(MediaError) -> [Frame] {
        let wantedCount = count(at: fps)
        guard wantedCount <= maximumPixels / size.pixels else {
            throw .tooLarge("\(wantedCount) frames of \(size) at \(fps) a second; the limit is \(maximumPixels) pixels")
        }
        var reader: MP4.FrameReader?
        if case .mp4(let contents) = body {
            reader = try MP4.FrameReader(contents, maximumPixels: 4 * maximumPixels)
        }
        var frames: [Frame] = []
        var last: (index: Int, frame: Frame)?
        for index in 0..<wantedCount {
            let source = source(index, at: fps)
            if last?.index != source { last = (source, try frame(source, reader).resampled(to: wanted)) }
            if let last { frames.append(last.frame) }
        }
        return frames
    }

    /// The frame that is shown in the middle of frame `index` at `fps` a second.
    private func source(_ index: Int, at fps: Int) -> Int {
        if case .mp4(let contents) = body { return contents.source(index, at: fps) }
        return min(count - 1, (2 * index + 1) * rate.frames / (2 * fps * rate.seconds))
    }

    /// - Parameter reader: of an MP4.
    private func frame(_ index: Int, _ reader: MP4.FrameReader?) throws(MediaError) -> Frame {
        switch body {
        case .avi(let contents): try contents.frame(index)
        case .y4m(let contents): contents.frame(index)
        case .mp4: try reader!.frame(index)
        }
    }
}
