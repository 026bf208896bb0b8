import FoundationEssentials
import Jobs
import NIOHTTP1
import Video

/// The fields of `POST /v1/videos`, from JSON or from a form, checked as far as that is possible without a model.
enum VideoFields {
    /// Bytes of UTF-8 in `prompt` and in `negative_prompt`.
    static let longestPrompt = 2000
    static let longestModel = 200
    static let known =
        ["prompt", "model", "size", "seconds", "seed", "steps", "guidance", "negative_prompt", "fps", "loop"]
        + Reference.allCases.map(\.rawValue)

    struct Parsed {
        var parameters: VideoParameters
        /// Files as they came, not looked into.
        var uploads: [Reference: [UInt8]]
    }

    static func parse(
        body: [UInt8], contentType: String?, known: [String] = VideoFields.known
    ) throws(ServiceError) -> Parsed {
        var members = try members(body: body, contentType: contentType)
        try refuseUnknown(members, known: known)
        var uploads: [Reference: [UInt8]] = [:]
        for reference in Reference.allCases {
            uploads[reference] = try upload(members.removeValue(forKey: reference.rawValue), reference.rawValue)
        }
        var parameters = try parameters(members)
        parameters.references = Reference.allCases.filter { uploads[$0] != nil }
        return Parsed(parameters: parameters, uploads: uploads)
    }

    /// What was said, by name; no value is looked into.
    static func members(body: [UInt8], contentType: String?) throws(ServiceError) -> [String: Field] {
        switch contentType.map({ HeaderValue($0).value }) {
        case "application/json": try fields(ofJSON: body)
        case "multipart/form-data": try fields(ofForm: body, contentType: contentType ?? "")
        default: throw .unsupportedMediaType(accepted: "application/json or multipart/form-data")
        }
    }

    static func refuseUnknown(_ members: [String: Field], known: [String]) throws(ServiceError) {
        guard let unknown = members.keys.sorted().first(where: { !known.contains($0) }) else { return }
        let name = String(unknown.prefix(60))
        throw .invalid(
            code: "unknown_field", field: name,
            "there is no field '\(name)'; the fields are \(known.joined(separator: ", "))")
    }

    // MARK: Uploads

    /// A file of a form, or a `data:` URL, as a string or as `{"image_url": …}`.
    private static func upload(_ field: Field?, _ name: String) throws(ServiceError) -> [UInt8]? {
        switch field {
        case nil: return nil
        case .file(let bytes): return bytes
        case .text(let url), .json(.string(let url)): return try contents(ofURL: url, name)
        case .json(.object(let members)):
            guard let url = members["image_url"], members.count == 1 else {
                throw wrong(name, "a file of a form, or {\"image_url\": \"data:image/png;base64,…\"}")
            }
            return try contents(ofURL: url, name)
        case .json(let value): throw wrongType(name, "an object with image_url", value)
        }
    }

    private static func contents(ofURL url: String, _ name: String) throws(ServiceError) -> [UInt8] {
        let head = Array(url.utf8.prefix(64))
        guard head.starts(with: "data:".utf8), let comma = head.firstIndex(of: UInt8(ascii: ",")) else {
            throw wrong(name, "a data: URL with base64; nothing is fetched from elsewhere")
        }
        let type = HeaderValue(String(decoding: head[5..<comma], as: UTF8.self))
        guard ["image/jpeg", "image/png"].contains(type.value) else {
            throw .unsupportedUpload(field: name, accepted: "a JPEG or a PNG")
        }
        guard String(decoding: head[..<comma], as: UTF8.self).hasSuffix(";base64"),
            let data = Data(base64Encoded: Data(url.utf8.dropFirst(comma + 1)))
        else { throw wrong(name, "a data: URL with base64") }
        return Array(data)
    }

    // MARK: Bodies

