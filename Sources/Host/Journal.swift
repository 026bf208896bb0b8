import CSystemd
import Glibc

/// Log entries with fields: to the journal when standard error leads there, as lines to standard error otherwise.
public struct Journal: Sendable {
    /// syslog(3)'s levels.
    public enum Priority: Int, Sendable {
        case error = 3
        case warning = 4
        case notice = 5
        case information = 6
        case debug = 7
    }

    private let isNative: Bool

    public init() { isNative = Self.standardErrorIsJournal(getenv("JOURNAL_STREAM").map { String(cString: $0) }) }

    /// For tests and for `--log stderr`.
    public init(native: Bool) { isNative = native }

    /// Fields are named as in the journal after upper-casing: `job` becomes `JOB`.
    public func write(_ priority: Priority, _ message: String, fields: [(name: String, value: String)] = []) {
        if isNative, Self.send(Self.entries(priority, message, fields)) { return }
        // sd-daemon(3): the prefix keeps the level when a pipe leads to the journal after all.
        let prefix = isNative ? "<\(priority.rawValue)>" : ""
        let line = prefix + Self.line(message, fields) + "\n"
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    static func entries(
        _ priority: Priority, _ message: String, _ fields: [(name: String, value: String)]
    ) -> [[UInt8]] {
        var entries = [Array("MESSAGE=\(message)".utf8), Array("PRIORITY=\(priority.rawValue)".utf8)]
        for field in fields {
            // journald drops fields with other characters, and those that begin with an underscore.
            let name = String(
                decoding: field.name.uppercased().utf8.map { byte -> UInt8 in
                    (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte) ? byte : 0x5F
                }, as: UTF8.self)
            let trimmed = name.drop { $0 == "_" || $0.isNumber }.prefix(64)
            guard !trimmed.isEmpty else { continue }
            entries.append(Array("\(trimmed)=\(field.value)".utf8))
        }
        return entries
    }

    static func line(_ message: String, _ fields: [(name: String, value: String)]) -> String {
        let text = fields.reduce(message) { "\($0) \($1.name)=\($1.value)" }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.isNewline ? " " : $0 }))
    }

    /// systemd names device and inode of the stream it gave the process as standard error.
    static func standardErrorIsJournal(_ stream: String?) -> Bool {
        guard let stream else { return false }
        let sides = stream.split(separator: ":")
        var facts = stat()
        guard sides.count == 2, fstat(STDERR_FILENO, &facts) == 0 else { return false }
        return UInt64(sides[0]) == UInt64(facts.st_dev) && UInt64(sides[1]) == UInt64(facts.st_ino)
    }

    private static func send(_ entries: [[UInt8]]) -> Bool {
        // One buffer under all vectors: its address must hold for the whole call.
        var flat = entries.flatMap { $0 }
        return flat.withUnsafeMutableBytes { bytes in
            var vectors: [iovec] = []
            var offset = 0
            for entry in entries {
                vectors.append(
                    iovec(iov_base: bytes.baseAddress.map { $0 + offset }, iov_len: entry.count))
                offset += entry.count
            }
            return sd_journal_sendv(vectors, Int32(vectors.count)) == 0
        }
    }
}

extension Unicode.Scalar.Properties {
    fileprivate var isNewline: Bool {
        generalCategory == .control || generalCategory == .lineSeparator || generalCategory == .paragraphSeparator
    }
}
