import CTurboJPEG
import Video

/// JPEG through libjpeg-turbo.
public enum JPEG {
    public enum Subsampling: Sendable {
        /// Every pixel keeps its colour: for what is stored.
        case full
        /// One colour for four pixels: for previews.
        case quarter
    }

    /// - Parameter quality: 1...100
    public static func encode(
        _ frame: Frame, quality: Int, subsampling: Subsampling = .quarter
    ) throws(MediaError) -> [UInt8] {
        guard let handle = tjInitCompress() else { throw .codec("libturbojpeg", reason: "no memory") }
        defer { tjDestroy(handle) }
        var buffer: UnsafeMutablePointer<UInt8>?
        var length: UInt = 0
        defer { tjFree(buffer) }
        let sampling = subsampling == .full ? TJSAMP_444 : TJSAMP_420
        let status = frame.pixels.withUnsafeBufferPointer {
            tjCompress2(
                handle, $0.baseAddress, Int32(frame.size.width), 0, Int32(frame.size.height), Int32(TJPF_RGB.rawValue),
                &buffer, &length, Int32(sampling.rawValue), Int32(min(max(quality, 1), 100)), TJFLAG_ACCURATEDCT)
        }
        guard status == 0, let buffer else { throw failure(handle) }
        return Array(UnsafeBufferPointer(start: buffer, count: Int(length)))
    }

    /// The size that a JPEG says it has. Throws for what is no JPEG or larger than `Size` allows.
    public static func size(of jpeg: [UInt8]) throws(MediaError) -> Size {
        guard let handle = tjInitDecompress() else { throw .codec("libturbojpeg", reason: "no memory") }
        defer { tjDestroy(handle) }
        return try size(of: jpeg, handle)
    }

    /// A JPEG with damage or with more scans than any honest one (500) is refused.
    ///
    /// - Parameter maximumPixels: looked at before anything is decoded.
    public static func decode(_ jpeg: [UInt8], maximumPixels: Int = 1 << 24) throws(MediaError) -> Frame {
        guard let handle = tjInitDecompress() else { throw .codec("libturbojpeg", reason: "no memory") }
        defer { tjDestroy(handle) }
        let size = try size(of: jpeg, handle)
        guard size.pixels <= maximumPixels else {
            throw .tooLarge("a JPEG of \(size); the limit is \(maximumPixels) pixels")
        }
        var pixels = [UInt8](repeating: 0, count: size.pixels * 3)
        let status = jpeg.withUnsafeBufferPointer { source in
            pixels.withUnsafeMutableBufferPointer {
                tjDecompress2(
                    handle, source.baseAddress, UInt(source.count), $0.baseAddress, Int32(size.width), 0,
                    Int32(size.height), Int32(TJPF_RGB.rawValue),
                    TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS)
            }
        }
        guard status == 0 else { throw failure(handle) }
        return Frame(size: size, pixels: pixels)
    }

    private static func size(of jpeg: [UInt8], _ handle: tjhandle) throws(MediaError) -> Size {
        var width: Int32 = 0
        var height: Int32 = 0
        var sampling: Int32 = 0
        var space: Int32 = 0
        let status = jpeg.withUnsafeBufferPointer {
            tjDecompressHeader3(handle, $0.baseAddress, UInt($0.count), &width, &height, &sampling, &space)
        }
        guard status == 0 else { throw failure(handle) }
        // Zeros where the header should be.
        guard width > 0, height > 0 else { throw .malformed("a JPEG without a size") }
        guard let size = Size(width: Int(width), height: Int(height)) else {
            throw .tooLarge("a JPEG of \(width)x\(height); sides are 1 to \(Size.maximumSide)")
        }
        return size
    }

    private static func failure(_ handle: tjhandle) -> MediaError {
        .codec("libturbojpeg", reason: tjGetErrorStr2(handle).map { String(cString: $0) } ?? "unknown error")
    }
}
