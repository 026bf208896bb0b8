import Video

/// YUV4MPEG2, 4:2:0: uncompressed, for piping into other tools.
public enum Y4M {
    public static func write(_ frames: [Frame], fps: Int) throws(MediaError) -> [UInt8] {
        guard let first = frames.first, frames.allSatisfy({ $0.size == first.size }) else {
            throw .frames("a video needs frames of one size")
        }
        let even = YUV420(first)
        var bytes = Array(
            "YUV4MPEG2 W\(even.width) H\(even.height) F\(fps):1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n".utf8)
        for frame in frames {
            let planes = YUV420(frame)
            bytes += Array("FRAME\n".utf8)
            bytes += planes.luma + planes.blue + planes.red
        }
        return bytes
    }
}
