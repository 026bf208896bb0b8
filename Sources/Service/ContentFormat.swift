import Jobs
import Media
import Video

/// What can be fetched of a finished video.
enum ContentFormat: Sendable, Equatable {
    /// A container, any of `MediaFormat` but a picture.
    case video(MediaFormat)
    case thumbnail, spritesheet

    /// The `format`s of every variant.
    static let names = MediaFormat.allCases.map(\.rawValue)
    /// Pixels of a spritesheet: longer videos show every n-th frame.
    static let sheetPixels = 1 << 22

    init(variant: String, format: String?) throws(ServiceError) {
        let formats: [MediaFormat]
        switch variant {
        case "video": formats = MediaFormat.allCases.filter { $0 != .jpg }
        case "thumbnail", "spritesheet": formats = [.jpg]
        default:
            throw .invalid(
                code: "invalid_value", field: "variant", "variant must be video, thumbnail or spritesheet")
        }
        let wanted = format ?? formats[0].rawValue
        guard let found = formats.first(where: { $0.rawValue == wanted }) else {
            throw .invalid(
                code: "invalid_value", field: "format",
                "format must be \(formats.map(\.rawValue).joined(separator: ", ")) for variant=\(variant)")
        }
        self = variant == "video" ? .video(found) : variant == "thumbnail" ? .thumbnail : .spritesheet
    }

    private var file: MediaFormat { if case .video(let format) = self { format } else { .jpg } }

    var mediaType: String { file.contentType }

    var fileSuffix: String { (self == .spritesheet ? "-sheet." : ".") + file.fileExtension }

    /// Takes as long as its codec: not for the event loop.
    func encode(_ video: StoredVideo) throws -> [UInt8] {
        guard !video.frames.isEmpty else { throw MediaError.frames("the video has no frames") }
        switch self {
        // The stored pictures as they are.
        case .video(.avi): return try AVI.write(jpegs: video.frames, size: video.size, fps: video.fps)
        case .video(let format): return try format.encode(video.frames.map { try JPEG.decode($0) }, fps: video.fps)
        case .thumbnail:
            let frame = try JPEG.decode(video.frames[video.frames.count / 2])
            return try JPEG.encode(Thumbnail.make(frame), quality: 90)
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
