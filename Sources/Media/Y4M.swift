import Video

/// YUV4MPEG2, 4:2:0: uncompressed, for piping into other tools.
public enum Y4M {
    public static func write(_ frames: [Frame], fps: Int) throws(MediaError) -> [UInt8] {
        try FrameLimits.check(fps: fps, count: frames.count)
        let size = try FrameLimits.size(of: frames)
        let (width, height) = YUV420.sides(of: size)
        var bytes = Array(
            "YUV4MPEG2 W\(width) H\(height) F\(fps):1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n".utf8)
        for frame in frames {
            let planes = YUV420(frame)
            bytes += Array("FRAME\n".utf8)
            bytes += planes.luma + planes.blue + planes.red
        }
        return bytes
    }
}
