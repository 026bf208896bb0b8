import Video

/// MP4 with one H.264 track (ISO/IEC 14496-12 and -15): `ftyp`, `moov`, `mdat`, so that a browser can start at once.
public enum MP4 {
    /// Ticks a second, so that any whole frame rate has whole durations.
    private static let ticksPerFrame = 1000

    /// Odd sides are rounded up to even by repeating the edge: 4:2:0 video has no odd ones.
    ///
    /// - Parameters:
    ///   - frames: of one size, 16 pixels a side at least and no larger than 3840x2160 or so (the library's limit).
    ///   - fps: frames a second, 1...240.
    public static func write(_ frames: [Frame], fps: Int) throws(MediaError) -> [UInt8] {
        try FrameLimits.check(fps: fps, count: frames.count)
        let size = try FrameLimits.size(of: frames)
        guard min(size.width, size.height) >= H264Encoder.minimumSide else {
            throw .frames("H.264 needs at least \(H264Encoder.minimumSide) pixels a side, not \(size)")
        }
        let (width, height) = YUV420.sides(of: size)
        let encoder = try H264Encoder(width: width, height: height, fps: fps)
        var samples: [[UInt8]] = []
        var keys: [UInt32] = []
        for (index, frame) in frames.enumerated() {
            let picture = try encoder.encode(YUV420(frame), milliseconds: index * 1000 / fps)
            if picture.isKey { keys.append(UInt32(index + 1)) }
            var sample = ByteWriter()
            for unit in picture.units {
                sample.big(UInt32(unit.count))
                sample.bytes += unit
            }
            samples.append(sample.bytes)
        }
        let total = samples.reduce(0) { $0 + $1.count }
        guard total < 1 << 31 else { throw .tooLarge("an MP4 of more than 2 GiB") }
        guard encoder.sequenceParameters.count >= 4, !encoder.pictureParameters.isEmpty else {
            throw .codec("libopenh264", reason: "it wrote no parameter sets")
        }

        let track = Track(
            width: width, height: height, fps: fps, sizes: samples.map(\.count), keys: keys,
            sequenceParameters: encoder.sequenceParameters, pictureParameters: encoder.pictureParameters)
        // The offset of the first sample stands inside moov, whose length does not depend on it.
        let head = fileType.count + track.movie(dataAt: 0).count + 8
        var out = ByteWriter()
        out.bytes = fileType + track.movie(dataAt: head)
        out.big(UInt32(total + 8))
        out.text("mdat")
        for sample in samples { out.bytes += sample }
        return out.bytes
    }

    private static var fileType: [UInt8] {
        box("ftyp") { out in
            out.text("isom")
            out.big(UInt32(0x200))
            out.text("isomiso2avc1mp41")
        }
    }

