/// model.json: what a model folder holds and what can be asked of it.
///
/// Decoding checks types, `validate()` every value; errors are `ModelError.invalid` with the path of the field.
public struct ModelDescription: Sendable, Codable, Equatable {
    /// The only value of `format` this program reads.
    public static let supportedFormat = 1
    /// The largest model.json it reads, in bytes.
    public static let maximumBytes = 1 << 20

    public var format: Int
    public var name: String
    public var family: String
    public var licence: String
    public var description: String
    public var tokenizer: Tokenizer
    public var textEncoder: TextEncoder
    public var transformer: Transformer
    public var autoencoder: Autoencoder
    public var preview: Preview
    public var latents: Latents
    public var generation: Generation
    public var words: Words?
    /// Every file of the folder but model.json, by name.
    public var files: [String: File]

    enum CodingKeys: String, CodingKey {
        case format, name, family, licence, description, tokenizer, transformer, autoencoder, preview, latents
        case generation, words, files
        case textEncoder = "text_encoder"
    }
}

extension ModelDescription {
    /// The text's tokenizer; `kind` is `wordpiece`.
    public struct Tokenizer: Sendable, Codable, Equatable {
        public var kind: String
        public var file: String
        public var lowercase: Bool
        /// The length prompts are cut and padded to, in tokens.
        public var maximumTokens: Int

        enum CodingKeys: String, CodingKey {
            case kind, file, lowercase
            case maximumTokens = "max_tokens"
        }
    }

    /// A text encoder as transformers `BertConfig` names its parts; `kind` is `bert`.
    public struct TextEncoder: Sendable, Codable, Equatable {
        public var kind: String
        public var file: String
        public var hiddenSize: Int
        public var layers: Int
        public var heads: Int
        public var intermediateSize: Int
        public var layerNormEpsilon: Double
        public var vocabularySize: Int
        public var maximumPositions: Int

        enum CodingKeys: String, CodingKey {
            case kind, file
            case hiddenSize = "hidden_size"
            case layers = "num_hidden_layers"
            case heads = "num_attention_heads"
            case intermediateSize = "intermediate_size"
            case layerNormEpsilon = "layer_norm_eps"
            case vocabularySize = "vocab_size"
            case maximumPositions = "max_position_embeddings"
        }
    }

    /// The denoiser as diffusers `WanTransformer3DModel` names its parts.
    public struct Transformer: Sendable, Codable, Equatable {
        public var file: String
        /// Latent frames, rows and columns of one token; the first is 1.
        public var patchSize: [Int]
        public var heads: Int
        public var headDimension: Int
        public var inChannels: Int
        public var outChannels: Int
        public var textDimension: Int
        public var frequencyDimension: Int
        public var feedForwardDimension: Int
        public var layers: Int
        public var crossAttentionNorm: Bool
        public var qkNorm: String
        public var epsilon: Double
        public var maximumPositions: Int

        /// The width of a token, `heads * headDimension`.
        public var width: Int { heads * headDimension }

        enum CodingKeys: String, CodingKey {
            case file
            case patchSize = "patch_size"
            case heads = "num_attention_heads"
            case headDimension = "attention_head_dim"
            case inChannels = "in_channels"
            case outChannels = "out_channels"
            case textDimension = "text_dim"
            case frequencyDimension = "freq_dim"
            case feedForwardDimension = "ffn_dim"
            case layers = "num_layers"
            case crossAttentionNorm = "cross_attn_norm"
            case qkNorm = "qk_norm"
            case epsilon = "eps"
            case maximumPositions = "rope_max_seq_len"
        }
    }

    /// An autoencoder of TAEHV's graph (madebyollin/taehv): stages of memory blocks with a factor in space and time.
    public struct Autoencoder: Sendable, Codable, Equatable {
        /// `widths` has one entry more than the other three, whose entries are one stage each.
        public struct Stages: Sendable, Codable, Equatable {
            public var widths: [Int]
            public var blocks: [Int]
            public var space: [Int]
            public var time: [Int]

