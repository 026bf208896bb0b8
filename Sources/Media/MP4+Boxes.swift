extension MP4 {
    struct Box {
        /// Four letters; what is not printable reads `?`.
        var name: String
        /// Without length and name.
        var contents: Range<Int>
    }

    /// Boxes one after another, each inside `range`.
    struct Boxes {
        let bytes: [UInt8]
        var range: Range<Int>
        /// What holds them, for messages.
        var name = "the file"

        /// `nil` at the end.
        mutating func next() throws(MediaError) -> Box? {
            guard !range.isEmpty else { return nil }
            let start = range.lowerBound
            var fields = Fields(Boxes(bytes: bytes, range: range, name: name))
            var length = try fields.number(4)
            let name = try fields.text(4)
            switch length {
            case 0: length = range.count  // to the end
            case 1: length = try fields.number(8)
            default: break
            }
            guard length >= fields.range.lowerBound - start, length <= range.count else {
                throw .malformed("MP4: \(name) at byte \(start) is longer than what holds it, or shorter than itself")
            }
            range = start + length..<range.upperBound
            return Box(name: name, contents: fields.range.lowerBound..<start + length)
        }

        func inside(_ box: Box) -> Boxes { Boxes(bytes: bytes, range: box.contents, name: box.name) }

        /// The contents of the first box of that name.
        func first(_ name: String) throws(MediaError) -> Boxes? {
            var boxes = self
            while let box = try boxes.next() {
                if box.name == name { return boxes.inside(box) }
            }
            return nil
        }

        func fields(_ name: String) throws(MediaError) -> Fields {
            guard let box = try first(name) else { throw .malformed("MP4: no \(name)") }
            return Fields(box)
        }
    }

    /// What a box says, front to back, in big-endian order.
    struct Fields {
        let bytes: [UInt8]
        private(set) var range: Range<Int>
        private let name: String

        init(_ box: Boxes) { (bytes, range, name) = (box.bytes, box.range, box.name) }

        mutating func skip(_ count: Int) throws(MediaError) { _ = try take(count) }

        mutating func take(_ count: Int) throws(MediaError) -> ArraySlice<UInt8> {
            guard count <= range.count else { throw .malformed("MP4: \(name) is cut short") }
            let start = range.lowerBound
            range = start + count..<range.upperBound
            return bytes[start..<start + count]
        }

        /// - Parameter length: bytes, at most 8; what has no place in an `Int` is refused.
        mutating func number(_ length: Int) throws(MediaError) -> Int {
            var value: UInt64 = 0
            for byte in try take(length) { value = value << 8 | UInt64(byte) }
            guard let number = Int(exactly: value) else { throw .malformed("MP4: \(name) says \(value)") }
            return number
        }

        /// Eight bytes.
        mutating func signed() throws(MediaError) -> Int {
            let (high, low) = (try number(4), try number(4))
            return Int(Int32(truncatingIfNeeded: high)) << 32 | low
        }

        /// A full box's; its flags are passed over.
        mutating func version() throws(MediaError) -> Int { try number(4) >> 24 }

        mutating func text(_ count: Int) throws(MediaError) -> String {
            let letters = try take(count).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
            return String(decoding: letters, as: UTF8.self)
        }

        /// The boxes that follow.
        var boxes: Boxes { Boxes(bytes: bytes, range: range, name: name) }
    }
}
