import Video

/// Names of H.264's byte stream.
enum H264 {
    static let startCode: [UInt8] = [0, 0, 0, 1]
    /// What level 5.2 lets a decoder keep, in macroblocks (ITU-T H.264, table A-1): 71 MB.
    static let maximumBufferedMacroblocks = 184_320
    /// Of one picture at that level.
    static let maximumMacroblocks = 36_864

    /// Nothing from before is needed from here on.
    static func isInstantaneousRefresh(_ units: [UInt8]) -> Bool { units[startCode.count] & 0x1F == 5 }

    /// `nil` when a start code, or what a writer must have escaped, stands inside: a decoder would see another unit there.
    static func withoutTrailingZeros(_ unit: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var end = unit.endIndex
        while end > unit.startIndex, unit[end - 1] == 0 { end -= 1 }
        var zeros = 0
        for byte in unit[..<end] {
            if zeros >= 2, byte <= 2 { return nil }
            zeros = byte == 0 ? zeros + 1 : 0
        }
        return unit[..<end]
    }
}

/// What is needed of a sequence parameter set (ITU-T H.264, 7.3.2.1.1): all that bounds the decoder's memory, and colour.
struct SequenceParameterSet: Sendable, Equatable {
    /// After cropping.
    var size: Size
    /// Of a picture before cropping.
    var macroblocks: Int
    /// Pictures that the decoder keeps to predict from.
    var references: Int
    /// The other matrix that is known is BT.601.
    var isBT709 = false
    var isFullRange = false

    /// - Parameter unit: the NAL unit with its header.
    init(_ unit: [UInt8]) throws(MediaError) {
        var bits = BitReader(unit)
        _ = try bits.number(8)
        let profile = try bits.number(8)
        guard [66, 77, 100].contains(profile) else {
            throw .unsupported(
                "an MP4 of H.264 in profile \(profile); 66, 77 and 100 (Baseline, Main and High) are read")
        }
        _ = try bits.number(16)
        _ = try bits.golomb()
        if profile == 100 {
            let (chroma, lumaDepth, chromaDepth) = (try bits.golomb(), try bits.golomb(), try bits.golomb())
            guard (chroma, lumaDepth, chromaDepth) == (1, 0, 0) else {
                throw .unsupported("an MP4 of H.264 that is not 4:2:0 in 8 bits")
            }
            _ = try bits.number(1)
            if try bits.flag() {
                for list in 0..<8 where try bits.flag() { try Self.skipScalingList(list < 6 ? 16 : 64, &bits) }
            }
        }
        _ = try bits.golomb()
        switch try bits.golomb() {
        case 0: _ = try bits.golomb()
        case 1:
            _ = try (bits.number(1), bits.golomb(), bits.golomb())
            let cycle = try bits.golomb()
            guard cycle <= 255 else { throw .malformed("H.264: a cycle of \(cycle) pictures") }
            for _ in 0..<cycle { _ = try bits.golomb() }
        default: break
        }
        references = try bits.golomb()
        _ = try bits.number(1)
        let (columns, rows) = (try bits.golomb() + 1, try bits.golomb() + 1)
        guard try bits.flag() else { throw .unsupported("an MP4 of interlaced H.264") }
        _ = try bits.number(1)
        var crop = (across: 0, down: 0)
        if try bits.flag() {
            crop.across = try 2 * (bits.golomb() + bits.golomb())
            crop.down = try 2 * (bits.golomb() + bits.golomb())
        }
        let (width, height) = (16 * columns - crop.across, 16 * rows - crop.down)
        guard width > 0, height > 0 else { throw .malformed("H.264: all of the picture is cropped") }
        macroblocks = columns.multipliedReportingOverflow(by: rows).overflow ? .max : columns * rows
        guard let size = Size(width: width, height: height), macroblocks <= H264.maximumMacroblocks else {
            throw .tooLarge(
                "an MP4 of \(width)x\(height); sides are 1 to \(Size.maximumSide), and all of it at most "
                    + "\(H264.maximumMacroblocks) blocks of 16x16")
        }
        self.size = size
        guard references <= 16, references * macroblocks <= H264.maximumBufferedMacroblocks else {
            throw .tooLarge(
                "an MP4 that wants \(references) pictures of \(size) kept; the limit is 16, and "
                    + "\(H264.maximumBufferedMacroblocks) blocks of 16x16 of all")
        }
        if try bits.flag() { try readUsability(&bits) }
    }

    /// As far as the colour.
    private mutating func readUsability(_ bits: inout BitReader) throws(MediaError) {
        let ownShape = 255
        if try bits.flag(), try bits.number(8) == ownShape { _ = try bits.number(32) }
        if try bits.flag() { _ = try bits.number(1) }
        guard try bits.flag() else { return }
        _ = try bits.number(3)
        isFullRange = try bits.flag()
        if try bits.flag() {
            _ = try bits.number(16)
            isBT709 = try bits.number(8) == 1
        }
    }

    private static func skipScalingList(_ count: Int, _ bits: inout BitReader) throws(MediaError) {
        var (last, next) = (8, 8)
        for _ in 0..<count where next != 0 {
            let code = try bits.golomb()
            // Signed: 0, 1, -1, 2, -2 ...
            let change = code % 2 == 1 ? (code + 1) / 2 : -(code / 2)
            next = (last + change + 256) & 255
            if next != 0 { last = next }
        }
    }
}

/// Bits of a NAL unit, its escapes taken out.
private struct BitReader {
    private var bytes: [UInt8] = []
    private var place = 0

    init(_ unit: [UInt8]) {
        var zeros = 0
        for byte in unit {
            if zeros >= 2, byte == 3 {
                zeros = 0
                continue
            }
            zeros = byte == 0 ? zeros + 1 : 0
            bytes.append(byte)
        }
    }

    mutating func flag() throws(MediaError) -> Bool { try number(1) == 1 }

    /// - Parameter count: bits, at most 32.
    mutating func number(_ count: Int) throws(MediaError) -> Int {
        guard count <= bytes.count * 8 - place else {
            throw .malformed("H.264: the sequence parameter set is cut short")
        }
        var value = 0
        for _ in 0..<count {
            value = value << 1 | Int(bytes[place / 8] >> (7 - place % 8) & 1)
            place += 1
        }
        return value
    }

    /// An Exp-Golomb code, below 2^32.
    mutating func golomb() throws(MediaError) -> Int {
        var zeros = 0
        while try number(1) == 0 {
            zeros += 1
            guard zeros < 32 else { throw .malformed("H.264: a number of the sequence parameter set is too large") }
        }
        return try number(zeros) + (1 << zeros) - 1
    }
}
