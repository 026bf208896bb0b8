import Video

/// A picture that somebody sent: JPEG or PNG, told by its first bytes, whatever it is called.
public enum Picture {
    /// Pixels of a picture that is taken; 16 million are a camera's.
    public static let maximumPixels = 1 << 24

    public enum Kind: String, Sendable {
        case jpeg, png
    }

    /// `nil` for anything else.
    public static func kind(of bytes: [UInt8]) -> Kind? {
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        return nil
    }

    /// Throws `.tooLarge` by what the header says, before a pixel is decoded; `.unsupported` for no JPEG or PNG.
    public static func decode(_ bytes: [UInt8]) throws(MediaError) -> Frame {
        switch kind(of: bytes) {
        case .jpeg: try JPEG.decode(bytes, maximumPixels: maximumPixels)
        case .png: try PNG.decode(bytes, maximumPixels: maximumPixels)
        case nil: throw .unsupported("neither a JPEG nor a PNG")
        }
    }
}
