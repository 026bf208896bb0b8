import Jobs
import Media

/// What `POST /v1/images/generations` asks for.
struct ImageRequest: Sendable {
    /// The longest `n`: the images are made one after another.
    static let most = 4
    static let mostPartial = 3

    var parameters: VideoParameters
    var count: Int
    var format: PictureFormat
    var isStream: Bool
    /// Previews that the stream shows before the image.
    var partialImages: Int

    /// The name in `output_format`.
    enum PictureFormat: String, Sendable, CaseIterable {
        case png, jpeg
    }

    static let known = [
        "prompt", "model", "size", "seed", "steps", "guidance", "negative_prompt", "n", "output_format",
        "response_format", "stream", "partial_images", "user",
    ]

    init(body: [UInt8], contentType: String?) throws(ServiceError) {
        var members = try VideoFields.members(body: body, contentType: contentType)
        try VideoFields.refuseUnknown(members, known: Self.known)
        func take(_ name: String) -> VideoFields.Field? { members.removeValue(forKey: name) }
        count = Int(try VideoFields.whole(take("n"), "n", 1...UInt64(Self.most)) ?? 1)
        let format = try VideoFields.string(take("output_format"), "output_format") ?? "png"
        guard let known = PictureFormat(rawValue: format) else {
            throw VideoFields.wrong("output_format", PictureFormat.allCases.map(\.rawValue).joined(separator: " or "))
        }
        self.format = known
        if let response = try VideoFields.string(take("response_format"), "response_format"), response != "b64_json" {
            throw VideoFields.wrong("response_format", "b64_json: nothing here has a URL")
        }
        isStream = try VideoFields.flag(take("stream"), "stream") ?? false
        let partial = try VideoFields.whole(take("partial_images"), "partial_images", 0...UInt64(Self.mostPartial))
        partialImages = Int(partial ?? 0)
        guard partialImages == 0 || isStream else {
            throw VideoFields.wrong("partial_images", "0 unless stream is true")
        }
        guard count == 1 || !isStream else { throw VideoFields.wrong("n", "1 when stream is true") }
        _ = take("user")
        parameters = try VideoFields.parameters(members)
        parameters.isImage = true
    }

    /// Which partial image, counted from 0, the preview of `step` is.
    func partialIndex(step: Int, of steps: Int) -> Int? {
        (0..<partialImages).first { ($0 + 1) * steps / (partialImages + 1) == step }
    }
}
