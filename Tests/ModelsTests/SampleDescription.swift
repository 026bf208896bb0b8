@testable import Models

/// A valid model.json, for tests that break it one field at a time.
enum SampleDescription {
    static let hash = String(repeating: "ab", count: 32)

    static let json = """
        {"format": 1, "name": "tiny", "family": "wan", "licence": "Apache-2.0", "description": "A test model.",
         "tokenizer": {"kind": "wordpiece", "file": "vocab.txt", "lowercase": true, "max_tokens": 24},
         "text_encoder": {"kind": "bert", "file": "text_encoder.safetensors", "hidden_size": 64,
          "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "layer_norm_eps": 1e-12,
          "vocab_size": 100, "max_position_embeddings": 64},
         "transformer": {"file": "transformer.safetensors", "patch_size": [1, 4, 4], "num_attention_heads": 2,
          "attention_head_dim": 32, "in_channels": 4, "out_channels": 4, "text_dim": 64, "freq_dim": 32,
          "ffn_dim": 128, "num_layers": 2, "cross_attn_norm": true, "qk_norm": "rms_norm_across_heads",
          "eps": 1e-6, "rope_max_seq_len": 64},
         "autoencoder": {"file": "autoencoder.safetensors", "kind": "taehv", "patch_size": 2, "image_channels": 3,
          "latent_channels": 4,
          "encoder": {"widths": [8, 16, 16], "blocks": [1, 1], "space": [2, 1], "time": [2, 2]},
          "decoder": {"widths": [16, 16, 8, 8], "blocks": [1, 1, 1], "space": [1, 2, 1], "time": [2, 2, 1]}},
         "preview": {"file": "preview.safetensors", "kind": "conv", "widths": [8, 8], "pixel_shuffle": 4},
         "latents": {"mean": [0, 0.5, -0.5, 0], "std": [1, 2, 0.5, 1]},
         "generation": {"prediction": "sample", "shift": 3.0, "steps": {"default": 12, "min": 1, "max": 50},
          "guidance": {"default": 2.5, "min": 1, "max": 10}, "fps": 8, "sizes": ["64x64", "32x64"],
          "frames": {"min": 5, "max": 17, "step": 4}},
         "words": {"subjects": ["fox", "cat"], "motions": {"spins": ["turns", "rotates"]}, "places": {"beach": "sand"}},
         "files": {
          "vocab.txt": {"bytes": 1, "sha256": "\(hash)"},
          "text_encoder.safetensors": {"bytes": 1, "sha256": "\(hash)"},
          "transformer.safetensors": {"bytes": 1, "sha256": "\(hash)"},
          "autoencoder.safetensors": {"bytes": 1, "sha256": "\(hash)"},
          "preview.safetensors": {"bytes": 1, "sha256": "\(hash)"}}}
        """

    static func decode(_ text: String) throws(ModelError) -> ModelDescription {
        try ModelDescription(json: Array(text.utf8))
    }

    /// The sample with the one occurrence of `old` replaced.
    static func replacing(_ old: String, _ new: String) -> String {
        let parts = json.split(separator: old, omittingEmptySubsequences: false)
        precondition(parts.count == 2, "'\(old)' occurs \(parts.count - 1) times")
        return parts[0] + new + parts[1]
    }
}
