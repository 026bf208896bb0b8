import FoundationEssentials

/// A JSON value as it was sent. Whole numbers keep their exactness: a seed has 64 bits, a double 53.
enum JSONValue: Sendable, Equatable, Decodable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// A whole number beyond `Int64`.
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    /// No field takes arrays; their contents are not kept, so that a hostile one costs nothing.
    case array
    /// Its members that are strings, which is all that fields take of objects.
    case object([String: String])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(UInt64.self) {
            self = .unsigned(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if (try? decoder.unkeyedContainer()) != nil {
            self = .array
        } else {
            let members = try decoder.container(keyedBy: AnyKey.self)
            var strings: [String: String] = [:]
            for key in members.allKeys.prefix(16) {
                if let text = try? members.decode(String.self, forKey: key) { strings[key.stringValue] = text }
            }
            self = .object(strings)
        }
    }

    /// What a person would call this type, for error messages.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .unsigned: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
