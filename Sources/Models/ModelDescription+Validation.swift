import FoundationEssentials
import Video

extension ModelDescription {
    /// Decodes and validates the contents of a model.json.
    public init(json: [UInt8]) throws(ModelError) {
        guard json.count <= Self.maximumBytes else {
            throw .invalid(field: "file", reason: "has \(json.count) bytes, the limit is \(Self.maximumBytes)")
        }
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(json))
        } catch let error as DecodingError {
            throw ModelError(error)
        } catch {
            throw .invalid(field: "file", reason: "is not JSON")
        }
        try validate()
    }

    /// The same as JSON.
    func encoded() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

    /// Checks every value against its limits and the parts against each other.
    public func validate() throws(ModelError) {
        try require(format == Self.supportedFormat, "format", "is \(format), only 1 is known")
        try require(Self.isName(name), "name", "must be 1...64 of a-z, 0-9, '.', '_', '-', a letter or digit first")
        try require(family == "wan", "family", "is '\(family.prefix(32))', only 'wan' is known")
        try text(licence, "licence", 1...512)
        try text(description, "description", 0...4096)
        try validateTokenizer()
        try validateTextEncoder()
        try validateTransformer()
        try validateAutoencoder()
        try validatePreview()
        try validateLatents()
        try validateGeneration()
        try validateWords()
        try validateFiles()
    }

    private func validateTokenizer() throws(ModelError) {
        let part = "tokenizer"
        try require(tokenizer.kind == "wordpiece", "\(part).kind", "must be 'wordpiece'")
        try file(tokenizer.file, "\(part).file")
        try range(tokenizer.maximumTokens, "\(part).max_tokens", 2...512)
    }

    private func validateTextEncoder() throws(ModelError) {
        let part = "text_encoder"
        let encoder = textEncoder
        try require(encoder.kind == "bert", "\(part).kind", "must be 'bert'")
        try file(encoder.file, "\(part).file")
        try range(encoder.hiddenSize, "\(part).hidden_size", 16...8192)
        try range(encoder.layers, "\(part).num_hidden_layers", 1...96)
        try range(encoder.heads, "\(part).num_attention_heads", 1...128)
        try require(
            encoder.hiddenSize % encoder.heads == 0 && Self.isHead(encoder.hiddenSize / encoder.heads),
            "\(part).num_attention_heads", "must cut hidden_size into heads of 16, 32, … 256")
        try range(encoder.intermediateSize, "\(part).intermediate_size", 1...32768)
        try epsilon(encoder.layerNormEpsilon, "\(part).layer_norm_eps")
        try range(encoder.vocabularySize, "\(part).vocab_size", 4...Vocabulary.maximumPieces)
        try range(encoder.maximumPositions, "\(part).max_position_embeddings", tokenizer.maximumTokens...65536)
    }

    private func validateTransformer() throws(ModelError) {
        let part = "transformer"
        try file(transformer.file, "\(part).file")
        try require(transformer.patchSize.count == 3, "\(part).patch_size", "must have three entries")
        try require(transformer.patchSize[0] == 1, "\(part).patch_size", "must start with 1")
        for side in transformer.patchSize { try range(side, "\(part).patch_size", 1...16) }
        try range(transformer.heads, "\(part).num_attention_heads", 1...128)
        try require(
            Self.isHead(transformer.headDimension), "\(part).attention_head_dim", "must be one of 16, 32, … 256")
        try range(transformer.inChannels, "\(part).in_channels", 1...256)
        try require(
            transformer.outChannels == transformer.inChannels, "\(part).out_channels", "must equal in_channels")
        try require(
            transformer.textDimension == textEncoder.hiddenSize, "\(part).text_dim",
            "must equal text_encoder.hidden_size")
        try range(transformer.frequencyDimension, "\(part).freq_dim", 2...4096)
        try require(transformer.frequencyDimension % 2 == 0, "\(part).freq_dim", "must be even")
        try range(transformer.feedForwardDimension, "\(part).ffn_dim", 1...131072)
        try range(transformer.layers, "\(part).num_layers", 1...96)
        try require(
            transformer.qkNorm == "rms_norm_across_heads", "\(part).qk_norm", "must be 'rms_norm_across_heads'")
        try epsilon(transformer.epsilon, "\(part).eps")
        try range(transformer.maximumPositions, "\(part).rope_max_seq_len", 1...65536)
    }

    private func validateAutoencoder() throws(ModelError) {
        let part = "autoencoder"
        try file(autoencoder.file, "\(part).file")
        try require(autoencoder.kind == "taehv", "\(part).kind", "must be 'taehv'")
        try range(autoencoder.patchSize, "\(part).patch_size", 1...8)
        try require(autoencoder.imageChannels == 3, "\(part).image_channels", "must be 3")
        try require(
            autoencoder.latentChannels == transformer.inChannels, "\(part).latent_channels",
            "must equal transformer.in_channels")
        try stages(autoencoder.decoder, "\(part).decoder")
        try range(autoencoder.timeFactor, "\(part).decoder.time", 1...16)
        try range(autoencoder.spaceFactor, "\(part).decoder.space", 1...64)
        guard let encoder = autoencoder.encoder else { return }
        try stages(encoder, "\(part).encoder")
        try require(
            encoder.timeFactor == autoencoder.timeFactor, "\(part).encoder.time", "must multiply to the decoder's")
        try require(
            encoder.spaceFactor == autoencoder.decoder.spaceFactor, "\(part).encoder.space",
            "must multiply to the decoder's")
    }

    private func stages(_ stages: Autoencoder.Stages, _ field: String) throws(ModelError) {
        try range(stages.blocks.count, "\(field).blocks (count)", 1...8)
        let count = stages.blocks.count
        try require(stages.widths.count == count + 1, "\(field).widths", "must have one entry more than blocks")
        try require(stages.space.count == count, "\(field).space", "must have as many entries as blocks")
        try require(stages.time.count == count, "\(field).time", "must have as many entries as blocks")
        for width in stages.widths { try range(width, "\(field).widths", 1...2048) }
        for blocks in stages.blocks { try range(blocks, "\(field).blocks", 0...16) }
        for factor in stages.space { try range(factor, "\(field).space", 1...2) }
        for factor in stages.time { try range(factor, "\(field).time", 1...2) }
    }

    private func validatePreview() throws(ModelError) {
        try file(preview.file, "preview.file")
        try require(preview.kind == "conv", "preview.kind", "must be 'conv'")
        try range(preview.widths.count, "preview.widths (count)", 0...8)
        for width in preview.widths { try range(width, "preview.widths", 1...1024) }
        try range(preview.pixelShuffle, "preview.pixel_shuffle", 1...32)
    }

    private func validateLatents() throws(ModelError) {
        let channels = transformer.inChannels
        try require(latents.mean.count == channels, "latents.mean", "must have \(channels) entries")
        try require(latents.std.count == channels, "latents.std", "must have \(channels) entries")
        try require(latents.mean.allSatisfy { abs($0) <= 1e6 }, "latents.mean", "must lie in -1e6...1e6")
        try require(latents.std.allSatisfy { $0 >= 1e-6 && $0 <= 1e6 }, "latents.std", "must lie in 1e-6...1e6")
    }

    private func validateGeneration() throws(ModelError) {
        let part = "generation"
        try require(generation.shift > 0 && generation.shift <= 100, "\(part).shift", "must lie in 0...100, not 0")
        let steps = generation.steps
        try range(steps.min, "\(part).steps.min", 1...1000)
        try range(steps.max, "\(part).steps.max", steps.min...1000)
        try range(steps.default, "\(part).steps.default", steps.min...steps.max)
        let guidance = generation.guidance
        try require(guidance.min >= 0 && guidance.min <= 100, "\(part).guidance.min", "must lie in 0...100")
        try require(
            guidance.max >= guidance.min && guidance.max <= 100, "\(part).guidance.max", "must lie in min...100")
        try require(
            guidance.default >= guidance.min && guidance.default <= guidance.max, "\(part).guidance.default",
            "must lie in min...max")
        try require(
            guidance.negative.map { $0 >= guidance.min && $0 <= guidance.max } ?? true, "\(part).guidance.negative",
            "must lie in min...max")
        try range(generation.fps, "\(part).fps", 1...120)
        try range(generation.sizes.count, "\(part).sizes (count)", 1...64)
        for size in generation.sizes { try validateSize(size) }
        let frames = generation.frames
        let factor = autoencoder.timeFactor
        try range(frames.min, "\(part).frames.min", 1...65536)
        try range(frames.max, "\(part).frames.max", frames.min...65536)
        try range(frames.step, "\(part).frames.step", 1...65536)
        try require(frames.step % factor == 0, "\(part).frames.step", "must be a multiple of \(factor)")
        try require(frames.min % factor == 1 % factor, "\(part).frames.min", "must be \(factor)k + 1")
        try require(
            (frames.max - frames.min) % frames.step == 0, "\(part).frames.max", "must be min + a multiple of step")
        try require(
            (frames.max - 1) / factor < transformer.maximumPositions, "\(part).frames.max",
            "needs more positions than transformer.rope_max_seq_len")
    }

    private func validateSize(_ text: String) throws(ModelError) {
        let field = "generation.sizes"
        guard let size = Size(text) else {
            throw .invalid(field: field, reason: "holds '\(text.prefix(32))', which is not WIDTHxHEIGHT")
        }
        let unit = [1, 2].map { transformer.patchSize[$0] * autoencoder.spaceFactor }
        try require(
            size.height % unit[0] == 0 && size.width % unit[1] == 0, field,
            "holds \(size), which is not a multiple of \(unit[1])x\(unit[0])")
        try require(
            max(size.width / unit[1], size.height / unit[0]) <= transformer.maximumPositions, field,
            "holds \(size), which needs more positions than transformer.rope_max_seq_len")
    }

    private func validateWords() throws(ModelError) {
        for (field, list) in [
            ("words.subjects", words?.subjects), ("words.motions", words?.motions), ("words.places", words?.places),
        ] {
            guard let list else { continue }
            try range(list.names.count, "\(field) (count)", 0...4096)
            for name in list.names { try text(name, field, 1...128) }
            for others in list.synonyms.values {
                try range(others.count, "\(field) (count)", 0...256)
                for name in others { try text(name, field, 1...128) }
            }
        }
    }

    private func validateFiles() throws(ModelError) {
        try range(files.count, "files (count)", 1...64)
        for (name, entry) in files.sorted(by: { $0.key < $1.key }) {
            try file(name, "files")
            try range(entry.bytes, "files.\(name).bytes", 1...(1 << 42))
            try require(
                entry.sha256.utf8.count == 64
                    && entry.sha256.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) },
                "files.\(name).sha256", "must be 64 lower-case hexadecimal digits")
        }
        for (field, name) in [
            ("tokenizer.file", tokenizer.file), ("text_encoder.file", textEncoder.file),
            ("transformer.file", transformer.file), ("autoencoder.file", autoencoder.file),
            ("preview.file", preview.file),
        ] {
            try require(files[name] != nil, field, "names '\(name)', which files does not list")
        }
    }
}

