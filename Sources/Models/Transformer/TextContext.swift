import Engine

/// What cross-attention needs of one text: the keys and values of every block, computed once per video.
///
/// Texts are padded with zero vectors, whose keys are all alike: one stands for all of them, its score raised by the
/// logarithm of their number. Lives in the arena it was made in, until that is rewound.
public struct TextContext {
    /// Real tokens and, unless the text fills the length, one for the padding.
    public let keys: Int
    /// `[blocks, 2, keys, width]`.
    let states: UnsafePointer<Float>
    /// `[keys]`.
    let bias: UnsafePointer<Float>
    let width: Int

    func keysAndValues(block: Int) -> KeysAndValues {
        let k = states + 2 * block * keys * width
        return KeysAndValues(k: k, strideK: width, v: k + keys * width, strideV: width, count: keys, bias: bias)
    }
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
        for (index, block) in blocks.enumerated() {
            let k = kept[0] + 2 * index * keys * width
            let quantized = QuantizedRows(embedded, rows: keys, width: width, compute: compute, scratch: scratch)
            let weights = block.crossAttention
            weights.key(quantized, into: middle, compute: compute)
            weights.value(quantized, into: k + keys * width, compute: compute)
            compute.rmsNorm(
                middle, rows: keys, width: width, eps: Float(configuration.epsilon), gamma: weights.keyNorm.floats,
                into: k)
            if compute.isCancelled { throw .cancelled }
        }
        kept[1].update(repeating: 0, count: keys)
        if padding > 0 { kept[1][tokens] = Float(TableMath.log(Double(padding))) }
        return TextContext(keys: keys, states: kept[0], bias: kept[1], width: width)
    }

    private func contextCounts(keys: Int) -> [Int] { [blocks.count * 2 * keys * configuration.width, keys] }

    /// Padded input, two of the transformer's width, scratch.
    private func contextTemporaryCounts(keys: Int) -> [Int] {
        let width = configuration.width
        let widest = max(width, configuration.textDimension)
        let scratch = QuantizedRows.scratchBytes(rows: keys, width: widest)
        return [keys * configuration.textDimension, keys * width, keys * width, floatsOfScratch(scratch)]
    }
}
