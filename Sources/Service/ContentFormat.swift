import Jobs
import Media
import Video

/// What can be fetched of a finished video.
enum ContentFormat: String, Sendable, CaseIterable {
    case mp4, avi, y4m, thumbnail, spritesheet

    /// The `format`s of `variant=video`; the pictures are JPEGs.
    static let names = ["mp4", "avi", "y4m", "jpg"]
    /// Pixels of a spritesheet: longer videos show every n-th frame.
    static let sheetPixels = 1 << 22

    init(variant: String, format: String?) throws(ServiceError) {
        let formats: [String]
        switch variant {
        case "video": formats = ["mp4", "avi", "y4m"]
        case "thumbnail", "spritesheet": formats = ["jpg"]
        default:
            throw .invalid(
                code: "invalid_value", field: "variant", "variant must be video, thumbnail or spritesheet")
        }
        let format = format ?? formats[0]
        guard formats.contains(format), let found = Self(rawValue: variant == "video" ? format : variant) else {
            throw .invalid(
                code: "invalid_value", field: "format",
                "format must be \(formats.joined(separator: ", ")) for variant=\(variant)")
        }
        self = found
    }

    var mediaType: String {
        switch self {
        case .mp4: "video/mp4"
        case .avi: "video/x-msvideo"
        case .y4m: "video/x-yuv4mpeg"
        case .thumbnail, .spritesheet: "image/jpeg"
        }
    }

    var fileSuffix: String {
        switch self {
        case .mp4, .avi, .y4m: ".\(rawValue)"
        case .thumbnail: ".jpg"
        case .spritesheet: "-sheet.jpg"
        }
    }

    /// Takes as long as its codec: not for the event loop.
    func encode(_ video: StoredVideo) throws -> [UInt8] {
        guard !video.frames.isEmpty else { throw MediaError.frames("the video has no frames") }
        switch self {
        case .avi: return try AVI.write(jpegs: video.frames, size: video.size, fps: video.fps)
        case .mp4: return try MP4.write(video.frames.map { try JPEG.decode($0) }, fps: video.fps)
        case .y4m: return try Y4M.write(video.frames.map { try JPEG.decode($0) }, fps: video.fps)
        case .thumbnail: return video.frames[video.frames.count / 2]
        case .spritesheet: return try JPEG.encode(Self.sheet(video), quality: 90)
        }
    }

    /// The frames from left to right and from top to bottom, in a grid about as wide as it is high.
    static func sheet(_ video: StoredVideo) throws -> Frame {
        let size = video.size
        let most = max(1, min(sheetPixels / size.pixels, 1024))
        let every = (video.frames.count + most - 1) / most
        let shown = try stride(from: 0, to: video.frames.count, by: every).map { try JPEG.decode(video.frames[$0]) }
        var columns = 1
        while columns * columns < shown.count, (columns + 1) * size.width <= Size.maximumSide { columns += 1 }
        return try ContactSheet.make(shown, columns: columns)
    }
}
