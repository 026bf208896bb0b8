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
        [
            "prompt", "model", "size", "seconds", "seed", "steps", "guidance", "negative_prompt", "fps", "loop",
            "storyboard",
        ]
        + Reference.ends.map(\.rawValue) + [consent]
    /// Stands for the picture that the machine's camera takes now.
    static let camera = "camera"
    static let consent = "consent"

    struct Parsed {
        var parameters: VideoParameters
        /// Files as they came, not looked into.
        var uploads: [Reference: [UInt8]]
        /// The word of the client that whoever the camera sees agrees; nil is none.
        var consent: Bool?
    }

    static func parse(
        body: [UInt8], contentType: String?, known: [String] = VideoFields.known
    ) throws(ServiceError) -> Parsed {
        var members = try members(body: body, contentType: contentType)
        try refuseUnknown(members, known: known)
        let (isFromCamera, consented) = try camera(Reference.first.rawValue, &members)
        var uploads: [Reference: [UInt8]] = [:]
        for reference in Reference.ends {
            uploads[reference] = try picture(members.removeValue(forKey: reference.rawValue), reference.rawValue)
        }
        var parameters = try parameters(members)
        parameters.references = Reference.ends.filter { uploads[$0] != nil || isFromCamera && $0 == .first }
        parameters.camera = isFromCamera ? .now : nil
        return Parsed(parameters: parameters, uploads: uploads, consent: consented)
    }

    /// Whether the field `name` stands for the camera, and the word for that; both are taken out of `members`.
    static func camera(
        _ name: String, _ members: inout [String: Field]
    ) throws(ServiceError) -> (isAsked: Bool, consent: Bool?) {
        let isAsked: Bool
        switch members[name] {
        case .text(let text), .json(.string(let text)): isAsked = text == camera
        case .json, .file, .scenes, nil: isAsked = false
        }
        if isAsked { members.removeValue(forKey: name) }
        let consented = try flag(members.removeValue(forKey: consent), consent)
        guard isAsked || consented == nil else { throw wrong(consent, "left out unless \(name) is \"\(camera)\"") }
        return (isAsked, consented)
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
    static func picture(_ field: Field?, _ name: String) throws(ServiceError) -> [UInt8]? {
        switch field {
        case nil: return nil
        case .file(let bytes): return bytes
        case .scenes: throw wrong(name, "a picture")
        case .text(let url), .json(.string(let url)): return try contents(ofURL: url, name)
        case .json(.object(let members)):
            guard let url = members["image_url"], members.count == 1 else {
                throw wrong(name, "a file of a form, or {\"image_url\": \"data:image/png;base64,…\"}")
            }
            return try contents(ofURL: url, name)
        case .json(let value): throw wrongType(name, "an object with image_url", value)
        }
    }

    /// A video that is there already, or one that comes with the request.
    enum VideoSource {
        case identifier(String)
        case file([UInt8])
        /// What the camera sees from now on.
        case camera
    }

    /// A file of a form, a `data:` URL, or an id as `identifier` takes it.
    static func video(_ field: Field?, _ name: String) throws(ServiceError) -> VideoSource {
        if case .file(let bytes) = field { return .file(bytes) }
        let text = try identifier(field, name)
        return text.hasPrefix("data:") ? .file(try contents(ofURL: text, name, ofAnyType: true)) : .identifier(text)
    }

    private static func contents(
        ofURL url: String, _ name: String, ofAnyType: Bool = false
    ) throws(ServiceError) -> [UInt8] {
        let head = Array(url.utf8.prefix(64))
        guard head.starts(with: "data:".utf8), let comma = head.firstIndex(of: UInt8(ascii: ",")) else {
            throw wrong(name, "a data: URL with base64; nothing is fetched from elsewhere")
        }
        let type = HeaderValue(String(decoding: head[5..<comma], as: UTF8.self))
        guard ofAnyType || ["image/jpeg", "image/png"].contains(type.value) else {
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
        var fields: [String: Field] = members.compactMapValues { $0 == .null ? nil : .json($0) }
        if members["storyboard"] == .array {
            struct Body: Decodable { var storyboard: [SceneFields] }
            let body = try? JSONDecoder().decode(Body.self, from: Data(bytes))
            fields["storyboard"] = .scenes(body?.storyboard ?? [])
        }
        return fields
    }

    private static func fields(ofForm body: [UInt8], contentType: String) throws(ServiceError) -> [String: Field] {
        let parts: [FormPart]
        do {
            parts = try Multipart.parse(body, boundary: Multipart.boundary(ofContentType: contentType))
        } catch {
            throw .invalid(code: "invalid_multipart", field: nil, error.message)
        }
        var fields: [String: Field] = [:]
        var prompts: [String] = []
        var times: [Double?] = []
        for part in parts {
            // The SDK's way to send a list of objects: all values of one key, then all of the next.
            if ["storyboard[][prompt]", "storyboard[][at]"].contains(part.name) {
                // One too many is enough to refuse it.
                guard max(prompts.count, times.count) <= longestStoryboard else { continue }
                let text = String(validating: part.content, as: UTF8.self) ?? ""
                if part.name.hasSuffix("[at]") { times.append(decimal(text)) } else { prompts.append(text) }
                fields["storyboard"] = .scenes(
                    (0..<max(prompts.count, times.count)).map {
                        SceneFields(
                            prompt: $0 < prompts.count ? prompts[$0] : nil, at: $0 < times.count ? times[$0] : nil)
                    })
                continue
            }
            // The SDK's way to send an object in a form.
            var name = part.name
            for ending in ["[image_url]", "[id]"] where name.hasSuffix(ending) { name.removeLast(ending.count) }
            guard fields[name] == nil else {
                throw .invalid(code: "duplicate_field", field: name, "\(name) was sent more than once")
            }
            // An id is text without a file's name.
            if part.name == name, name == "video", part.fileName != nil {
                fields[name] = .file(part.content)
                continue
            }
            if part.name == name, Reference(rawValue: name) != nil,
                part.fileName != nil || part.contentType != nil
                    || !part.content.starts(with: "data:".utf8) && part.content != Array(camera.utf8)
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
        case scenes([SceneFields])
    }

    /// Scenes of a storyboard.
    static let longestStoryboard = 32

    /// One of them as it came; what is missing or of another type is nil.
    struct SceneFields: Decodable {
        var prompt: String?
        var at: Double?

        init(prompt: String?, at: Double?) { (self.prompt, self.at) = (prompt, at) }

        private enum Keys: String, CodingKey { case prompt, at }

        init(from decoder: any Decoder) throws {
            let container = try? decoder.container(keyedBy: Keys.self)
            prompt = try? container?.decodeIfPresent(String.self, forKey: .prompt)
            at = try? container?.decodeIfPresent(Double.self, forKey: .at)
        }
    }

    private static func storyboard(_ field: Field?) throws(ServiceError) -> [Scene] {
        var given: [SceneFields]?
        switch field {
        case nil: return []
        case .scenes(let scenes): given = scenes
        case .text(let text), .json(.string(let text)):
            given = try? JSONDecoder().decode([SceneFields].self, from: Data(text.utf8))
        case .json, .file: break
        }
        guard let given, (1...longestStoryboard).contains(given.count) else {
            throw wrong("storyboard", "a list of 1 to \(longestStoryboard) scenes, {\"prompt\": …, \"at\": seconds}")
        }
        var scenes: [Scene] = []
        for (number, scene) in given.enumerated() {
            guard let prompt = scene.prompt, !prompt.allSatisfy(\.isWhitespace) else {
                throw wrong("storyboard", "scenes with a prompt each; scene \(number) has none")
            }
            guard let at = scene.at, at.isFinite, at <= 86_400, number == 0 ? at == 0 : at > scenes[number - 1].at
            else {
                throw wrong(
                    "storyboard", "scenes one after another, the first at 0 seconds; scene \(number) is out of order")
            }
            scenes.append(Scene(prompt: try checked(prompt, "storyboard"), at: at))
        }
        return scenes
    }

    static func parameters(_ fields: [String: Field]) throws(ServiceError) -> VideoParameters {
        let storyboard = try storyboard(fields["storyboard"])
        guard let prompt = try string(fields["prompt"], "prompt") ?? storyboard.first?.prompt else {
            throw .invalid(code: "missing_field", field: "prompt", "prompt is missing")
        }
        var parameters = VideoParameters(prompt: try checked(prompt, "prompt"))
        guard !prompt.allSatisfy(\.isWhitespace) else {
            throw .invalid(code: "empty_prompt", field: "prompt", "prompt is empty")
        }
        parameters.storyboard = storyboard
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
        case .file, .scenes: throw wrong(name, "a string, not a file")
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
        case .file, .scenes: throw wrong(name, "a number, not a file")
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
        case .file, .scenes: throw wrong(name, "an integer, not a file")
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
        case .file, .scenes: throw wrong(name, "the id of a video, not a file")
        }
    }

    static func flag(_ field: Field?, _ name: String) throws(ServiceError) -> Bool? {
        switch field {
        case nil: return nil
        case .json(.bool(let value)): return value
        case .text("true"): return true
        case .text("false"): return false
        case .json(let value): throw wrongType(name, "true or false", value)
        case .text, .file, .scenes: throw wrong(name, "true or false")
        }
    }
}