extension ModelDescription {
    private func require(_ condition: Bool, _ field: String, _ reason: @autoclosure () -> String) throws(ModelError) {
        if !condition { throw .invalid(field: field, reason: reason()) }
    }

    private func range(_ value: Int, _ field: String, _ limits: ClosedRange<Int>) throws(ModelError) {
        try require(
            limits.contains(value), field, "is \(value), must lie in \(limits.lowerBound)...\(limits.upperBound)")
    }

    private func epsilon(_ value: Double, _ field: String) throws(ModelError) {
        try require(value >= 1e-15 && value <= 1e-2, field, "must lie in 1e-15...1e-2")
    }

    private func text(_ value: String, _ field: String, _ limits: ClosedRange<Int>) throws(ModelError) {
        let reason = "must have \(limits.lowerBound)...\(limits.upperBound) bytes without control characters"
        try require(limits.contains(value.utf8.count), field, reason)
        try require(value.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, field, reason)
    }

    /// A plain name inside the folder: nothing that leads out of it.
    private func file(_ name: String, _ field: String) throws(ModelError) {
        let allowed = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
        }
        try require(
            allowed && (1...128).contains(name.utf8.count) && name.utf8.first != 0x2E && name != "model.json", field,
            "must be a plain file name of letters, digits, '.', '_', '-', other than model.json")
    }

    private static func isName(_ name: String) -> Bool {
        let letters = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
        }
        guard letters, (1...64).contains(name.utf8.count), let first = name.utf8.first else { return false }
        return (0x30...0x39).contains(first) || (0x61...0x7A).contains(first)
    }

    /// What the attention kernels take.
    private static func isHead(_ dimension: Int) -> Bool { dimension % 16 == 0 && (16...256).contains(dimension) }
}

extension ModelError {
    /// The same, with the coding path as the field.
    init(_ error: DecodingError) {
        func path(_ keys: [any CodingKey]) -> String {
            let names = keys.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
            return names.isEmpty ? "file" : names.joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context):
            self = .invalid(field: path(context.codingPath + [key]), reason: "is missing")
        case .valueNotFound(_, let context):
            self = .invalid(field: path(context.codingPath), reason: "is null")
        case .typeMismatch(let type, let context):
            self = .invalid(field: path(context.codingPath), reason: "is not of type \(type)")
        case .dataCorrupted(let context):
            let reason =
                context.codingPath.isEmpty
                ? "is not JSON, or holds a number out of range" : "has a value that can't be used"
            self = .invalid(field: path(context.codingPath), reason: reason)
        @unknown default:
            self = .invalid(field: "file", reason: "can't be decoded")
        }
    }
}
