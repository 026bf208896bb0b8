import Jobs
import NIOHTTP1

extension Router {
    func health() throws -> Response { try json(["status": "ok"]) }

    /// Ready is: a model is open, so that a video can be asked for.
    func readiness() throws -> Response {
        if let reason = generator.unavailableReason { throw JobError.unavailable(reason) }
        return try json(["status": "ready"])
    }

    func models() throws -> Response {
        struct Model: Encodable {
            var id: String
            var object = "model"
            var created = 0
            var owned_by = "filoscope"
            var licence: String
            var description: String
            var verified: Bool
        }
        struct List: Encodable {
            var object = "list"
            var data: [Model]
        }
        let data = generator.capabilities.map {
            Model(id: $0.id, licence: $0.licence, description: $0.description, verified: $0.verified)
        }
        return try json(List(data: data))
    }

    func capabilities() throws -> Response {
        struct Range: Encodable {
            var minimum: Double
            var maximum: Double
            var `default`: Double?
        }
        struct Model: Encodable {
            var id: String
            var sizes: [String]
            var fps: Int
            var frames: Range
            var seconds: Range
            var steps: Range
            var guidance: Range
            var abilities: [String]
            var words: ModelWords?
        }
        struct List: Encodable {
            var object = "list"
            var data: [Model]
            var formats = ContentFormat.names
            /// Whether `input_reference` may be `camera`.
            var camera: Bool
        }
        let data = generator.capabilities.map { model in
            let fps = Double(model.fps)
            return Model(
                id: model.id, sizes: model.sizes.map(\.description), fps: model.fps,
                frames: Range(minimum: Double(model.minimumFrames), maximum: Double(model.maximumFrames)),
                seconds: Range(
                    minimum: Double(model.minimumFrames) / fps, maximum: Double(model.maximumFrames) / fps),
                steps: Range(
                    minimum: 1, maximum: Double(model.maximumSteps), default: Double(model.defaultSteps)),
                guidance: Range(minimum: 1, maximum: 10, default: model.defaultGuidance),
                abilities: model.abilities, words: model.words)
        }
        return try json(List(data: data, camera: camera != nil))
    }
}
