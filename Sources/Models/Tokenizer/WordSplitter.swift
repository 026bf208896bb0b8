// Canonical decomposition without Foundation's and ICU's 40 MB.
@_spi(_Unicode) import Swift

/// Words of a text in order, one at a time, as BERT's basic tokenizer cuts them.
struct WordSplitter {
    private let text: [Unicode.Scalar]
    private let lowercase: Bool
    private var position = 0
    /// The word `next()` found, in UTF-8, and how many scalars it has.
    private(set) var word: [UInt8] = []
    private(set) var scalars = 0

    init(_ text: String, lowercase: Bool) {
        var cleaned = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if scalar == "\t" || scalar == "\n" || scalar == "\r" {
                cleaned.append(" ")
            } else if scalar.value == 0 || scalar.value == 0xFFFD || scalar.isControl {
                continue
            } else if scalar.isIdeograph {
                cleaned.append(" ")
                cleaned.append(scalar)
                cleaned.append(" ")
            } else {
                cleaned.append(scalar.properties.isWhitespace ? " " : scalar)
            }
        }
        self.lowercase = lowercase
        if lowercase {
            self.text = String(cleaned)._nfd.filter { $0.properties.generalCategory != .nonspacingMark }
        } else {
            self.text = Array(cleaned)
        }
    }

    /// Finds the next word; false at the end.
    mutating func next() -> Bool {
        word.removeAll(keepingCapacity: true)
        scalars = 0
        while position < text.count {
            let scalar = text[position]
            if scalar.properties.isWhitespace {
                position += 1
                if scalars > 0 { return true }
            } else if scalar.isPunctuation {
                if scalars == 0 {
                    position += 1
                    append(scalar)
                }
                return true
            } else {
                position += 1
                append(scalar)
            }
        }
        return scalars > 0
    }

    private mutating func append(_ scalar: Unicode.Scalar) {
        if lowercase {
            for lower in scalar.properties.lowercaseMapping.unicodeScalars {
                word.append(contentsOf: UTF8.encode(lower)!)
                scalars += 1
            }
        } else {
            word.append(contentsOf: UTF8.encode(scalar)!)
            scalars += 1
        }
    }
}

extension Unicode.Scalar {
    /// Control, format and private use. Unassigned ones stay, as in the reference: a newer emoji is then unknown,
    /// not gone.
    fileprivate var isControl: Bool {
        switch properties.generalCategory {
        case .control, .format, .privateUse: true
        default: false
        }
    }

    /// The blocks BERT sets apart with spaces: CJK ideographs, not Hangul and not kana.
    fileprivate var isIdeograph: Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B820...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }

    /// Category P, and every ASCII sign that is neither letter, digit nor space.
    fileprivate var isPunctuation: Bool {
        switch value {
        case 33...47, 58...64, 91...96, 123...126: return true
        default: break
        }
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return true
        default: return false
        }
    }
}
