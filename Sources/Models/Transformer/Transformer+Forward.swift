import Engine

extension Transformer {
    /// Files below this stay in the page cache anyway.
    private static let prefetchBytes = 256 << 20

    /// Counts what `callAsFunction` takes from the arena, and gives back.
    public func plan(_ shape: LatentShape, in plan: inout ArenaPlan) {
        let mark = plan.mark
        Buffers.plan(counts(shape, timesteps: shape.frames), in: &plan)
        plan.allocate(Int32.self, count: tokens(shape))
        plan.rewind(to: mark)
    }

    /// Bytes of arena for a video of this shape: contexts of the text and of its opposite, then one pass.
    public func bytes(for shape: LatentShape) -> Int {
        var plan = ArenaPlan()
        planContext(in: &plan)
        planContext(in: &plan)
        self.plan(shape, in: &plan)
        return plan.byteCount
    }

    /// One pass of the network.
    ///
    /// `latents` and `output` are `[channels, frames, height, width]`, normalised; they may be the same. `timesteps`
    /// has one entry for each latent frame, 0...1000, 0 for a known one. The arena is given back as it was. Throws
    /// `ModelError.shape`, `.memory`, `.cancelled`.
    public func callAsFunction(
        _ latents: UnsafePointer<Float>, shape: LatentShape, timesteps: [Float], context: TextContext,
        into output: UnsafeMutablePointer<Float>, compute: Compute, arena: Arena
    ) throws(ModelError) {
        try checkShape(shape)
        guard timesteps.count == shape.frames, timesteps.allSatisfy({ (0...1000).contains($0) }) else {
            throw .shape("timesteps must be \(shape.frames) numbers in 0...1000")
        }
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let pass = try Pass(self, shape, timesteps, context, compute, arena)

        patchify(latents, shape, into: pass.patches)
        patchEmbedding(
            pass.patches, rows: pass.rows, into: pass.x, compute: compute, scratch: pass.scratch)
        for (index, block) in blocks.enumerated() {
            if index + 1 < blocks.count, checkpoint.byteCount > Self.prefetchBytes {
                checkpoint.prefetch(prefix: "blocks.\(index + 1).")
            }
            pass.attend(block)
            pass.attendToText(block, index)
            pass.feedForward(block)
            if compute.isCancelled { throw .cancelled }
        }
        pass.project()
        if compute.isCancelled { throw .cancelled }
        unpatchify(pass.patches, shape, into: output)
    }

    /// x, norm, q, k, v; patches; the feed-forward's middle; cosines, sines; time embedding in four steps, the
    /// modulation of one block; scratch.
    fileprivate func counts(_ shape: LatentShape, timesteps: Int) -> [Int] {
        let table = grid(shape)
        let rows = table.tokens
        let width = configuration.width
        let patch = configuration.patchSize.reduce(1, *) * configuration.inChannels
        let chunk = min(rows, feedForwardTokens)
        let scratch = [
            QuantizedRows.scratchBytes(rows: rows, width: max(width, patch)),
            QuantizedRows.scratchBytes(rows: chunk, width: configuration.feedForwardDimension),
            QuantizedRows.scratchBytes(rows: timesteps, width: max(width, configuration.frequencyDimension)),
            quantizedAttention
                ? QuantizedKeysAndValues.scratchBytes(
                    count: rows, heads: configuration.heads, headDim: configuration.headDimension) : 0,
        ].reduce(0, max)
        return Array(repeating: rows * width, count: 5) + [
            rows * patch, chunk * configuration.feedForwardDimension, table.count, table.count,
            timesteps * configuration.frequencyDimension, timesteps * width, timesteps * width,
            timesteps * 6 * width, timesteps * 6 * width, floatsOfScratch(scratch),
        ]
    }

    /// `[channels, frames, height, width]` to `[tokens, channels * rows * columns of a patch]`, a convolution's order.
    private func patchify(
        _ latents: UnsafePointer<Float>, _ shape: LatentShape, into patches: UnsafeMutablePointer<Float>
    ) {
        forEachPatchRow(shape) { token, channel, row, source in
            let (height, width) = (configuration.patchSize[1], configuration.patchSize[2])
            let target = ((token * shape.channels + channel) * height + row) * width
            for column in 0..<width { patches[target + column] = latents[source + column] }
        }
    }

