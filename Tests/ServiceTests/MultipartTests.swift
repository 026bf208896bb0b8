import Testing

@testable import Service

@Suite struct MultipartTests {
    private func form(_ parts: String..., boundary: String = "b") -> [UInt8] {
        Array((parts.map { "--\(boundary)\r\n\($0)\r\n" }.joined() + "--\(boundary)--\r\n").utf8)
    }

    private func failure(_ body: [UInt8], boundary: String = "b") -> String {
        do {
            let parts = try Multipart.parse(body, boundary: Array(boundary.utf8))
            return "no error: \(parts.count) parts"
        } catch {
            return error.message
        }
    }

    @Test func readsNamesTypesAndContents() throws {
        let body = form(
            "Content-Disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\nand a line",
            "content-disposition: FORM-DATA; NAME=image; filename=\"a \\\"b\\\";c.png\"\r\nContent-Type: image/PNG\r\n\r\n\u{1}\r\n--c",
            "Content-Disposition: form-data; name=\"empty\"\r\n\r\n")
        let parts = try Multipart.parse(body, boundary: Array("b".utf8))
        #expect(parts.map(\.name) == ["prompt", "image", "empty"])
        #expect(parts[0].content == Array("a fox\r\nand a line".utf8))
        #expect(parts[1].fileName == "a \"b\";c.png")
        #expect(parts[1].contentType == "image/png")
        #expect(parts[1].content == Array("\u{1}\r\n--c".utf8))
        #expect(parts[2].content.isEmpty)
    }

    @Test func ignoresPreambleAndEpilogue() throws {
        let body =
            Array("preamble\r\n".utf8) + form("Content-Disposition: form-data; name=a\r\n\r\n1")
            + Array("epilogue".utf8)
        #expect(try Multipart.parse(body, boundary: Array("b".utf8)).count == 1)
    }

    @Test func refusesWhatIsNotAForm() {
        let good = form("Content-Disposition: form-data; name=a\r\n\r\n1")
        #expect(failure([]).contains("does not occur"))
        #expect(failure(good, boundary: "other").contains("does not occur"))
        #expect(failure(Array(good.dropLast(6))).contains("not closed"))
        #expect(failure(form("\r\nno headers")).contains("no headers"))
        #expect(failure(form("Content-Type: text/plain\r\n\r\n1")).contains("no Content-Disposition"))
        #expect(failure(form("Content-Disposition: form-data\r\n\r\n1")).contains("with a name"))
        #expect(failure(form("Content-Disposition: form-data; name=a\r\n1")).contains("have no end"))
        #expect(failure(form("nonsense\r\n\r\n1")).contains("no colon"))
        #expect(failure(Array("--bgarbage".utf8)).contains("end of its line"))
        let encoded = "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n1"
        #expect(failure(form(encoded)).contains("Content-Transfer-Encoding"))
        let long = "Content-Disposition: form-data; name=\(String(repeating: "n", count: 5000))\r\n\r\n1"
        #expect(failure(form(long)).contains("longer than 4096"))
        let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
        #expect(
            failure(Array(String(repeating: part, count: 129).utf8) + Array("--b--".utf8)).contains("more than 128"))
    }

    @Test func boundariesAreBounded() throws {
        #expect(try Multipart.boundary(ofContentType: "multipart/form-data; boundary=\"a b;c\"") == Array("a b;c".utf8))
        #expect(throws: MultipartError.self) { try Multipart.boundary(ofContentType: "multipart/form-data") }
        let long = String(repeating: "x", count: 71)
        #expect(throws: MultipartError.self) {
            try Multipart.boundary(ofContentType: "multipart/form-data; boundary=\(long)")
        }
        #expect(throws: MultipartError.self) { try Multipart.boundary(ofContentType: "multipart/form-data; boundary=") }
    }

    /// Cut, doubled and changed forms end in parts or in an error, never in a trap; whatever is found is in the body.
    @Test func survivesDamagedForms() {
        let seed = form(
            "Content-Disposition: form-data; name=\"prompt\"\r\n\r\na fox",
            "Content-Disposition: form-data; name=\"size\"\r\nContent-Type: text/plain\r\n\r\n64x64")
        var random = SplitMix(state: 20_261)
        for _ in 0..<20_000 {
            var body = seed
            for _ in 0...Int(random.next() % 6) where !body.isEmpty {
                let place = Int(random.next() % UInt64(body.count))
                switch random.next() % 4 {
                case 0: body[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: body.removeSubrange(place..<min(body.count, place + Int(random.next() % 30)))
                case 2: body.insert(contentsOf: Array("\r\n--b".utf8), at: place)
                default: body.removeLast(Int(random.next() % UInt64(body.count)))
                }
            }
            guard let parts = try? Multipart.parse(body, boundary: Array("b".utf8)) else { continue }
            #expect(parts.reduce(0) { $0 + $1.content.count } <= body.count)
        }
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
