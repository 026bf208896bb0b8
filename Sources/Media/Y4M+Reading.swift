import Video

extension Y4M {
    static let signature = Array("YUV4MPEG2 ".utf8)
    private static let longestLine = 1024

    /// What a Y4M holds; the pictures are not converted yet.
    struct Contents: Sendable {
        var size: Size
        /// Frames a second, as a fraction.
        var rate: (frames: Int, seconds: Int)
        fileprivate var colour: Colour
        fileprivate var isFullRange: Bool
        fileprivate var bytes: [UInt8]
        /// Where the luma of each frame begins.
        fileprivate var starts: [Int]

        var count: Int { starts.count }
    }

    fileprivate enum Colour {
        case quarter, full, none

        func bytes(_ size: Size) -> Int {
            switch self {
            case .quarter: size.pixels + 2 * ((size.width + 1) / 2) * ((size.height + 1) / 2)
            case .full: 3 * size.pixels
            case .none: size.pixels
            }
        }
    }

    /// Progressive 8-bit 4:2:0, 4:4:4 or mono. `bytes` may come from anyone.
    static func read(_ bytes: [UInt8]) throws(MediaError) -> Contents {
        guard let end = bytes.prefix(longestLine).firstIndex(of: 0x0A) else { throw .malformed("Y4M: no header") }
        var sides = (width: 0, height: 0)
        var rate = (frames: 25, seconds: 1)
        var colour = Colour.quarter
        var isFullRange = false
        for tag in String(decoding: bytes[..<end], as: UTF8.self).split(separator: " ").dropFirst() {
            let value = tag.dropFirst()
            switch tag.first {
            case "W": sides.width = Int(value) ?? 0
            case "H": sides.height = Int(value) ?? 0
            case "F":
                let parts = value.split(separator: ":").map { Int($0) ?? 0 }
                guard parts.count == 2, parts.allSatisfy({ (1...1_000_000).contains($0) }), parts[0] <= 240 * parts[1]
                else { throw .malformed("Y4M: \(value) frames a second; it must be above 0, at most 240") }
                rate = (parts[0], parts[1])
            case "I":
                guard value == "p" || value == "?" else { throw .unsupported("an interlaced Y4M") }
            case "C":
                switch value {
                case "420", "420jpeg", "420mpeg2", "420paldv": colour = .quarter
                case "444": colour = .full
                case "mono": colour = .none
                default: throw .unsupported("a Y4M of C\(value.prefix(20)); C420, C444 and Cmono are read")
                }
            case "X": if value == "COLORRANGE=FULL" { isFullRange = true }
            default: break
            }
        }
        guard sides.width > 0, sides.height > 0 else { throw .malformed("Y4M: it says no size") }
        guard let size = Size(width: sides.width, height: sides.height) else {
            throw .tooLarge("a Y4M of \(sides.width)x\(sides.height); sides are 1 to \(Size.maximumSide)")
        }
        let length = colour.bytes(size)
        var starts: [Int] = []
        var place = end + 1
        while place < bytes.count {
            let line = bytes[place...].prefix(longestLine)
            guard line.starts(with: "FRAME".utf8), let end = line.firstIndex(of: 0x0A), length <= bytes.count - end - 1
            else { throw .malformed("Y4M: frame \(starts.count) is damaged or cut short") }
            guard starts.count < FrameLimits.maximumFrames else {
                throw .tooLarge("a Y4M of more than \(FrameLimits.maximumFrames) frames")
            }
            starts.append(end + 1)
            place = end + 1 + length
        }
        guard !starts.isEmpty else { throw .malformed("Y4M: no frames") }
        return Contents(
            size: size, rate: rate, colour: colour, isFullRange: isFullRange, bytes: bytes, starts: starts)
    }
}

extension Y4M.Contents {
    /// BT.601; a colour that several pixels share is each one's.
    func frame(_ index: Int) -> Frame {
        let (width, pixels) = (size.width, size.pixels)
        let start = starts[index]
        let chromaWidth = colour == .quarter ? (width + 1) / 2 : width
        let chromaCount = colour == .quarter ? chromaWidth * ((size.height + 1) / 2) : pixels
        let matrix = RGBMatrix(isBT709: false, isFullRange: isFullRange)
        var rgb = [UInt8](repeating: 0, count: pixels * 3)
        for place in 0..<pixels {
            var (u, v) = (128, 128)
            if colour != .none {
                let shared = colour == .quarter ? place / width / 2 * chromaWidth + place % width / 2 : place
                u = Int(bytes[start + pixels + shared])
                v = Int(bytes[start + pixels + chromaCount + shared])
            }
            matrix.convert(Int(bytes[start + place]), u, v, into: &rgb, at: place * 3)
        }
        return Frame(size: size, pixels: rgb)
    }
}