    /// `[tokens, rows * columns of a patch * channels]` to `[channels, frames, height, width]`.
    private func unpatchify(
        _ patches: UnsafePointer<Float>, _ shape: LatentShape, into latents: UnsafeMutablePointer<Float>
    ) {
        forEachPatchRow(shape) { token, channel, row, target in
            let (height, width) = (configuration.patchSize[1], configuration.patchSize[2])
            let source = (token * height + row) * width * shape.channels + channel
            for column in 0..<width { latents[target + column] = patches[source + column * shape.channels] }
        }
    }

    private func forEachPatchRow(
        _ shape: LatentShape, _ body: (_ token: Int, _ channel: Int, _ row: Int, _ offset: Int) -> Void
    ) {
        let (height, width) = (configuration.patchSize[1], configuration.patchSize[2])
        var token = 0
        for frame in 0..<shape.frames {
            for top in stride(from: 0, to: shape.height, by: height) {
                for left in stride(from: 0, to: shape.width, by: width) {
                    for channel in 0..<shape.channels {
                        for row in 0..<height {
                            let line = (channel * shape.frames + frame) * shape.height + top + row
                            body(token, channel, row, line * shape.width + left)
                        }
                    }
                    token += 1
                }
            }
        }
    }
}

extension Transformer {
    /// The buffers of one pass, and the steps over them.
    private struct Pass {
        let transformer: Transformer
        let context: TextContext
        let compute: Compute
        let rows: Int
        let width: Int
        let eps: Float
        let timesteps: Int
        let x: UnsafeMutablePointer<Float>
        let norm: UnsafeMutablePointer<Float>
        let q: UnsafeMutablePointer<Float>
        let k: UnsafeMutablePointer<Float>
        let v: UnsafeMutablePointer<Float>
        let patches: UnsafeMutablePointer<Float>
        let middle: UnsafeMutablePointer<Float>
        let cosines: UnsafeMutablePointer<Float>
        let sines: UnsafeMutablePointer<Float>
        /// `[timesteps, width]`.
        let time: UnsafeMutablePointer<Float>
        /// `[timesteps, 6, width]`, before and after a block's own table is added.
        let timeProjected: UnsafeMutablePointer<Float>
        let modulation: UnsafeMutablePointer<Float>
        let scratch: UnsafeMutableRawPointer
        /// Which of the distinct timesteps a token has.
        let timestepOfToken: UnsafeMutablePointer<Int32>

        init(
            _ transformer: Transformer, _ shape: LatentShape, _ timestepOfFrame: [Float], _ context: TextContext,
            _ compute: Compute, _ arena: Arena
        ) throws(ModelError) {
            var distinct: [Float] = []
            let indices = timestepOfFrame.map { timestep in
                if let known = distinct.firstIndex(of: timestep) { return Int32(known) }
                distinct.append(timestep)
                return Int32(distinct.count - 1)
            }
            let buffers = try Buffers(transformer.counts(shape, timesteps: distinct.count), in: arena).floats
            let table = transformer.grid(shape)
            let configuration = transformer.configuration
            self.transformer = transformer
            self.context = context
            self.compute = compute
            rows = table.tokens
            width = configuration.width
            eps = Float(configuration.epsilon)
            timesteps = distinct.count
            (x, norm, q, k, v) = (buffers[0], buffers[1], buffers[2], buffers[3], buffers[4])
            (patches, middle, cosines, sines) = (buffers[5], buffers[6], buffers[7], buffers[8])
            (time, timeProjected, modulation) = (buffers[11], buffers[12], buffers[13])
            scratch = UnsafeMutableRawPointer(buffers[14])
            do {
                timestepOfToken = try arena.allocate(Int32.self, count: table.tokens)
            } catch {
                throw .memory(error.description)
            }
            let tokensOfFrame = table.rows * table.columns
            for (frame, index) in indices.enumerated() {
                (timestepOfToken + frame * tokensOfFrame).update(repeating: index, count: tokensOfFrame)
            }
            table.fill(cosines: cosines, sines: sines)
            let (waves, activated) = (buffers[9], buffers[10])
            let frequencies = configuration.frequencyDimension
            for (index, timestep) in distinct.enumerated() {
                embedTimestep(timestep, dimension: frequencies, into: waves + index * frequencies)
            }
            transformer.timeIn(
                waves, rows: timesteps, into: activated, activation: .silu, compute: compute, scratch: scratch)
            transformer.timeOut(activated, rows: timesteps, into: time, compute: compute, scratch: scratch)
            compute.activate(time, count: timesteps * width, .silu, into: activated)
            transformer.timeProjection(
                activated, rows: timesteps, into: timeProjected, compute: compute, scratch: scratch)
        }

