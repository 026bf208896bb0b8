import Testing

@testable import Models

@Suite struct ModelDescriptionTests {
    @Test func readsEveryField() throws {
        let model = try SampleDescription.decode(SampleDescription.json)
        #expect(model.name == "tiny")
        #expect(model.tokenizer.maximumTokens == 24)
        #expect(model.textEncoder.layerNormEpsilon == 1e-12)
        #expect(model.transformer.width == 64)
        #expect(model.autoencoder.spaceFactor == 4)
        #expect(model.autoencoder.timeFactor == 4)
        #expect(model.autoencoder.encoder?.widths == [8, 16, 16])
        #expect(model.latents.std == [1, 2, 0.5, 1])
        #expect(model.generation.prediction == .sample)
        #expect(model.generation.guidance.default == 2.5)
        #expect(model.words?.subjects?.names == ["fox", "cat"])
        #expect(model.words?.motions?.synonyms == ["spins": ["turns", "rotates"]])
        #expect(model.words?.places?.synonyms == ["beach": ["sand"]])
        #expect(try model.latentShape(width: 64, height: 32, frames: 17).count == 4 * 5 * 8 * 16)
    }

    @Test(arguments: [
        ("\"format\": 1", "\"format\": 2", "format"),
        ("\"format\": 1, ", "", "format"),
        ("\"tiny\"", "\"../tiny\"", "name"),
        ("\"tiny\"", "\"\"", "name"),
        ("\"tiny\"", "7", "name"),
        ("\"family\": \"wan\"", "\"family\": \"ltx\"", "family"),
        ("\"Apache-2.0\"", "\"a\\nb\"", "licence"),
        ("\"wordpiece\"", "\"unigram\"", "tokenizer.kind"),
        ("\"max_tokens\": 24", "\"max_tokens\": 0", "tokenizer.max_tokens"),
        ("\"max_tokens\": 24", "\"max_tokens\": 65", "text_encoder.max_position_embeddings"),
        ("\"max_tokens\": 24", "\"max_tokens\": 1e30", "file"),
        ("\"hidden_size\": 64", "\"hidden_size\": -64", "text_encoder.hidden_size"),
        ("\"hidden_size\": 64", "\"hidden_size\": 96", "transformer.text_dim"),
        (
            "\"num_attention_heads\": 2, \"intermediate", "\"num_attention_heads\": 5, \"intermediate",
            "text_encoder.num_attention_heads"
        ),
        ("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", "text_encoder.layer_norm_eps"),
        ("\"patch_size\": [1, 4, 4]", "\"patch_size\": [1, 4]", "transformer.patch_size"),
        ("\"patch_size\": [1, 4, 4]", "\"patch_size\": [2, 4, 4]", "transformer.patch_size"),
        ("\"patch_size\": [1, 4, 4]", "\"patch_size\": [1, 0, 4]", "transformer.patch_size"),
        ("\"attention_head_dim\": 32", "\"attention_head_dim\": 40", "transformer.attention_head_dim"),
        ("\"out_channels\": 4", "\"out_channels\": 8", "transformer.out_channels"),
        ("\"freq_dim\": 32", "\"freq_dim\": 33", "transformer.freq_dim"),
        ("\"num_layers\": 2", "\"num_layers\": 4000000000000000000", "transformer.num_layers"),
        ("\"rms_norm_across_heads\"", "\"layer_norm\"", "transformer.qk_norm"),
        ("\"cross_attn_norm\": true", "\"cross_attn_norm\": 1", "transformer.cross_attn_norm"),
        ("\"rope_max_seq_len\": 64", "\"rope_max_seq_len\": 4", "generation.frames.max"),
        ("\"taehv\"", "\"vae\"", "autoencoder.kind"),
        ("\"image_channels\": 3", "\"image_channels\": 4", "autoencoder.image_channels"),
        ("\"latent_channels\": 4", "\"latent_channels\": 5", "autoencoder.latent_channels"),
        ("\"widths\": [16, 16, 8, 8]", "\"widths\": [16, 16, 8]", "autoencoder.decoder.widths"),
        ("\"space\": [1, 2, 1]", "\"space\": [1, 3, 1]", "autoencoder.decoder.space"),
        ("\"time\": [2, 2, 1]", "\"time\": [2, 2]", "autoencoder.decoder.time"),
        ("\"time\": [2, 2]", "\"time\": [2, 1]", "autoencoder.encoder.time"),
        ("\"widths\": [8, 8]", "\"widths\": [8, 99999]", "preview.widths"),
        ("\"pixel_shuffle\": 4", "\"pixel_shuffle\": 0", "preview.pixel_shuffle"),
        ("\"mean\": [0, 0.5, -0.5, 0]", "\"mean\": [0]", "latents.mean"),
        ("\"std\": [1, 2, 0.5, 1]", "\"std\": [1, 2, 0, 1]", "latents.std"),
        ("\"prediction\": \"sample\"", "\"prediction\": \"noise\"", "generation.prediction"),
        ("\"shift\": 3.0", "\"shift\": 0", "generation.shift"),
        ("\"default\": 12", "\"default\": 51", "generation.steps.default"),
        ("\"default\": 2.5", "\"default\": 0.5", "generation.guidance.default"),
        ("\"default\": 2.5", "\"negative\": 11, \"default\": 2.5", "generation.guidance.negative"),
        ("\"fps\": 8", "\"fps\": 0", "generation.fps"),
        ("\"32x64\"", "\"32x65\"", "generation.sizes"),
        ("\"32x64\"", "\"wide\"", "generation.sizes"),
        ("\"32x64\"", "\"2048x64\"", "generation.sizes"),
        ("\"min\": 5", "\"min\": 6", "generation.frames.min"),
        ("\"step\": 4", "\"step\": 3", "generation.frames.step"),
        ("\"max\": 17", "\"max\": 19", "generation.frames.max"),
        ("\"fox\"", "\"\"", "words.subjects"),
        ("\"file\": \"vocab.txt\"", "\"file\": \"/etc/passwd\"", "tokenizer.file"),
        ("\"file\": \"vocab.txt\"", "\"file\": \"..\"", "tokenizer.file"),
        ("\"file\": \"vocab.txt\"", "\"file\": \"other.txt\"", "tokenizer.file"),
        (
            "\"preview.safetensors\": {\"bytes\": 1", "\"preview.safetensors\": {\"bytes\": -1",
            "files.preview.safetensors.bytes"
        ),
        (
            "\"preview.safetensors\": {\"bytes\": 1", "\"preview.safetensors\": {\"bytes\": \"1\"",
            "files.preview.safetensors.bytes"
        ),
    ])
    func namesTheFieldThatIsWrong(_ old: String, _ new: String, _ field: String) {
        do {
            _ = try SampleDescription.decode(SampleDescription.replacing(old, new))
            Issue.record("accepted \(new)")
        } catch .invalid(let found, let reason) {
            #expect(found == field, "\(reason)")
        } catch {
            Issue.record("\(error)")
        }
    }

