import Engine

/// The denoiser (reference: diffusers `WanTransformer3DModel`), with a timestep for each latent frame.
///
/// Int8 or float32, linear by linear, as the checkpoint holds them.
public struct Transformer: Sendable {
    public let configuration: ModelDescription.Transformer
    /// The length texts are padded to, in tokens.
    public let maximumTokens: Int
    let checkpoint: Checkpoint
    let patchEmbedding: Linear
    let timeIn: Linear
    let timeOut: Linear
    let timeProjection: Linear
    let textIn: Linear
    let textOut: Linear
    let blocks: [TransformerBlock]
    /// `[2, width]`: shift and scale of the last norm.
    let modulation: Table
    let projection: Linear
    /// Whether attention is computed in int8: where the file's own queries, keys and values come from int8 weights.
    let quantizedAttention: Bool
    /// Tokens the feed-forward takes at a time: its middle is several times wider than a token.
    var feedForwardTokens = 1024

    init(_ checkpoint: Checkpoint, _ configuration: ModelDescription.Transformer, maximumTokens: Int)
        throws(CheckpointError)
    {
        let width = configuration.width
        let patch = configuration.patchSize.reduce(1, *)
        let conditions = "condition_embedder"
        self.configuration = configuration
        self.maximumTokens = maximumTokens
        self.checkpoint = checkpoint
        patchEmbedding = try Linear(
            checkpoint, "patch_embedding", in: configuration.inChannels * patch, out: width)
        timeIn = try Linear(
            checkpoint, "\(conditions).time_embedder.linear_1", in: configuration.frequencyDimension, out: width)
        timeOut = try Linear(checkpoint, "\(conditions).time_embedder.linear_2", in: width, out: width)
        timeProjection = try Linear(checkpoint, "\(conditions).time_proj", in: width, out: 6 * width)
        textIn = try Linear(
            checkpoint, "\(conditions).text_embedder.linear_1", in: configuration.textDimension, out: width)
        textOut = try Linear(checkpoint, "\(conditions).text_embedder.linear_2", in: width, out: width)
        var blocks: [TransformerBlock] = []
        for index in 0..<configuration.layers {
            blocks.append(try TransformerBlock(checkpoint, "blocks.\(index)", configuration))
        }
        self.blocks = blocks
        quantizedAttention = blocks.allSatisfy { $0.selfAttention.isQuantized && $0.crossAttention.isQuantized }
        modulation = try Table(checkpoint, "scale_shift_table", shape: [1, 2, width])
        projection = try Linear(checkpoint, "proj_out", in: width, out: configuration.outChannels * patch)
    }

    /// Kernels count tokens in 32 bits, and attention over more would not end.
    static let maximumGrid = 1 << 24

    /// Throws `ModelError.shape` for latents the network can't take.
    func checkShape(_ shape: LatentShape) throws(ModelError) {
        let patch = configuration.patchSize
        let limit = configuration.maximumPositions
        guard shape.channels == configuration.inChannels else {
            throw .shape("latents of \(shape.channels) channels; the transformer takes \(configuration.inChannels)")
        }
        guard shape.frames > 0, shape.height > 0, shape.width > 0, shape.height % patch[1] == 0,
            shape.width % patch[2] == 0
        else {
            throw .shape(
                "latents of \(shape.width)x\(shape.height), \(shape.frames) frames; "
                    + "the transformer takes multiples of \(patch[2])x\(patch[1])")
        }
        guard max(shape.frames, shape.height / patch[1], shape.width / patch[2]) <= limit else {
            throw .shape("latents with more than \(limit) positions along a side")
        }
        guard tokens(shape) <= Self.maximumGrid else {
            throw .shape("latents of \(tokens(shape)) tokens; the limit is \(Self.maximumGrid)")
        }
    }

    func grid(_ shape: LatentShape) -> RotaryTable {
        RotaryTable(
            headDimension: configuration.headDimension, frames: shape.frames,
            rows: shape.height / configuration.patchSize[1], columns: shape.width / configuration.patchSize[2])
    }

    /// Tokens that latents of this shape are cut into.
    public func tokens(_ shape: LatentShape) -> Int { grid(shape).tokens }
}