    private static func fields(ofJSON body: [UInt8]) throws(ServiceError) -> [String: Field] {
        // Ill-formed UTF-8 is repaired first, so that the error can name the field that holds it.
        let wellFormed = String(validating: body, as: UTF8.self) != nil
        let bytes = wellFormed ? body : Array(String(decoding: body, as: UTF8.self).utf8)
        let members: [String: JSONValue]
        do {
            members = try JSONDecoder().decode([String: JSONValue].self, from: Data(bytes))
        } catch DecodingError.typeMismatch {
            throw .invalid(code: "invalid_json", field: nil, "the body must be a JSON object")
        } catch {
            throw .invalid(code: "invalid_json", field: nil, "the body is not JSON")
        }
        if !wellFormed {
            let damaged = members.keys.sorted().first { key in
                if case .string(let text) = members[key] { return text.unicodeScalars.contains("\u{FFFD}") }
                return false
            }
            throw .invalid(
                code: "invalid_encoding", field: damaged, "\(damaged ?? "the body") is not well-formed UTF-8")
        }
        return members.compactMapValues { $0 == .null ? nil : .json($0) }
    }

    private static func fields(ofForm body: [UInt8], contentType: String) throws(ServiceError) -> [String: Field] {
        let parts: [FormPart]
        do {
            parts = try Multipart.parse(body, boundary: Multipart.boundary(ofContentType: contentType))
        } catch {
            throw .invalid(code: "invalid_multipart", field: nil, error.message)
        }
        var fields: [String: Field] = [:]
        for part in parts {
            // The SDK's way to send an object in a form.
            var name = part.name
            for ending in ["[image_url]", "[id]"] where name.hasSuffix(ending) { name.removeLast(ending.count) }
            guard fields[name] == nil else {
                throw .invalid(code: "duplicate_field", field: name, "\(name) was sent more than once")
            }
            if part.name == name, Reference(rawValue: name) != nil,
                part.fileName != nil || part.contentType != nil || !part.content.starts(with: "data:".utf8)
            {
                fields[name] = .file(part.content)
                continue
            }
            guard let text = String(validating: part.content, as: UTF8.self) else {
                throw .invalid(
                    code: "invalid_encoding", field: part.name, "\(part.name) is not well-formed UTF-8")
            }
            fields[name] = .text(text)
        }
        return fields
    }

    // MARK: Fields

    enum Field {
        case json(JSONValue)
        /// From a form, where everything is text.
        case text(String)
        /// A part of a form that is a file's contents.
        case file([UInt8])
    }

    static func parameters(_ fields: [String: Field]) throws(ServiceError) -> VideoParameters {
        guard let prompt = try string(fields["prompt"], "prompt") else {
            throw .invalid(code: "missing_field", field: "prompt", "prompt is missing")
        }
        var parameters = VideoParameters(prompt: try checked(prompt, "prompt"))
        guard !prompt.allSatisfy(\.isWhitespace) else {
            throw .invalid(code: "empty_prompt", field: "prompt", "prompt is empty")
        }
        if let text = try string(fields["negative_prompt"], "negative_prompt") {
            parameters.negativePrompt = try checked(text, "negative_prompt")
        }
        if let model = try string(fields["model"], "model") {
            guard (1...longestModel).contains(model.utf8.count) else {
                throw wrong("model", "a name of 1 to \(longestModel) bytes")
            }
            parameters.model = try checked(model, "model")
        }
        if let text = try string(fields["size"], "size") {
            guard let size = Size(text) else {
                throw wrong("size", "WIDTHxHEIGHT with sides of 1 to \(Size.maximumSide), as in 64x64")
            }
            parameters.size = size
        }
        // A string in the OpenAI dialect; a number is what people write by hand.
        if let seconds = try number(fields["seconds"], "seconds", textAllowed: true) {
            guard seconds > 0, seconds <= 86_400 else { throw wrong("seconds", "more than 0 and at most 86400") }
            parameters.seconds = seconds
        }
        if let guidance = try number(fields["guidance"], "guidance", textAllowed: false) {
            guard (0...100).contains(guidance) else { throw wrong("guidance", "0 to 100") }
            parameters.guidance = guidance
        }
        parameters.loop = try flag(fields["loop"], "loop")
        parameters.seed = try whole(fields["seed"], "seed", 0...UInt64.max)
        parameters.steps = try whole(fields["steps"], "steps", 1...1000).map(Int.init)
        parameters.fps = try whole(fields["fps"], "fps", 1...240).map(Int.init)
        return parameters
    }

