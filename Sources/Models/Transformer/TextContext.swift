import Engine

/// What cross-attention needs of one text: the keys and values of every block, computed once per video.
///
/// Texts are padded with zero vectors, whose keys are all alike: one stands for all of them, its score raised by the
/// logarithm of their number. Lives in the arena it was made in, until that is rewound.
public struct TextContext {
    /// Real tokens and, unless the text fills the length, one for the padding.
    public let keys: Int
    /// Of each block.
    private let states: [States]

    enum States {
        case float(KeysAndValues)
        case int8(QuantizedKeysAndValues)
    }

    init(keys: Int, states: [States]) {
        self.keys = keys
        self.states = states
    }

    func keysAndValues(block: Int) -> States { states[block] }
}

extension Transformer {
    /// Counts what `context` takes and keeps for a text of any length: call once for each context of a video.
    public func planContext(in plan: inout ArenaPlan) {
        Buffers.plan(contextCounts(keys: maximumTokens), in: &plan)
        let mark = plan.mark
        Buffers.plan(contextTemporaryCounts(keys: maximumTokens), in: &plan)
        plan.rewind(to: mark)
    }

    /// Embeds a text for all blocks.
    ///
    /// `states` is `[tokens, text_dim]`, at most `maximumTokens` rows; no rows at all is the unconditional input.
    /// The context stays in the arena.
    public func context(
        states: UnsafePointer<Float>?, tokens: Int, compute: Compute, arena: Arena
    ) throws(ModelError) -> TextContext {
        guard (0...maximumTokens).contains(tokens), tokens == 0 || states != nil else {
            throw .shape("a text of \(tokens) tokens; the transformer takes 0...\(maximumTokens)")
        }
        let padding = maximumTokens - tokens
        let keys = padding > 0 ? tokens + 1 : tokens
        let (width, text) = (configuration.width, configuration.textDimension)
        let kept = try Buffers(contextCounts(keys: keys), in: arena).floats
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let temporary = try Buffers(contextTemporaryCounts(keys: keys), in: arena).floats
        let (input, middle, embedded) = (temporary[0], temporary[1], temporary[2])
        let scratch = UnsafeMutableRawPointer(temporary[3])

        if let states { input.update(from: states, count: tokens * text) }
        (input + tokens * text).update(repeating: 0, count: (keys - tokens) * text)
        textIn(input, rows: keys, into: middle, activation: .geluTanh, compute: compute, scratch: scratch)
        textOut(middle, rows: keys, into: embedded, compute: compute, scratch: scratch)
        let bias = kept[1]
        bias.update(repeating: 0, count: keys)
        if padding > 0 { bias[tokens] = Float(TableMath.log(Double(padding))) }
        var blockStates: [TextContext.States] = []
        for (index, block) in blocks.enumerated() {
            // Float states stay where they are computed; int8 ones are made of temporary floats.
            let kept = kept[0] + index * floatsOfStates(keys: keys)
            let k = quantizedAttention ? temporary[4] : kept
            let v = k + keys * width
            let quantized = QuantizedRows(embedded, rows: keys, width: width, compute: compute, scratch: scratch)
            let weights = block.crossAttention
            weights.key(quantized, into: middle, compute: compute)
            weights.value(quantized, into: v, compute: compute)
            compute.rmsNorm(
                middle, rows: keys, width: width, eps: Float(configuration.epsilon), gamma: weights.keyNorm.floats,
                into: k)
            let states = KeysAndValues(k: k, strideK: width, v: v, strideV: width, count: keys, bias: bias)
            if quantizedAttention {
                blockStates.append(
                    .int8(
                        QuantizedKeysAndValues(
                            states, heads: configuration.heads, headDim: configuration.headDimension,
                            compute: compute, scratch: UnsafeMutableRawPointer(kept))))
            } else {
                blockStates.append(.float(states))
            }
            if compute.isCancelled { throw .cancelled }
        }
        return TextContext(keys: keys, states: blockStates)
    }

    /// Of one block: `[2, keys, width]`, or its quantized form.
    private func floatsOfStates(keys: Int) -> Int {
        guard quantizedAttention else { return 2 * keys * configuration.width }
        return QuantizedKeysAndValues.scratchBytes(
            count: keys, heads: configuration.heads, headDim: configuration.headDimension) / 4
    }

    private func contextCounts(keys: Int) -> [Int] { [blocks.count * floatsOfStates(keys: keys), keys] }

    /// Padded input, two of the transformer's width, scratch, and the float states of a block that is quantized.
    private func contextTemporaryCounts(keys: Int) -> [Int] {
        let width = configuration.width
        let widest = max(width, configuration.textDimension)
        let scratch = QuantizedRows.scratchBytes(rows: keys, width: widest)
        return [
            keys * configuration.textDimension, keys * width, keys * width, floatsOfScratch(scratch),
            quantizedAttention ? 2 * keys * width : 0,
        ]
    }
}
