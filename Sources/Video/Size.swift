/// Width and height of a picture in pixels, written `WIDTHxHEIGHT`.
public struct Size: Hashable, Sendable, CustomStringConvertible {
    /// The largest side this program accepts anywhere, in pixels.
    public static let maximumSide = 4096

    public let width: Int
    public let height: Int

    /// `nil` when a side is not in `1...maximumSide`.
    public init?(width: Int, height: Int) {
        guard (1...Self.maximumSide).contains(width), (1...Self.maximumSide).contains(height) else { return nil }
        self.width = width
        self.height = height
    }

    /// Parses `64x64`: ASCII digits, a lower-case `x`, nothing else.
    public init?(_ text: some StringProtocol) {
        let sides = text.utf8.split(separator: UInt8(ascii: "x"), omittingEmptySubsequences: false)
        guard sides.count == 2,
            sides.allSatisfy({ (1...4).contains($0.count) && $0.allSatisfy { (0x30...0x39).contains($0) } }),
            let width = Int(String(decoding: sides[0], as: UTF8.self)),
            let height = Int(String(decoding: sides[1], as: UTF8.self))
        else { return nil }
        self.init(width: width, height: height)
    }

    public var pixels: Int { width * height }

    /// The one of `sizes` whose shape is nearest to this one's, the first of equals; itself when there is none.
    public func nearest(of sizes: [Size]) -> Size {
        func difference(_ other: Size) -> Double {
            let ratio = Double(width * other.height) / Double(height * other.width)
            return max(ratio, 1 / ratio)
        }
        return sizes.min { difference($0) < difference($1) } ?? self
    }

    public var description: String { "\(width)x\(height)" }
}

extension Size: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let size = Size(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is not WIDTHxHEIGHT")
        }
        self = size
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
