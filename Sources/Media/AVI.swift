import Video

/// AVI with Motion JPEG (OpenDML is not needed below 1 GiB): the stored frames as they are.
public enum AVI {
    /// What one RIFF may hold.
    static let maximumBytes = 1 << 30

    /// - Parameter fps: frames a second, 1...240.
    public static func write(jpegs: [[UInt8]], size: Size, fps: Int) throws(MediaError) -> [UInt8] {
        try FrameLimits.check(fps: fps, count: jpegs.count)
        let data = jpegs.reduce(0) { $0 + 8 + $1.count + $1.count % 2 }
        guard data + 16 * jpegs.count + 512 < maximumBytes else {
            throw .tooLarge("an AVI of more than \(maximumBytes) bytes")
        }
        let largest = jpegs.map(\.count).max() ?? 0
        var out = ByteWriter()
        out.bytes.reserveCapacity(data + 16 * jpegs.count + 512)
        chunk("RIFF", "AVI ", &out) { out in
            chunk("LIST", "hdrl", &out) { out in
                chunk("avih", nil, &out) { out in
                    out.little(UInt32(1_000_000 / fps))
                    out.little(UInt32(clamping: largest * fps))
                    out.little(UInt32(0))
                    out.little(UInt32(0x10))  // it has an index
                    out.little(UInt32(jpegs.count))
                    out.little(UInt32(0))
                    out.little(UInt32(1))
                    out.little(UInt32(clamping: largest))
                    out.little(UInt32(size.width))
                    out.little(UInt32(size.height))
                    out.zeros(16)
                }
                chunk("LIST", "strl", &out) { out in
                    chunk("strh", nil, &out) { out in
                        out.text("vids")
                        out.text("MJPG")
                        out.zeros(12)
                        out.little(UInt32(1))
                        out.little(UInt32(fps))
                        out.little(UInt32(0))
                        out.little(UInt32(jpegs.count))
                        out.little(UInt32(clamping: largest))
                        out.little(UInt32.max)
                        out.little(UInt32(0))
                        out.little(UInt16(0))
                        out.little(UInt16(0))
                        out.little(UInt16(size.width))
                        out.little(UInt16(size.height))
                    }
                    chunk("strf", nil, &out) { out in
                        out.little(UInt32(40))
                        out.little(Int32(size.width))
                        out.little(Int32(size.height))
                        out.little(UInt16(1))
                        out.little(UInt16(24))
                        out.text("MJPG")
                        out.little(UInt32(size.pixels * 3))
                        out.zeros(16)
                    }
                }
            }
            var index = ByteWriter()
            var offset = 4
            chunk("LIST", "movi", &out) { out in
                for jpeg in jpegs {
                    index.text("00dc")
                    index.little(UInt32(0x10))  // every frame stands alone
                    index.little(UInt32(offset))
                    index.little(UInt32(jpeg.count))
                    offset += 8 + jpeg.count + jpeg.count % 2
                    chunk("00dc", nil, &out) { $0.bytes += jpeg }
                }
            }
            chunk("idx1", nil, &out) { $0.bytes += index.bytes }
        }
        return out.bytes
    }

    /// A RIFF chunk: name, length, form, contents, a byte of padding when the length is odd.
    private static func chunk(
        _ name: StaticString, _ form: StaticString?, _ out: inout ByteWriter, _ contents: (inout ByteWriter) -> Void
    ) {
        out.text(name)
        let start = out.bytes.count
        out.zeros(4)
        if let form { out.text(form) }
        contents(&out)
        let length = out.bytes.count - start - 4
        for byte in 0..<4 { out.bytes[start + byte] = UInt8(truncatingIfNeeded: length >> (8 * byte)) }
        if length % 2 == 1 { out.zeros(1) }
    }
}