    private static func checked(_ text: String, _ name: String) throws(ServiceError) -> String {
        guard text.utf8.count <= longestPrompt else {
            throw .invalid(
                code: "too_long", field: name,
                "\(name) has \(text.utf8.count) bytes; at most \(longestPrompt) are taken")
        }
        for scalar in text.unicodeScalars {
            let allowed = scalar == "\n" || scalar == "\r" || scalar == "\t"
            if !allowed, scalar.properties.generalCategory == .control {
                throw .invalid(
                    code: "invalid_character", field: name,
                    "\(name) holds the control character U+\(hex(scalar.value))")
            }
        }
        return text
    }

    private static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    static func wrong(_ name: String, _ wanted: String) -> ServiceError {
        .invalid(code: "invalid_value", field: name, "\(name) must be \(wanted)")
    }

    private static func wrongType(_ name: String, _ wanted: String, _ value: JSONValue) -> ServiceError {
        .invalid(code: "wrong_type", field: name, "\(name) must be \(wanted), not \(value.kind)")
    }

    static func string(_ field: Field?, _ name: String) throws(ServiceError) -> String? {
        switch field {
        case nil: return nil
        case .text(let text), .json(.string(let text)): return text
        case .json(let value): throw wrongType(name, "a string", value)
        case .file: throw wrong(name, "a string, not a file")
        }
    }

    static func number(_ field: Field?, _ name: String, textAllowed: Bool) throws(ServiceError) -> Double? {
        let number: Double?
        switch field {
        case nil: return nil
        case .json(.integer(let value)): number = Double(value)
        case .json(.unsigned(let value)): number = Double(value)
        case .json(.number(let value)): number = value
        case .json(.string(let text)) where textAllowed: number = decimal(text)
        case .json(let value): throw wrongType(name, textAllowed ? "a number or a string" : "a number", value)
        case .text(let text): number = decimal(text)
        case .file: throw wrong(name, "a number, not a file")
        }
        guard let number, number.isFinite else { throw wrong(name, "a decimal number") }
        return number
    }

    private static func decimal(_ text: String) -> Double? {
        // `Double` would also take `nan`, `inf` and hexadecimal.
        guard text.utf8.count <= 32, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) })
        else { return nil }
        return Double(text)
    }

    static func whole(
        _ field: Field?, _ name: String, _ range: ClosedRange<UInt64>
    ) throws(ServiceError) -> UInt64? {
        let value: UInt64?
        switch field {
        case nil: return nil
        case .json(.integer(let number)): value = UInt64(exactly: number)
        case .json(.unsigned(let number)): value = number
        case .json(.number), .json(.string), .json(.bool), .json(.null), .json(.array), .json(.object):
            guard case .json(let value) = field else { return nil }
            throw wrongType(name, "an integer", value)
        case .text(let text):
            value = text.utf8.count <= 20 && text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) ? UInt64(text) : nil
        case .file: throw wrong(name, "an integer, not a file")
        }
        guard let value, range.contains(value) else {
            throw wrong(name, "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// The id of a video, as text or as `{"id": …}`.
    static func identifier(_ field: Field?, _ name: String) throws(ServiceError) -> String {
        switch field {
        case nil: throw .invalid(code: "missing_field", field: name, "\(name) is missing")
        case .text(let id), .json(.string(let id)): return id
        case .json(.object(let members)):
            guard let id = members["id"] else { throw wrong(name, "an object with an id") }
            return id
        case .json(let value): throw wrongType(name, "an id or an object with an id", value)
        case .file: throw wrong(name, "the id of a video, not a file")
        }
    }

    static func flag(_ field: Field?, _ name: String) throws(ServiceError) -> Bool? {
        switch field {
        case nil: return nil
        case .json(.bool(let value)): return value
        case .text("true"): return true
        case .text("false"): return false
        case .json(let value): throw wrongType(name, "true or false", value)
        case .text, .file: throw wrong(name, "true or false")
        }
    }
}
