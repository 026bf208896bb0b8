import NIOCore

/// What one client wants of previews: `fps` and `width` of the query.
struct PreviewOptions: Sendable, Equatable {
    static let rates = 0.1...60.0
    static let widths = 16...1024

    /// At most so many frames a second; `nil` is every one that the client has time for.
    var rate: Double?
    /// Pixels; the height follows. `nil` is as the frame was made.
    var width: Int?

    init() {}

    init(query: [String: String]) throws(ServiceError) {
        if let text = query["fps"] {
            guard text.utf8.count <= 16, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }),
                let value = Double(text), Self.rates.contains(value)
            else {
                throw .invalid(
                    code: "invalid_value", field: "fps",
                    "fps must be a decimal number from \(Self.rates.lowerBound) to \(Self.rates.upperBound)")
            }
            rate = value
        }
        if let text = query["width"] {
            guard text.utf8.count <= 4, let value = Int(text), Self.widths.contains(value) else {
                throw .invalid(
                    code: "invalid_value", field: "width",
                    "width must be an integer from \(Self.widths.lowerBound) to \(Self.widths.upperBound)")
            }
            width = value
        }
    }

    /// From the start of one frame to that of the next.
    var interval: TimeAmount? { rate.map { .nanoseconds(Int64(1e9 / $0)) } }
}
