import FoundationEssentials
import Jobs
import Models
import Testing
import Video

@testable import Generation

@Suite struct RequestResolverTests {
    let resolver: RequestResolver

    init() throws {
        let card = """
            {"format":1,"name":"m","family":"wan","licence":"x","description":"x",
             "tokenizer":{"kind":"wordpiece","file":"v","lowercase":true,"max_tokens":24},
             "text_encoder":{"kind":"bert","file":"t","hidden_size":64,"num_hidden_layers":1,"num_attention_heads":2,
              "intermediate_size":64,"layer_norm_eps":1e-12,"vocab_size":9,"max_position_embeddings":64},
             "transformer":{"file":"t","patch_size":[1,4,4],"num_attention_heads":1,"attention_head_dim":64,
              "in_channels":16,"out_channels":16,"text_dim":64,"freq_dim":256,"ffn_dim":64,"num_layers":1,
              "cross_attn_norm":true,"qk_norm":"rms_norm_across_heads","eps":1e-6,"rope_max_seq_len":1024},
             "autoencoder":{"file":"a","kind":"taehv","patch_size":2,"image_channels":3,"latent_channels":16,
              "decoder":{"widths":[9,9,9,9],"blocks":[1,1,1],"space":[1,2,1],"time":[2,2,1]}},
             "preview":{"file":"p","kind":"conv","widths":[9,9],"pixel_shuffle":4},
             "latents":{"mean":[0],"std":[1]},
             "generation":{"prediction":"sample","shift":3,"steps":{"default":12,"min":2,"max":50},
              "guidance":{"default":2.5,"min":1,"max":10,"negative":4},"fps":8,"sizes":["64x64","96x64"],
              "frames":{"min":5,"max":17,"step":4}},
             "files":{}}
            """
        resolver = RequestResolver(try JSONDecoder().decode(ModelDescription.self, from: Data(card.utf8)))
    }

    func resolve(_ change: (inout VideoParameters) -> Void) throws -> VideoRequest {
        var parameters = VideoParameters(prompt: "a frog")
        change(&parameters)
        return try resolver.resolve(parameters)
    }

    @Test func fillsInTheCardsDefaults() throws {
        let request = try resolve { _ in }
        #expect(request.size == Size(width: 64, height: 64) && request.frames == 17 && request.fps == 8)
        #expect(request.steps == 12 && request.guidance == 2.5 && request.model == "m")
        #expect(request.seed < 1 << 32)
    }

    @Test func aNegativePromptHasAGuidanceOfItsOwn() throws {
        #expect(try resolve { $0.negativePrompt = "rain" }.guidance == 4)
        #expect(try resolve { $0.negativePrompt = "" }.guidance == 2.5)
        #expect(
            try resolve {
                $0.negativePrompt = "rain"
                $0.guidance = 3
            }.guidance == 3)
    }

    @Test(arguments: [(0.01, 5), (0.625, 5), (0.63, 9), (1, 9), (1.125, 9), (1.2, 13), (2, 17), (2.125, 17)])
    func roundsLengthsUp(seconds: Double, frames: Int) throws {
        #expect(try resolve { $0.seconds = seconds }.frames == frames)
    }

    @Test(arguments: [(0.01, 9), (1.2, 17), (2.2, 25), (60, 481)])
    func roundsLoopsUp(seconds: Double, frames: Int) throws {
        var description = resolver.description
        description.autoencoder.encoder = description.autoencoder.decoder
        var parameters = VideoParameters(prompt: "a frog")
        (parameters.loop, parameters.seconds) = (true, seconds)
        let request = try RequestResolver(description).resolve(parameters)
        #expect(request.frames == frames && request.isLoop)
        let error = #expect(throws: RequestError.self) { try resolver.resolve(parameters) }
        #expect(error?.field == "loop" && error?.kind == .unsupported)
    }

    typealias Change = @Sendable (inout VideoParameters) -> Void

    static let wrong: [(String, Change)] = [
        ("prompt", { $0.prompt = " \n" }),
        ("prompt", { $0.prompt = "a\u{0}b" }),
        ("prompt", { $0.prompt = String(repeating: "é", count: 1001) }),
        ("negative_prompt", { $0.negativePrompt = "\u{7}" }),
        ("seconds", { $0.seconds = 0 }),
        ("seconds", { $0.seconds = -1 }),
        ("seconds", { $0.seconds = .nan }),
    ]

    @Test(arguments: wrong) func refusesWhatIsWrong(field: String, change: Change) throws {
        let error = try #require(throws: RequestError.self) { try resolve(change) }
        #expect(error.field == field && error.kind == .invalid)
    }

    static let impossible: [(String, String, Change)] = [
        ("size", "64x64, 96x64", { $0.size = Size(width: 64, height: 96) }),
        ("seconds", "2.125", { $0.seconds = 2.2 }),
        ("seconds", "2.125", { $0.seconds = 1e300 }),
        ("fps", "8", { $0.fps = 24 }),
        ("steps", "2 to 50", { $0.steps = 51 }),
        ("steps", "2 to 50", { $0.steps = 1 }),
        ("guidance", "1.0 to 10.0", { $0.guidance = 0.5 }),
        ("guidance", "1.0 to 10.0", { $0.guidance = .infinity }),
    ]

    @Test(arguments: impossible) func saysWhatTheModelCanDo(field: String, possible: String, change: Change) throws {
        let error = try #require(throws: RequestError.self) { try resolve(change) }
        #expect(error.field == field && error.kind == .unsupported && error.message.contains(possible))
    }
}
