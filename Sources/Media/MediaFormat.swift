import Video

/// The files that a video can be made into.
public enum MediaFormat: String, Sendable, CaseIterable {
    case mp4, avi, y4m
    /// A contact sheet.
    case jpg

    public var contentType: String {
        switch self {
        case .mp4: "video/mp4"
        case .avi: "video/x-msvideo"
        case .y4m: "video/x-yuv4mpeg"
        case .jpg: "image/jpeg"
        }
    }

    /// Without a dot.
    public var fileExtension: String { rawValue }

    /// - Parameters:
    ///   - frames: of one size.
    ///   - fps: frames a second, 1...240.
    public func encode(_ frames: [Frame], fps: Int) throws(MediaError) -> [UInt8] {
        let size = try FrameLimits.size(of: frames)
        switch self {
        case .mp4: return try MP4.write(frames, fps: fps)
        case .y4m: return try Y4M.write(frames, fps: fps)
        case .jpg: return try JPEG.encode(ContactSheet.make(frames), quality: 90)
        case .avi:
            var jpegs: [[UInt8]] = []
            for frame in frames { jpegs.append(try JPEG.encode(frame, quality: 95, subsampling: .full)) }
            return try AVI.write(jpegs: jpegs, size: size, fps: fps)
        }
    }
}
