import CPNG
import Video

/// PNG through libpng.
public enum PNG {
    /// Any PNG as 8-bit RGB; what is transparent lies on white.
    ///
    /// - Parameter maximumPixels: looked at before anything is decoded.
    public static func decode(_ png: [UInt8], maximumPixels: Int = 1 << 24) throws(MediaError) -> Frame {
        var image = png_image()
        image.version = png_uint_32(PNG_IMAGE_VERSION)
        defer { png_image_free(&image) }
        // The image keeps the pointer between the two calls.
        let result = png.withUnsafeBufferPointer { bytes -> Result<Frame, MediaError> in
            guard png_image_begin_read_from_memory(&image, bytes.baseAddress, bytes.count) != 0 else {
                return .failure(failure(image))
            }
            guard let size = Size(width: Int(image.width), height: Int(image.height)) else {
                return .failure(
                    .tooLarge("a PNG of \(image.width)x\(image.height); sides are 1 to \(Size.maximumSide)"))
            }
            guard size.pixels <= maximumPixels else {
                return .failure(.tooLarge("a PNG of \(size); the limit is \(maximumPixels) pixels"))
            }
            image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
            var white = png_color(red: 255, green: 255, blue: 255)
            var pixels = [UInt8](repeating: 0, count: size.pixels * 3)
            guard png_image_finish_read(&image, &white, &pixels, 0, nil) != 0 else { return .failure(failure(image)) }
            // A warning is damage, too: what is missing of a file would be grey.
            guard image.warning_or_error == 0 else { return .failure(failure(image)) }
            return .success(Frame(size: size, pixels: pixels))
        }
        return try result.get()
    }

    /// For tests and tools: 8-bit RGB.
    public static func encode(_ frame: Frame) throws(MediaError) -> [UInt8] {
        var image = png_image()
        image.version = png_uint_32(PNG_IMAGE_VERSION)
        defer { png_image_free(&image) }
        image.width = png_uint_32(frame.size.width)
        image.height = png_uint_32(frame.size.height)
        image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
        var count = 0
        guard png_image_write_to_memory(&image, nil, &count, 0, frame.pixels, 0, nil) != 0 else {
            throw failure(image)
        }
        var bytes = [UInt8](repeating: 0, count: count)
        guard png_image_write_to_memory(&image, &bytes, &count, 0, frame.pixels, 0, nil) != 0 else {
            throw failure(image)
        }
        return Array(bytes.prefix(count))
    }

    private static func failure(_ image: png_image) -> MediaError {
        let words = withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return .codec("libpng", reason: words.isEmpty ? "unknown error" : words)
    }
}