    @Test(arguments: ["", "{", "[]", "null", "\u{0}", "{\"format\": 1}", String(repeating: "[", count: 100_000)])
    func refusesWhatIsNoDescription(_ text: String) {
        #expect(throws: ModelError.self) { try SampleDescription.decode(text) }
    }

    @Test func refusesAHugeFile() {
        let spaces = String(repeating: " ", count: ModelDescription.maximumBytes)
        #expect(
            throws: ModelError.invalid(
                field: "file", reason: "has \(spaces.utf8.count + 2) bytes, the limit is 1048576")
        ) {
            try SampleDescription.decode(spaces + "{}")
        }
    }

    /// Whatever a byte turns into, the answer is an error or a description that keeps the limits; never a trap.
    @Test func survivesMutation() throws {
        let original = Array(SampleDescription.json.utf8)
        var generator = SplitMix(seed: 7)
        var accepted = 0
        for _ in 0..<2000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let at = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(UInt8(ascii: "9"), at: at)
                default: bytes[at] = UInt8(ascii: "-")
                }
            }
            guard let model = try? ModelDescription(json: bytes) else { continue }
            accepted += 1
            try model.validate()
            #expect(model.transformer.width <= 128 * 256)
        }
        #expect(accepted > 30)
        #expect(accepted < 1000)
    }

    @Test func survivesEncoding() throws {
        let model = try SampleDescription.decode(SampleDescription.json)
        #expect(try ModelDescription(json: model.encoded()) == model)
    }
}

/// Steele, Lea and Flood's SplitMix64: the same tests every time.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
