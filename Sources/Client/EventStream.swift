/// One server-sent event.
public struct ServerEvent: Sendable, Equatable {
    public var id: String?
    public var name: String
    public var data: String
}

/// Puts events together from the bytes of a `text/event-stream` (WHATWG HTML, 9.2).
struct EventParser {
    static let largestEvent = 16 << 20

    private var line: [UInt8] = []
    private var name = ""
    private var data: [String] = []
    private var identifier: String?
    private var size = 0

    /// Events completed by `bytes`.
    mutating func feed(_ bytes: [UInt8]) throws(ClientError) -> [ServerEvent] {
        var events: [ServerEvent] = []
        for byte in bytes {
            guard byte == UInt8(ascii: "\n") else {
                line.append(byte)
                size += 1
                guard size <= Self.largestEvent else {
                    throw .malformed("an event of more than \(Self.largestEvent) bytes")
                }
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty {
                if !data.isEmpty {
                    let text = data.joined(separator: "\n")
                    events.append(ServerEvent(id: identifier, name: name.isEmpty ? "message" : name, data: text))
                }
                name = ""
                data = []
                size = 0
            } else {
                take(String(decoding: line, as: UTF8.self))
            }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func take(_ text: String) {
        guard !text.hasPrefix(":") else { return }
        let colon = text.firstIndex(of: ":") ?? text.endIndex
        var value = text[colon...].dropFirst()
        if value.hasPrefix(" ") { value = value.dropFirst() }
        switch text[..<colon] {
        case "event": name = String(value)
        case "data": data.append(String(value))
        case "id": identifier = String(value)
        default: break
        }
    }
}
