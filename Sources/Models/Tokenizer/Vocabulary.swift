/// The pieces of a WordPiece vocabulary, found by their bytes.
///
/// One piece a line, the line number is its id; pieces inside a word are written with a leading `##`. Swift's own
/// `String` keys would not do: they compare by canonical equivalence, and the file holds pieces that differ only so.
struct Vocabulary: Sendable {
    static let maximumPieces = 1 << 20
    static let maximumBytes = 16 << 20
    static let maximumPieceBytes = 512

    private let bytes: [UInt8]
    /// Where piece `i` starts and ends in `bytes`, without its `##`.
    private let starts: [UInt32]
    private let ends: [UInt32]
    /// Open addressing; -1 is free, else the id of a piece.
    private let slots: [Int32]
    let longestPiece: Int
    var count: Int { starts.count }

    /// Throws `ModelError.invalid` naming `tokenizer.file`.
    init(_ contents: [UInt8]) throws(ModelError) {
        func refuse(_ reason: String) -> ModelError { .invalid(field: "tokenizer.file", reason: reason) }
        guard contents.count <= Self.maximumBytes else {
            throw refuse("names a file of \(contents.count) bytes, the limit is \(Self.maximumBytes)")
        }
        var starts: [UInt32] = []
        var ends: [UInt32] = []
        starts.reserveCapacity(32768)
        ends.reserveCapacity(32768)
        var longest = 0
        var start = 0
        var slots: [Int32] = []
        while start < contents.count {
            var end = start
            while end < contents.count, contents[end] != 0x0A { end += 1 }
            let next = end + 1
            if end > start, contents[end - 1] == 0x0D { end -= 1 }
            guard starts.count < Self.maximumPieces else {
                throw refuse("has more than \(Self.maximumPieces) pieces")
            }
            guard end > start, end - start <= Self.maximumPieceBytes else {
                let bounds = "pieces have 1...\(Self.maximumPieceBytes)"
                throw refuse("has a piece of \(end - start) bytes in line \(starts.count + 1), \(bounds)")
            }
            starts.append(UInt32(start))
            ends.append(UInt32(end))
            longest = max(longest, end - start)
            start = next
        }
        guard !starts.isEmpty else { throw refuse("is empty") }
        var capacity = 16
        while capacity < starts.count * 2 { capacity *= 2 }
        slots = [Int32](repeating: -1, count: capacity)
        contents.withUnsafeBufferPointer { text in
            for id in starts.indices {
                var from = Int(starts[id])
                let to = Int(ends[id])
                let continues = to - from > 2 && text[from] == 0x23 && text[from + 1] == 0x23
                if continues {
                    from += 2
                    // The top bit tells the two kinds apart: offsets stay below 2^24.
                    starts[id] = UInt32(from) | Self.continuesBit
                }
                var slot = Self.hash(text, from, to, continues) & (capacity - 1)
                while slots[slot] >= 0 {
                    let other = Int(slots[slot])
                    // Of equal pieces the last one counts, as in the reference's dictionary.
                    if starts[other] & Self.continuesBit == starts[id] & Self.continuesBit,
                        Self.equal(text, from, to, text, Int(starts[other] & ~Self.continuesBit), Int(ends[other]))
                    {
                        break
                    }
                    slot = (slot + 1) & (capacity - 1)
                }
                slots[slot] = Int32(id)
            }
        }
        self.bytes = contents
        self.starts = starts
        self.ends = ends
        self.slots = slots
        self.longestPiece = longest
    }

    /// The id of the piece spelled `word[from..<to]`, at a word's start or inside one.
    func id(of word: UnsafeBufferPointer<UInt8>, _ from: Int, _ to: Int, continues: Bool) -> Int32? {
        let mask = slots.count - 1
        let bit = continues ? Self.continuesBit : 0
        return bytes.withUnsafeBufferPointer { text in
            var slot = Self.hash(word, from, to, continues) & mask
            while slots[slot] >= 0 {
                let id = Int(slots[slot])
                if starts[id] & Self.continuesBit == bit,
                    Self.equal(word, from, to, text, Int(starts[id] & ~Self.continuesBit), Int(ends[id]))
                {
                    return Int32(id)
                }
                slot = (slot + 1) & mask
            }
            return nil
        }
    }

    /// The id of a whole piece such as `[CLS]`.
    func id(of piece: StaticString) -> Int32? {
        id(
            of: UnsafeBufferPointer(start: piece.utf8Start, count: piece.utf8CodeUnitCount), 0,
            piece.utf8CodeUnitCount, continues: false)
    }

    private static let continuesBit: UInt32 = 1 << 31

    /// FNV-1a.
    private static func hash(_ text: UnsafeBufferPointer<UInt8>, _ from: Int, _ to: Int, _ continues: Bool) -> Int {
        var value: UInt64 = continues ? 0x84_2223_25CB_F29C : 0xCBF2_9CE4_8422_2325
        for i in from..<to { value = (value ^ UInt64(text[i])) &* 0x100_0000_01B3 }
        return Int(truncatingIfNeeded: (value ^ (value >> 29)) >> 1)
    }

    private static func equal(
        _ a: UnsafeBufferPointer<UInt8>, _ aFrom: Int, _ aTo: Int, _ b: UnsafeBufferPointer<UInt8>, _ bFrom: Int,
        _ bTo: Int
    ) -> Bool {
        guard aTo - aFrom == bTo - bFrom else { return false }
        for i in 0..<(aTo - aFrom) where a[aFrom + i] != b[bFrom + i] { return false }
        return true
    }
}