            /// Pixels a side, before the patch, for one latent.
            public var spaceFactor: Int { space.reduce(1, *) }
            /// Frames for one latent frame.
            public var timeFactor: Int { time.reduce(1, *) }
        }

        public var file: String
        public var kind: String
        public var patchSize: Int
        public var imageChannels: Int
        public var latentChannels: Int
        public var encoder: Stages?
        public var decoder: Stages

        /// Pixels a side for one latent.
        public var spaceFactor: Int { decoder.spaceFactor * patchSize }
        public var timeFactor: Int { decoder.timeFactor }

        enum CodingKeys: String, CodingKey {
            case file, kind, encoder, decoder
            case patchSize = "patch_size"
            case imageChannels = "image_channels"
            case latentChannels = "latent_channels"
        }
    }

    /// Draws one picture from one latent frame; `kind` is `conv`.
    public struct Preview: Sendable, Codable, Equatable {
        public var file: String
        public var kind: String
        /// Channels between the convolutions, of which there is one more than widths.
        public var widths: [Int]
        /// Pixels a side for one latent.
        public var pixelShuffle: Int

        enum CodingKeys: String, CodingKey {
            case file, kind, widths
            case pixelShuffle = "pixel_shuffle"
        }
    }

    /// Per channel: the transformer sees `(latent - mean) / std`.
    public struct Latents: Sendable, Codable, Equatable {
        public var mean: [Float]
        public var std: [Float]
    }

    public struct Generation: Sendable, Codable, Equatable {
        public enum Prediction: String, Sendable, Codable {
            /// The network answers with the clean latents.
            case sample
            /// The network answers with noise minus clean latents.
            case velocity
        }

        public struct Steps: Sendable, Codable, Equatable {
            public var `default`: Int
            public var min: Int
            public var max: Int
        }

        public struct Guidance: Sendable, Codable, Equatable {
            public var `default`: Double
            public var min: Double
            public var max: Double
            /// With a negative prompt, when the request does not say: at 1 such a prompt is never looked at.
            public var negative: Double?
        }

        /// Lengths in frames: `min`, `min + step`, … `max`.
        public struct Frames: Sendable, Codable, Equatable {
            public var min: Int
            public var max: Int
            public var step: Int
        }

        public var prediction: Prediction
        /// Of the noise schedule: `s = shift σ / (1 + (shift - 1) σ)`.
        public var shift: Double
        public var steps: Steps
        public var guidance: Guidance
        public var fps: Int
        /// `WIDTHxHEIGHT`.
        public var sizes: [String]
        public var frames: Frames
    }

    /// The words a model was trained on, for help texts and warnings.
    public struct Words: Sendable, Codable, Equatable {
        public var subjects: WordList?
        public var motions: WordList?
        public var places: WordList?
    }

    /// Either a plain list of words, or words with other ways to say them.
    public struct WordList: Sendable, Codable, Equatable {
        /// The words in alphabetical order when they came with synonyms, else as listed.
        public var names: [String]
        /// Other ways to say a word; empty when the file holds a plain list.
        public var synonyms: [String: [String]]

        /// Per word the ways to say it, the plainest first.
        public var phrases: [[String]] { synonyms.isEmpty ? names.map { [$0] } : names.compactMap { synonyms[$0] } }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let list = try? container.decode([String].self) {
                (names, synonyms) = (list, [:])
            } else if let map = try? container.decode([String: String].self) {
                (names, synonyms) = (map.keys.sorted(), map.mapValues { [$0] })
            } else {
                let map = try container.decode([String: [String]].self)
                (names, synonyms) = (map.keys.sorted(), map)
            }
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            if synonyms.isEmpty { try container.encode(names) } else { try container.encode(synonyms) }
        }
    }

    public struct File: Sendable, Codable, Equatable {
        public var bytes: Int
        /// 64 lower-case hexadecimal digits.
        public var sha256: String
    }
}
