/// One event of a `text/event-stream` (WHATWG HTML, 9.2).
struct ServerSentEvent: Sendable, Equatable {
    var id: UInt64?
    var name: String
    /// One line of JSON; line ends in it would be separate `data:` lines.
    var data: String

    var bytes: [UInt8] {
        var text = ""
        if let id { text += "id: \(id)\n" }
        text += "event: \(name)\n"
        for line in data.split(separator: "\n", omittingEmptySubsequences: false) { text += "data: \(line)\n" }
        return Array((text + "\n").utf8)
    }
}
