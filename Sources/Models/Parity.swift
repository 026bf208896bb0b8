import Engine
import Glibc

/// Compares every network with the results of the reference implementations in a folder of goldens, as
/// `filoscope_quantization golden` writes them: `expected.safetensors` beside the model folder `model`.
public enum Parity {
    public struct Result: Sendable, Equatable {
        /// `tiny/transformer.output`, `odd/autoencoder.frames`, …
        public let name: String
        /// The largest difference over the largest expected number.
        public let error: Float
    }

    /// `directory` is one golden, or holds some; results come in order of their names. Throws `ModelError`.
    public static func run(directory: String, compute: Compute) throws(ModelError) -> [Result] {
        let goldens = names(in: directory)
        guard !goldens.isEmpty else {
            throw .unreadable(file: directory, reason: "it holds no expected.safetensors, nor folders with one")
        }
        var results: [Result] = []
        for golden in goldens {
            let path = golden.isEmpty ? directory : "\(directory)/\(golden)"
            let name = golden.isEmpty ? directory.split(separator: "/").last.map(String.init) ?? "" : golden
            for result in try compare(path, compute) {
                results.append(Result(name: "\(name)/\(result.name)", error: result.error))
            }
        }
        return results
    }

    /// Folders with an expected.safetensors; the empty name for `directory` itself.
    private static func names(in directory: String) -> [String] {
        func isGolden(_ path: String) -> Bool { access("\(path)/expected.safetensors", R_OK) == 0 }
        if isGolden(directory) { return [""] }
        guard let handle = opendir(directory) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix("."), isGolden("\(directory)/\(name)") { names.append(name) }
        }
        return names.sorted()
    }

    private static func compare(_ path: String, _ compute: Compute) throws(ModelError) -> [Result] {
        let golden = try Golden(path)
        let model = try Model(folder: "\(path)/model")
        let bytes = try golden.arenaBytes(model)
        let arena: Arena
        do {
            arena = try Arena(byteCount: bytes)
        } catch {
            throw .memory(error.description)
        }
        var results = [
            try text(golden, model, compute, arena),
            try transformer(golden, model, conditional: true, compute, arena),
            try transformer(golden, model, conditional: false, compute, arena),
        ]
        results.append(try decoder(golden, model, compute, arena))
        if model.autoencoder.canEncode { results.append(try encoder(golden, model, compute, arena)) }
        results.append(try preview(golden, model, compute, arena))
        return results
    }

    static func text(
        _ golden: Golden, _ model: Model, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> Result {
        let tokens = try golden.tokens()
        var states = [Float](repeating: 0, count: tokens.count * model.textEncoder.hiddenSize)
        try model.textEncoder.encode(tokens, into: &states, compute: compute, arena: arena)
        return Result(name: "text.output", error: error(states, try golden.floats("text.output")))
    }

    static func transformer(
        _ golden: Golden, _ model: Model, conditional: Bool, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> Result {
        let (input, shape) = try golden.latents("transformer.hidden_states")
        let timesteps = try golden.floats("transformer.timestep_frames")
        let states = try golden.floats("transformer.encoder_hidden_states")
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let context = try model.transformer.context(
            states: states, tokens: conditional ? try golden.tokens().count : 0, compute: compute, arena: arena)
        var output = input
        try model.transformer(
            input, shape: shape, timesteps: timesteps, context: context, into: &output, compute: compute, arena: arena)
        let name = conditional ? "transformer.output" : "transformer.output_unconditional"
        return Result(name: name, error: error(output, try golden.floats(name)))
    }

    static func decoder(
        _ golden: Golden, _ model: Model, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> Result {
        let (input, shape) = try golden.latents("autoencoder.latents")
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let stream = try model.autoencoder.stream(
            latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
        var pixels: [Float] = []
        for frame in 0..<shape.frames {
            do {
                try input.withUnsafeBufferPointer { input throws in
                    try stream.pushUnrounded(
                        input.baseAddress.unsafelyUnwrapped + frame * shape.height * shape.width,
                        channelStride: shape.frames * shape.height * shape.width
                    ) { pixels += clamped(UnsafeBufferPointer(start: $0, count: stream.size.pixels * 3)) }
                }
            } catch {
                throw error as? ModelError ?? .cancelled
            }
        }
        return Result(name: "autoencoder.frames", error: error(pixels, try golden.floats("autoencoder.frames")))
    }

    static func encoder(
        _ golden: Golden, _ model: Model, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> Result {
        let expected = try golden.latents("autoencoder.encoded")
        let latents = try encode(golden, model, compute, arena)
        return Result(name: "autoencoder.encoded", error: error(latents, expected.0))
    }

    /// The golden's pictures through the encoder, `[channels, frames, height, width]`.
    static func encode(
        _ golden: Golden, _ model: Model, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> [Float] {
        let shape = try golden.latents("autoencoder.encoded").1
        let pixels = try golden.floats("autoencoder.frames")
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let stream = try model.autoencoder.encoderStream(
            latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
        var latents = [Float](repeating: .nan, count: shape.count)
        let (area, picture) = (shape.height * shape.width, stream.size.pixels * 3)
        var index = 0
        for start in stride(from: 0, to: pixels.count, by: picture) {
            do {
                try pixels.withUnsafeBufferPointer { pixels throws in
                    try stream.pushUnrounded(pixels.baseAddress.unsafelyUnwrapped + start) { latent in
                        guard index < shape.frames else { throw ModelError.shape("more latents than expected") }
                        for channel in 0..<shape.channels {
                            for place in 0..<area {
                                latents[(channel * shape.frames + index) * area + place] =
                                    latent[channel * area + place]
                            }
                        }
                        index += 1
                    }
                }
            } catch {
                throw error as? ModelError ?? .cancelled
            }
        }
        return latents
    }

    static func preview(
        _ golden: Golden, _ model: Model, _ compute: Compute, _ arena: Arena
    ) throws(ModelError) -> Result {
        let (input, shape) = try golden.latents("preview.latents")
        let area = shape.height * shape.width
        let factor = model.preview.configuration.pixelShuffle
        var pixels: [Float] = []
        for frame in 0..<shape.frames {
            let mark = arena.mark
            defer { arena.rewind(to: mark) }
            let plane = Array(input[(frame * area)...])
            let drawn = try model.preview.draw(
                plane, channelStride: shape.frames * area, latentHeight: shape.height, latentWidth: shape.width,
                compute: compute, arena: arena)
            var picture = [Float](repeating: .nan, count: area * factor * factor * 3)
            shufflePixels(drawn, height: shape.height, width: shape.width, factor: factor) { picture[$0] = $1 }
            pixels += picture.withUnsafeBufferPointer { clamped($0) }
        }
        return Result(name: "preview.frames", error: error(pixels, try golden.floats("preview.frames")))
    }

    private static func clamped(_ values: UnsafeBufferPointer<Float>) -> [Float] { values.map { min(max($0, 0), 1) } }

    /// Infinite when the counts differ or a number is not finite.
    static func error(_ values: [Float], _ expected: [Float]) -> Float {
        guard values.count == expected.count else { return .infinity }
        var largest: Float = 0
        var difference: Float = 0
        for (value, reference) in zip(values, expected) {
            guard value.isFinite else { return .infinity }
            largest = max(largest, abs(reference))
            difference = max(difference, abs(value - reference))
        }
        return difference / largest
    }
}

/// The tensors of an expected.safetensors.
struct Golden {
    private let file: Checkpoint

    init(_ path: String) throws(ModelError) {
        file = try inFile("expected.safetensors") { () throws(CheckpointError) in
            try Checkpoint(path: "\(path)/expected.safetensors")
        }
    }

    var metadata: [String: String] { file.metadata }

    func tensor(_ name: String) throws(ModelError) -> Tensor {
        try inFile("expected.safetensors") { () throws(CheckpointError) in try file.tensor(name) }
    }

    func floats(_ name: String) throws(ModelError) -> [Float] {
        let tensor = try tensor(name)
        guard tensor.type == .f32 else {
            throw .checkpoint(file: "expected.safetensors", reason: "\(name) is not F32")
        }
        return Array(UnsafeBufferPointer(start: tensor.floats, count: tensor.byteCount / 4))
    }

    func tokens() throws(ModelError) -> [Int32] {
        let tensor = try tensor("text.input_ids")
        guard tensor.type == .i32 else {
            throw .checkpoint(file: "expected.safetensors", reason: "text.input_ids is not I32")
        }
        return Array(UnsafeBufferPointer(start: tensor.int32s, count: tensor.byteCount / 4))
    }

    func latents(_ name: String) throws(ModelError) -> ([Float], LatentShape) {
        let shape = try tensor(name).shape
        guard shape.count == 4 else {
            throw .checkpoint(file: "expected.safetensors", reason: "\(name) is not [C, T, H, W]")
        }
        return (
            try floats(name), LatentShape(channels: shape[0], frames: shape[1], height: shape[2], width: shape[3])
        )
    }

    /// What the comparisons take at most, one after another.
    func arenaBytes(_ model: Model) throws(ModelError) -> Int {
        var plan = ArenaPlan()
        model.textEncoder.plan(in: &plan)
        model.transformer.planContext(in: &plan)
        model.transformer.plan(try latents("transformer.hidden_states").1, in: &plan)
        plan.rewind(to: 0)
        let decoded = try latents("autoencoder.latents").1
        model.autoencoder.planStream(latentHeight: decoded.height, latentWidth: decoded.width, in: &plan)
        plan.rewind(to: 0)
        model.autoencoder.planEncoderStream(latentHeight: decoded.height, latentWidth: decoded.width, in: &plan)
        plan.rewind(to: 0)
        let drawn = try latents("preview.latents").1
        model.preview.plan(latentHeight: drawn.height, latentWidth: drawn.width, in: &plan)
        return plan.byteCount
    }
}
