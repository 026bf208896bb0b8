/// BERT's tokenizer (reference: transformers `BertTokenizer`): text is cleaned, lower-cased and stripped of accents,
/// split at white space, punctuation and CJK ideographs, and each word is spelled with the longest pieces that fit.
public struct WordPieceTokenizer: Sendable {
    /// The longest text it takes, in UTF-8 bytes: far more than `maximumTokens` can say, and soon gone through.
    public static let maximumTextBytes = 16384
    /// A longer word becomes one `[UNK]`, as in the reference.
    static let maximumWordScalars = 100

    /// What a text is cut to, `[CLS]` and `[SEP]` included.
    public let maximumTokens: Int
    public let lowercase: Bool
    let vocabulary: Vocabulary
    private let unknown: Int32
    private let first: Int32
    private let last: Int32

    /// `vocabulary` is the contents of a `vocab.txt`. Throws `ModelError.invalid` naming `tokenizer.file`.
    public init(vocabulary contents: [UInt8], lowercase: Bool, maximumTokens: Int) throws(ModelError) {
        let vocabulary = try Vocabulary(contents)
        guard let unknown = vocabulary.id(of: "[UNK]"), let first = vocabulary.id(of: "[CLS]"),
            let last = vocabulary.id(of: "[SEP]")
        else { throw .invalid(field: "tokenizer.file", reason: "lacks [UNK], [CLS] or [SEP]") }
        guard maximumTokens >= 2 else {
            throw .invalid(field: "tokenizer.max_tokens", reason: "is \(maximumTokens), at least 2 are needed")
        }
        self.vocabulary = vocabulary
        self.unknown = unknown
        self.first = first
        self.last = last
        self.lowercase = lowercase
        self.maximumTokens = maximumTokens
    }

    /// How many pieces the vocabulary has; ids are below it.
    public var vocabularySize: Int { vocabulary.count }

    /// `[CLS]`, the text's pieces, `[SEP]`: at most `maximumTokens` ids. Names of special tokens in the text are
    /// ordinary text. Throws `ModelError.textTooLong`.
    public func encode(_ text: String) throws(ModelError) -> [Int32] {
        let bytes = text.utf8.count
        guard bytes <= Self.maximumTextBytes else {
            throw .textTooLong(bytes: bytes, limit: Self.maximumTextBytes)
        }
        var ids = [first]
        let room = maximumTokens - 1
        var splitter = WordSplitter(text, lowercase: lowercase)
        while ids.count < room, splitter.next() {
            spell(splitter.word, scalars: splitter.scalars, into: &ids)
        }
        if ids.count > room { ids.removeSubrange(room...) }
        ids.append(last)
        return ids
    }

    /// Longest piece first, from the left; a word with a part that no piece spells is one `[UNK]`.
    private func spell(_ word: [UInt8], scalars: Int, into ids: inout [Int32]) {
        guard scalars <= Self.maximumWordScalars else {
            ids.append(unknown)
            return
        }
        let kept = ids.count
        word.withUnsafeBufferPointer { word in
            var start = 0
            while start < word.count {
                var end = min(word.count, start + vocabulary.longestPiece)
                var found: Int32?
                while end > start {
                    // A piece never ends inside a scalar's bytes.
                    if end == word.count || word[end] & 0xC0 != 0x80 {
                        found = vocabulary.id(of: word, start, end, continues: start > 0)
                        if found != nil { break }
                    }
                    end -= 1
                }
                guard let id = found else {
                    ids.removeSubrange(kept...)
                    ids.append(unknown)
                    return
                }
                ids.append(id)
                start = end
            }
        }
    }
}