        /// One of the six vectors of each token.
        func modulate(_ part: Int, from row: Int = 0) -> RowVectors {
            RowVectors(modulation + part * width, stride: 6 * width, index: timestepOfToken + row)
        }

        /// The layer norm of tokens from `row` on, with two of those vectors.
        func modulated(shift: Int, scale: Int, from row: Int = 0) -> Normalization {
            Normalization(eps: eps, scale: modulate(scale, from: row), shift: modulate(shift, from: row))
        }

        func attend(_ block: TransformerBlock) {
            for step in 0..<timesteps {
                let offset = step * 6 * width
                for i in 0..<6 * width {
                    modulation[offset + i] = block.modulation.floats[i] + timeProjected[offset + i]
                }
            }
            let weights = block.selfAttention
            let isQuantized = weights.query.isQuantized && weights.key.isQuantized && weights.value.isQuantized
            let quantized = QuantizedRows(
                x, rows: rows, width: width, normalization: modulated(shift: 0, scale: 1),
                floats: isQuantized ? nil : norm, compute: compute, scratch: scratch)
            weights.query(quantized, into: q, compute: compute)
            weights.key(quantized, into: k, compute: compute)
            weights.value(quantized, into: v, compute: compute)
            let configuration = transformer.configuration
            let (heads, headDimension) = (configuration.heads, configuration.headDimension)
            for (states, gamma) in [(q, weights.queryNorm), (k, weights.keyNorm)] {
                compute.rmsNorm(states, rows: rows, width: width, eps: eps, gamma: gamma.floats, into: states)
                compute.rotary(
                    states, rows: rows, heads: heads, headDim: headDimension, cos: cosines, sin: sines)
            }
            let keys = KeysAndValues(k: k, strideK: width, v: v, strideV: width, count: rows)
            if transformer.quantizedAttention {
                let quantized = QuantizedKeysAndValues(
                    keys, heads: heads, headDim: headDimension, compute: compute, scratch: scratch)
                compute.attention(q, queries: rows, keys: quantized, into: norm)
            } else {
                compute.attention(q, queries: rows, keys: keys, heads: heads, headDim: headDimension, into: norm)
            }
            weights.output.add(
                norm, rows: rows, gate: modulate(2), to: x, temporary: q, compute: compute, scratch: scratch)
        }

        func attendToText(_ block: TransformerBlock, _ index: Int) {
            let weights = block.crossAttention
            let normalization = block.crossNorm.map { Normalization(eps: eps, gamma: $0.weight, beta: $0.bias) }
            weights.query(
                x, rows: rows, normalization: normalization, floats: norm, into: q, compute: compute, scratch: scratch)
            compute.rmsNorm(
                q, rows: rows, width: width, eps: eps, gamma: weights.queryNorm.floats, into: q)
            switch context.keysAndValues(block: index) {
            case .float(let keys):
                let configuration = transformer.configuration
                compute.attention(
                    q, queries: rows, keys: keys, heads: configuration.heads, headDim: configuration.headDimension,
                    into: norm)
            case .int8(let keys):
                compute.attention(q, queries: rows, keys: keys, into: norm)
            }
            weights.output.add(norm, rows: rows, to: x, temporary: q, compute: compute, scratch: scratch)
        }

        func feedForward(_ block: TransformerBlock) {
            for start in stride(from: 0, to: rows, by: transformer.feedForwardTokens) {
                let count = min(transformer.feedForwardTokens, rows - start)
                let chunk = x + start * width
                block.expand(
                    chunk, rows: count, normalization: modulated(shift: 3, scale: 4, from: start), floats: norm,
                    into: middle, activation: .geluTanh, compute: compute, scratch: scratch)
                block.contract.add(
                    middle, rows: count, gate: modulate(5, from: start), to: chunk, temporary: q, compute: compute,
                    scratch: scratch)
            }
        }

        /// The last norm and the projection into patches.
        func project() {
            let table = transformer.modulation.floats
            for step in 0..<timesteps {
                for i in 0..<width {
                    modulation[step * 6 * width + i] = table[i] + time[step * width + i]
                    modulation[step * 6 * width + width + i] = table[width + i] + time[step * width + i]
                }
            }
            transformer.projection(
                x, rows: rows, normalization: modulated(shift: 0, scale: 1), floats: norm, into: patches,
                compute: compute, scratch: scratch)
        }
    }
}
