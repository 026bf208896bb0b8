import Engine

/// The weights of one block (reference: diffusers `WanTransformerBlock`).
struct TransformerBlock: Sendable {
    /// `[6, width]`: shift, scale, gate of self-attention, then of the feed-forward.
    let modulation: Table
    let selfAttention: AttentionWeights
    let crossAttention: AttentionWeights
    /// In front of cross-attention; `nil` where the configuration has none.
    let crossNorm: Norm?
    let expand: Linear
    let contract: Linear

    init(_ checkpoint: Checkpoint, _ name: String, _ configuration: ModelDescription.Transformer)
        throws(CheckpointError)
    {
        let width = configuration.width
        modulation = try Table(checkpoint, "\(name).scale_shift_table", shape: [1, 6, width])
        selfAttention = try AttentionWeights(checkpoint, "\(name).attn1", width: width)
        crossAttention = try AttentionWeights(checkpoint, "\(name).attn2", width: width)
        crossNorm = configuration.crossAttentionNorm ? try Norm(checkpoint, "\(name).norm2", width: width) : nil
        expand = try Linear(
            checkpoint, "\(name).ffn.net.0.proj", in: width, out: configuration.feedForwardDimension)
        contract = try Linear(checkpoint, "\(name).ffn.net.2", in: configuration.feedForwardDimension, out: width)
    }
}

/// The weights of one attention (reference: diffusers `WanAttention`).
struct AttentionWeights: Sendable {
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    /// Of the RMS norms over all heads together, `[width]`.
    let queryNorm: Table
    let keyNorm: Table

    var isQuantized: Bool { query.isQuantized && key.isQuantized && value.isQuantized }

    init(_ checkpoint: Checkpoint, _ name: String, width: Int) throws(CheckpointError) {
        query = try Linear(checkpoint, "\(name).to_q", in: width, out: width)
        key = try Linear(checkpoint, "\(name).to_k", in: width, out: width)
        value = try Linear(checkpoint, "\(name).to_v", in: width, out: width)
        output = try Linear(checkpoint, "\(name).to_out.0", in: width, out: width)
        queryNorm = try Table(checkpoint, "\(name).norm_q.weight", shape: [width])
        keyNorm = try Table(checkpoint, "\(name).norm_k.weight", shape: [width])
    }
}
