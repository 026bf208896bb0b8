import FoundationEssentials
import Testing

@testable import Models

@Suite struct TokenizerTests {
    static let vocabulary = """
        [PAD]
        [UNK]
        [CLS]
        [SEP]
        a
        un
        ##aff
        ##able
        unaffable
        fox
        ##es
        !
        ,
        中
        国
        cafe
        strasse
        f
        ##o
        ##x
        ı
        #
        é
        """

    func tokens(_ text: String, maximum: Int = 24, lowercase: Bool = true) throws -> [Int32] {
        try WordPieceTokenizer(
            vocabulary: Array(Self.vocabulary.utf8), lowercase: lowercase, maximumTokens: maximum
        ).encode(text)
    }

    @Test(arguments: [
        ("", [2, 3]),
        (" \t\n ", [2, 3]),
        ("fox", [2, 9, 3]),
        ("FoX!", [2, 9, 11, 3]),
        ("foxes,fox", [2, 9, 10, 12, 9, 3]),
        ("unaffable", [2, 8, 3]),
        ("unaffaff", [2, 5, 6, 6, 3]),
        ("unaffy", [2, 1, 3]),
        ("Café cafe\u{301}", [2, 15, 15, 3]),
        ("a中国fox", [2, 4, 13, 14, 9, 3]),
        ("f\u{200B}o\u{0}x\u{FFFD}\u{AD}", [2, 9, 3]),
        ("fox\u{A0}fox\u{3000}fox\u{2028}fox", [2, 9, 9, 9, 9, 3]),
        ("##aff", [2, 21, 21, 1, 3]),
        ("[SEP]", [2, 1, 1, 1, 3]),
        ("🦊", [2, 1, 3]),
        ("ı I", [2, 20, 1, 3]),
    ])
    func spellsAsBERT(_ text: String, _ expected: [Int32]) throws {
        #expect(try tokens(text) == expected)
    }

    @Test func keepsCaseAndAccentsWhenAsked() throws {
        #expect(try tokens("é", lowercase: false) == [2, 22, 3])
        #expect(try tokens("FOX", lowercase: false) == [2, 1, 3])
        // Stripped first, the letter is looked up as a plain e.
        #expect(try tokens("é") == [2, 1, 3])
    }

    @Test func cutsAtTheMaximum() throws {
        #expect(try tokens("fox foxes fox", maximum: 4) == [2, 9, 9, 3])
        #expect(try tokens("fox", maximum: 2) == [2, 3])
    }

    @Test func callsLongWordsUnknown() throws {
        let hundred = "f" + String(repeating: "o", count: 99)
        #expect(try tokens(hundred, maximum: 500).count == 102)
        #expect(try tokens(hundred + "o", maximum: 500) == [2, 1, 3])
    }

    @Test func limitsItsInput() throws {
        let long = String(repeating: "a", count: WordPieceTokenizer.maximumTextBytes + 1)
        #expect(throws: ModelError.textTooLong(bytes: 16385, limit: 16384)) { try tokens(long) }
        // Combining marks without end are one word, gone after stripping.
        #expect(try tokens("a" + String(repeating: "\u{301}", count: 8000)) == [2, 4, 3])
    }

    @Test(arguments: [
        "", "a\nb\n", "[UNK]\n[CLS]\n\n[SEP]\n", "[UNK]\n[CLS]\n[SEP]\n" + String(repeating: "x", count: 513),
    ])
    func refusesBrokenVocabularies(_ text: String) {
        #expect(throws: ModelError.self) {
            try WordPieceTokenizer(vocabulary: Array(text.utf8), lowercase: true, maximumTokens: 24)
        }
    }

    @Test func tellsCanonicallyEqualPiecesApart() throws {
        let text = "[UNK]\n[CLS]\n[SEP]\ne\u{301}\n\u{E9}\n"
        let tokenizer = try WordPieceTokenizer(vocabulary: Array(text.utf8), lowercase: false, maximumTokens: 9)
        #expect(try tokenizer.encode("e\u{301}") == [1, 3, 2])
        #expect(try tokenizer.encode("\u{E9}") == [1, 4, 2])
    }

    struct Goldens: Decodable {
        struct Case: Decodable {
            var text: String
            var ids: [Int32]
            var full_ids: [Int32]
        }
        var max_tokens: Int
        var lowercase: Bool
        var cases: [Case]
    }

    static let bundledVocabulary = String(goldens.dropLast("Tests/Goldens".count)) + "Models/nano"

    /// The reference's own answers, over the bundled model's vocabulary.
    @Test(.enabled(if: (try? contents(of: "vocab.txt", in: bundledVocabulary, limit: 1 << 24)) != nil))
    func spellsAsTheReference() throws {
        let vocabulary = try contents(of: "vocab.txt", in: Self.bundledVocabulary, limit: 1 << 24)
        let json = try contents(of: "expected.json", in: "\(goldens)/tokenizer", limit: 1 << 20)
        let expected = try JSONDecoder().decode(Goldens.self, from: Data(json))
        #expect(expected.cases.count > 30)
        for (maximum, ids) in [(expected.max_tokens, \Goldens.Case.ids), (512, \.full_ids)] {
            let tokenizer = try WordPieceTokenizer(
                vocabulary: vocabulary, lowercase: expected.lowercase, maximumTokens: maximum)
            for item in expected.cases {
                #expect(try tokenizer.encode(item.text) == item[keyPath: ids], "\(item.text.debugDescription)")
            }
        }
    }
}
