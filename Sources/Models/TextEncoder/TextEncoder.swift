import Engine

/// BERT's encoder without its pooler (reference: transformers `BertModel`): token, position and type embeddings, then
/// layers of self-attention and a GELU feed-forward, each added to its input and normalised after.
public struct TextEncoder: Sendable {
    /// Numbers in one state.
    public let hiddenSize: Int
    public let maximumTokens: Int
    private let configuration: ModelDescription.TextEncoder
    private let words: Embedding
    private let positions: Embedding
    private let types: Embedding
    private let norm: Norm
    private let layers: [Layer]

    init(_ checkpoint: Checkpoint, _ configuration: ModelDescription.TextEncoder, maximumTokens: Int)
        throws(CheckpointError)
    {
        let width = configuration.hiddenSize
        self.configuration = configuration
        hiddenSize = width
        self.maximumTokens = maximumTokens
        words = try Embedding(
            checkpoint, "embeddings.word_embeddings", count: configuration.vocabularySize, width: width)
        positions = try Embedding(
            checkpoint, "embeddings.position_embeddings", count: configuration.maximumPositions, width: width)
        types = try Embedding(checkpoint, "embeddings.token_type_embeddings", count: 2, width: width)
        norm = try Norm(checkpoint, "embeddings.LayerNorm", width: width)
        var layers: [Layer] = []
        for index in 0..<configuration.layers {
            layers.append(
                try Layer(
                    checkpoint, "encoder.layer.\(index)", width: width, hidden: configuration.intermediateSize))
        }
        self.layers = layers
    }

    /// Counts what `encode` takes from the arena, and gives back, for a text of the greatest length.
    public func plan(in plan: inout ArenaPlan) {
        let mark = plan.mark
        Buffers.plan(counts(tokens: maximumTokens), in: &plan)
        plan.rewind(to: mark)
    }

    /// Writes the last hidden states, `[tokens.count, hiddenSize]`, to `output`.
    ///
    /// `tokens` are ids of the model's tokenizer, 1...maximumTokens of them. The arena is given back as it was.
    public func encode(
        _ tokens: [Int32], into output: UnsafeMutablePointer<Float>, compute: Compute, arena: Arena
    ) throws(ModelError) {
        let rows = tokens.count
        guard (1...maximumTokens).contains(rows) else {
            throw .shape("a text of \(rows) tokens; the text encoder takes 1...\(maximumTokens)")
        }
        guard let highest = tokens.max(), let lowest = tokens.min(), lowest >= 0, highest < words.count else {
            throw .shape("a token is not below \(words.count)")
        }
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let buffers = try Buffers(counts(tokens: rows), in: arena).floats
        let (q, k, v, hidden) = (buffers[0], buffers[1], buffers[2], buffers[3])
        let scratch = UnsafeMutableRawPointer(buffers[4])
        let (width, heads, eps) = (hiddenSize, configuration.heads, Float(configuration.layerNormEpsilon))
        let x = output

        for (row, token) in tokens.enumerated() {
            words(Int(token), into: x + row * width)
            types(0, into: q + row * width)
            positions(row, into: k + row * width)
        }
        compute.addGated(q, rows: rows, width: width, to: x)
        compute.addGated(k, rows: rows, width: width, to: x)
        norm(x, rows: rows, eps: eps, compute: compute)

        for layer in layers {
            let quantized = QuantizedRows(x, rows: rows, width: width, compute: compute, scratch: scratch)
            layer.query(quantized, into: q, compute: compute)
            layer.key(quantized, into: k, compute: compute)
            layer.value(quantized, into: v, compute: compute)
            compute.attention(
                q, queries: rows, keys: KeysAndValues(k: k, strideK: width, v: v, strideV: width, count: rows),
                heads: heads, headDim: width / heads, into: hidden)
            layer.attentionOutput(hidden, rows: rows, into: q, compute: compute, scratch: scratch)
            compute.addGated(q, rows: rows, width: width, to: x)
            layer.attentionNorm(x, rows: rows, eps: eps, compute: compute)
            layer.intermediate(
                x, rows: rows, into: hidden, activation: .geluErf, compute: compute, scratch: scratch)
            layer.output(hidden, rows: rows, into: q, compute: compute, scratch: scratch)
            compute.addGated(q, rows: rows, width: width, to: x)
            layer.outputNorm(x, rows: rows, eps: eps, compute: compute)
            if compute.isCancelled { throw .cancelled }
        }
    }

    /// q, k, v, the feed-forward's middle (or attention's output), scratch.
    private func counts(tokens: Int) -> [Int] {
        let middle = max(hiddenSize, configuration.intermediateSize)
        let scratch = QuantizedRows.scratchBytes(rows: tokens, width: middle)
        let one = tokens * hiddenSize
        return [one, one, one, tokens * middle, floatsOfScratch(scratch)]
    }
}

extension TextEncoder {
    /// The parts of transformers' `BertLayer`.
    private struct Layer {
        let query: Linear
        let key: Linear
        let value: Linear
        let attentionOutput: Linear
        let attentionNorm: Norm
        let intermediate: Linear
        let output: Linear
        let outputNorm: Norm

        init(_ checkpoint: Checkpoint, _ name: String, width: Int, hidden: Int) throws(CheckpointError) {
            query = try Linear(checkpoint, "\(name).attention.self.query", in: width, out: width)
            key = try Linear(checkpoint, "\(name).attention.self.key", in: width, out: width)
            value = try Linear(checkpoint, "\(name).attention.self.value", in: width, out: width)
            attentionOutput = try Linear(checkpoint, "\(name).attention.output.dense", in: width, out: width)
            attentionNorm = try Norm(checkpoint, "\(name).attention.output.LayerNorm", width: width)
            intermediate = try Linear(checkpoint, "\(name).intermediate.dense", in: width, out: hidden)
            output = try Linear(checkpoint, "\(name).output.dense", in: hidden, out: width)
            outputNorm = try Norm(checkpoint, "\(name).output.LayerNorm", width: width)
        }
    }
}

/// A layer norm's `name.weight` and `name.bias`, F32 `[width]` each.
///
/// Unchecked: the pointers lead into the read-only map that `checkpoint` keeps.
struct Norm: @unchecked Sendable {
    let width: Int
    let weight: UnsafePointer<Float>
    let bias: UnsafePointer<Float>
    private let checkpoint: Checkpoint

    init(_ checkpoint: Checkpoint, _ name: String, width: Int) throws(CheckpointError) {
        self.width = width
        self.checkpoint = checkpoint
        weight = try checkpoint.tensor("\(name).weight", .f32, shape: [width]).floats
        bias = try checkpoint.tensor("\(name).bias", .f32, shape: [width]).floats
    }

    /// Normalises x, `[rows, width]`, in place.
    func callAsFunction(_ x: UnsafeMutablePointer<Float>, rows: Int, eps: Float, compute: Compute) {
        compute.layerNorm(x, rows: rows, width: width, eps: eps, gamma: weight, beta: bias, into: x)
    }
}

/// A tensor read as it lies in the file, F32, kept mapped by `checkpoint`.
struct Table: @unchecked Sendable {
    let floats: UnsafePointer<Float>
    private let checkpoint: Checkpoint

    init(_ checkpoint: Checkpoint, _ name: String, shape: [Int]) throws(CheckpointError) {
        self.checkpoint = checkpoint
        floats = try checkpoint.tensor(name, .f32, shape: shape).floats
    }
}
