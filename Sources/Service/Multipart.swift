/// One part of a `multipart/form-data` body (RFC 7578).
struct FormPart: Sendable, Equatable {
    var name: String
    var fileName: String?
    var contentType: String?
    var content: [UInt8]
}

/// Why a body isn't `multipart/form-data`.
struct MultipartError: Error, Equatable {
    var message: String

    init(_ message: String) { self.message = message }
}

/// Parses whole bodies: the cap on a body bounds the memory this takes.
enum Multipart {
    static let largestPartHead = 4096
    /// The longest storyboard has two for each scene.
    static let mostParts = 128

    /// The boundary of `Content-Type: multipart/form-data; boundary=…`; 1…70 characters as RFC 2046 has it.
    static func boundary(ofContentType value: String) throws(MultipartError) -> [UInt8] {
        guard let boundary = HeaderValue(value).parameters["boundary"] else {
            throw MultipartError("the Content-Type names no boundary")
        }
        let bytes = Array(boundary.utf8)
        guard (1...70).contains(bytes.count), bytes.allSatisfy({ (0x20...0x7E).contains($0) }), bytes.last != 0x20
        else { throw MultipartError("the boundary must be 1 to 70 printable characters") }
        return bytes
    }

    static func parse(_ body: [UInt8], boundary: [UInt8]) throws(MultipartError) -> [FormPart] {
        let delimiter = Array("--".utf8) + boundary
        let lineDelimiter = Array("\r\n".utf8) + delimiter
        var parts: [FormPart] = []

        // A preamble before the first boundary is allowed and ignored.
        var cursor: Int
        if body.starts(with: delimiter) {
            cursor = delimiter.count
        } else if let first = find(lineDelimiter, in: body, from: 0) {
            cursor = first + lineDelimiter.count
        } else {
            throw MultipartError("the boundary named in the Content-Type does not occur in the body")
        }

        while true {
            if body[cursor...].starts(with: Array("--".utf8)) { return parts }
            while cursor < body.count, body[cursor] == 0x20 || body[cursor] == 0x09 { cursor += 1 }
            guard body[cursor...].starts(with: Array("\r\n".utf8)) else {
                throw MultipartError("a boundary is not followed by the end of its line")
            }
            cursor += 2
            guard parts.count < mostParts else { throw MultipartError("more than \(mostParts) parts") }
            guard let end = find(lineDelimiter, in: body, from: max(cursor - 2, 0)) else {
                throw MultipartError("the last part is not closed by the boundary")
            }
            parts.append(try part(body, from: cursor, to: max(end, cursor)))
            cursor = end + lineDelimiter.count
        }
    }

    private static func part(_ body: [UInt8], from start: Int, to end: Int) throws(MultipartError) -> FormPart {
        let gap = Array("\r\n\r\n".utf8)
        let headEnd: Int
        if body[start..<end].starts(with: Array("\r\n".utf8)) {
            throw MultipartError("a part has no headers")
        } else if let found = find(gap, in: body, from: start), found + gap.count <= end {
            headEnd = found
        } else {
            throw MultipartError("the headers of a part have no end")
        }
        guard headEnd - start <= largestPartHead else {
            throw MultipartError("the headers of a part are longer than \(largestPartHead) bytes")
        }
        guard let head = String(validating: body[start..<headEnd], as: UTF8.self) else {
            throw MultipartError("the headers of a part are not UTF-8")
        }
        var part = FormPart(name: "", content: Array(body[(headEnd + gap.count)..<end]))
        var named = false
        for line in head.split(separator: "\r\n", omittingEmptySubsequences: true) {
            guard let colon = line.firstIndex(of: ":") else {
                throw MultipartError("a header of a part has no colon")
            }
            let value = String(line[line.index(after: colon)...])
            switch line[..<colon].lowercased() {
            case "content-disposition":
                let disposition = HeaderValue(value)
                guard disposition.value == "form-data", let name = disposition.parameters["name"] else {
                    throw MultipartError("a part's Content-Disposition is not form-data with a name")
                }
                part.name = name
                part.fileName = disposition.parameters["filename"]
                named = true
            case "content-type":
                part.contentType = HeaderValue(value).value
            case "content-transfer-encoding":
                guard ["7bit", "8bit", "binary"].contains(HeaderValue(value).value) else {
                    throw MultipartError("Content-Transfer-Encoding must be 7bit, 8bit or binary")
                }
            default:
                break
            }
        }
        guard named else { throw MultipartError("a part has no Content-Disposition") }
        return part
    }

    private static func find(_ needle: [UInt8], in body: [UInt8], from start: Int) -> Int? {
        guard body.count - start >= needle.count else { return nil }
        return body.withUnsafeBufferPointer { body in
            needle.withUnsafeBufferPointer { needle in
                for candidate in start...(body.count - needle.count) where body[candidate] == needle[0] {
                    var matched = 1
                    while matched < needle.count, body[candidate + matched] == needle[matched] { matched += 1 }
                    if matched == needle.count { return candidate }
                }
                return nil
            }
        }
    }
}

/// A header's value with parameters: `form-data; name="a"; filename=b`. Keys and the value itself are lower-cased.
struct HeaderValue: Equatable {
    var value: String
    var parameters: [String: String] = [:]

    init(_ text: String) {
        var pieces: [String] = [""]
        var quoted = false
        var escaped = false
        for scalar in text.unicodeScalars {
            if escaped {
                pieces[pieces.count - 1].unicodeScalars.append(scalar)
                escaped = false
            } else if quoted, scalar == "\\" {
                escaped = true
            } else if scalar == "\"" {
                quoted.toggle()
            } else if scalar == ";", !quoted {
                pieces.append("")
            } else {
                pieces[pieces.count - 1].unicodeScalars.append(scalar)
            }
        }
        value = Self.trimmed(pieces[0]).lowercased()
        for piece in pieces.dropFirst() {
            guard let equals = piece.firstIndex(of: "=") else { continue }
            let key = Self.trimmed(String(piece[..<equals])).lowercased()
            let text = Self.trimmed(String(piece[piece.index(after: equals)...]))
            if parameters[key] == nil { parameters[key] = text }
        }
    }

    private static func trimmed(_ text: String) -> String {
        var rest = Substring(text)
        while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
        return String(rest)
    }
}