    /// A box: length, name, contents; `version` makes it a full box.
    private static func box(
        _ name: StaticString, version: UInt32? = nil, _ contents: (inout ByteWriter) -> Void
    ) -> [UInt8] {
        var out = ByteWriter()
        out.big(UInt32(0))
        out.text(name)
        if let version { out.big(version) }
        contents(&out)
        let length = UInt32(out.bytes.count)
        for byte in 0..<4 { out.bytes[byte] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(byte))) }
        return out.bytes
    }

    /// The one track, and the boxes that describe it.
    private struct Track {
        var width: Int
        var height: Int
        var fps: Int
        var sizes: [Int]
        var keys: [UInt32]
        var sequenceParameters: [UInt8]
        var pictureParameters: [UInt8]

        private var timescale: UInt32 { UInt32(fps * MP4.ticksPerFrame) }
        private var duration: UInt32 { UInt32(sizes.count * MP4.ticksPerFrame) }

        func movie(dataAt offset: Int) -> [UInt8] {
            box("moov") { out in
                out.bytes += box("mvhd", version: 0) { out in
                    out.zeros(8)
                    out.big(timescale)
                    out.big(duration)
                    out.big(UInt32(0x10000))
                    out.big(UInt16(0x100))
                    out.zeros(10)
                    matrix(&out)
                    out.zeros(24)
                    out.big(UInt32(2))
                }
                out.bytes += box("trak") { out in
                    out.bytes += box("tkhd", version: 3) { out in
                        out.zeros(8)
                        out.big(UInt32(1))
                        out.zeros(4)
                        out.big(duration)
                        out.zeros(16)
                        matrix(&out)
                        out.big(UInt32(width << 16))
                        out.big(UInt32(height << 16))
                    }
                    out.bytes += media(dataAt: offset)
                }
            }
        }

        private func media(dataAt offset: Int) -> [UInt8] {
            box("mdia") { out in
                out.bytes += box("mdhd", version: 0) { out in
                    out.zeros(8)
                    out.big(timescale)
                    out.big(duration)
                    out.big(UInt16(0x55C4))  // undetermined language
                    out.zeros(2)
                }
                out.bytes += box("hdlr", version: 0) { out in
                    out.zeros(4)
                    out.text("vide")
                    out.zeros(12)
                    out.text("video\0")
                }
                out.bytes += box("minf") { out in
                    out.bytes += box("vmhd", version: 1) { $0.zeros(8) }
                    out.bytes += box("dinf") { out in
                        out.bytes += box("dref", version: 0) { out in
                            out.big(UInt32(1))
                            out.bytes += box("url ", version: 1) { _ in }
                        }
                    }
                    out.bytes += samples(dataAt: offset)
                }
            }
        }

        private func samples(dataAt offset: Int) -> [UInt8] {
            box("stbl") { out in
                out.bytes += box("stsd", version: 0) { out in
                    out.big(UInt32(1))
                    out.bytes += entry
                }
                out.bytes += box("stts", version: 0) { out in
                    out.big(UInt32(1))
                    out.big(UInt32(sizes.count))
                    out.big(UInt32(MP4.ticksPerFrame))
                }
                out.bytes += box("stss", version: 0) { out in
                    out.big(UInt32(keys.count))
                    for key in keys { out.big(key) }
                }
                out.bytes += box("stsc", version: 0) { out in
                    out.big(UInt32(1))
                    out.big(UInt32(1))
                    out.big(UInt32(sizes.count))
                    out.big(UInt32(1))
                }
                out.bytes += box("stsz", version: 0) { out in
                    out.big(UInt32(0))
                    out.big(UInt32(sizes.count))
                    for size in sizes { out.big(UInt32(size)) }
                }
                out.bytes += box("stco", version: 0) { out in
                    out.big(UInt32(1))
                    out.big(UInt32(offset))
                }
            }
        }

        private var entry: [UInt8] {
            box("avc1") { out in
                out.zeros(6)
                out.big(UInt16(1))
                out.zeros(16)
                out.big(UInt16(width))
                out.big(UInt16(height))
                out.big(UInt32(0x48_0000))
                out.big(UInt32(0x48_0000))
                out.zeros(4)
                out.big(UInt16(1))
                out.zeros(32)
                out.big(UInt16(24))
                out.big(UInt16.max)
                out.bytes += box("avcC") { out in
                    out.bytes += [1, sequenceParameters[1], sequenceParameters[2], sequenceParameters[3], 0xFF, 0xE1]
                    out.big(UInt16(sequenceParameters.count))
                    out.bytes += sequenceParameters
                    out.bytes.append(1)
                    out.big(UInt16(pictureParameters.count))
                    out.bytes += pictureParameters
                }
                out.bytes += box("colr") { out in
                    // BT.601 (SMPTE 170M) primaries, transfer and matrix; limited range.
                    out.text("nclx")
                    out.big(UInt16(6))
                    out.big(UInt16(6))
                    out.big(UInt16(6))
                    out.bytes.append(0)
                }
            }
        }

        private func matrix(_ out: inout ByteWriter) {
            for value: UInt32 in [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000] { out.big(value) }
        }
    }
}
