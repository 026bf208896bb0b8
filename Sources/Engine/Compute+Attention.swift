internal import CKernels

/// The keys and values of one attention, all heads side by side.
public struct KeysAndValues {
    /// [count, strideK], heads * headDim used.
    public var k: UnsafePointer<Float>
    public var strideK: Int
    /// [count, strideV], heads * headDim used.
    public var v: UnsafePointer<Float>
    public var strideV: Int
    public var count: Int
    /// [count] added to the scores: log of how many equal keys one stands for; nil is all zero.
    public var bias: UnsafePointer<Float>?

    public init(
        k: UnsafePointer<Float>, strideK: Int, v: UnsafePointer<Float>, strideV: Int, count: Int,
        bias: UnsafePointer<Float>? = nil
    ) {
        self.k = k
        self.strideK = strideK
        self.v = v
        self.strideV = strideV
        self.count = count
        self.bias = bias
    }
}

extension Compute {
    /// Whether attention has kernels for this head dimension: a multiple of 16, at most 256.
    public static func supportsAttention(headDim: Int) -> Bool { headDim > 0 && headDim % 16 == 0 && headDim <= 256 }

    /// Softmax attention of every head: `out = softmax(q·kᵀ * scale + bias)·v`, in float32, online over key blocks.
    ///
    /// q is [queries, strideQ] and out is [queries, strideOut], heads * headDim used; strides in floats, nil is
    /// heads * headDim. `scale` nil is 1/sqrt(headDim). Split over heads and query blocks, never over keys.
    public func attention(
        _ q: UnsafePointer<Float>, queries: Int, strideQ: Int? = nil, keys: KeysAndValues, heads: Int, headDim: Int,
        scale: Float? = nil, into out: UnsafeMutablePointer<Float>, strideOut: Int? = nil
    ) {
        precondition(Self.supportsAttention(headDim: headDim), "attention with a head dimension of \(headDim)")
        precondition(keys.count > 0, "attention over no keys")
        guard queries > 0 else { return }
        let kernel = kernels.attention_f32.unsafelyUnwrapped
        let (strideQ, strideOut) = (strideQ ?? heads * headDim, strideOut ?? heads * headDim)
        let scale = scale ?? 1 / Float(headDim).squareRoot()
        let block = Self.queryBlock(
            queries: queries, keys: keys.count, heads: heads, headDim: headDim, threads: pool.threads)
        let blocks = (queries + block - 1) / block
        parallel(chunks: heads * blocks) { chunk in
            let (first, column) = (chunk % blocks * block, chunk / blocks * headDim)
            var arguments = ck_attention_f32_args(
                q: q + first * strideQ + column, k: keys.k + column, v: keys.v + column,
                out: out + first * strideOut + column, key_bias: keys.bias,
                queries: Int32(min(block, queries - first)), keys: Int32(keys.count), head_dim: Int32(headDim),
                stride_q: Int32(strideQ), stride_k: Int32(keys.strideK), stride_v: Int32(keys.strideV),
                stride_out: Int32(strideOut), scale: scale)
            kernel(&arguments)
        }
    }

    /// The same over keys and values that were quantized, in int8: as close to the float form as its cosine of 0.9995
    /// or better, and several times as fast.
    public func attention(
        _ q: UnsafePointer<Float>, queries: Int, strideQ: Int? = nil, keys: QuantizedKeysAndValues,
        scale: Float? = nil, into out: UnsafeMutablePointer<Float>, strideOut: Int? = nil
    ) {
        guard queries > 0 else { return }
        precondition(keys.level == level, "keys prepared for \(keys.level), attention on \(level)")
        let (heads, headDim) = (keys.heads, keys.headDim)
        let kernel = kernels.attention_i8.unsafelyUnwrapped
        let (strideQ, strideOut) = (strideQ ?? heads * headDim, strideOut ?? heads * headDim)
        let scale = scale ?? 1 / Float(headDim).squareRoot()
        let block = Self.quantizedQueryBlock(
            queries: queries, keys: keys.count, heads: heads, headDim: headDim, threads: pool.threads,
            products: kernels.level == CK_LEVEL_REFERENCE ? Self.largestChunk : Tiles.callProducts)
        let blocks = (queries + block - 1) / block
        parallel(chunks: heads * blocks) { chunk in
            let (first, head) = (chunk % blocks * block, chunk / blocks)
            var arguments = ck_attention_i8_args(
                q: q + first * strideQ + head * headDim, out: out + first * strideOut + head * headDim,
                prepared: keys.prepared(head: head), queries: Int32(min(block, queries - first)),
                keys: Int32(keys.count), head_dim: Int32(headDim), stride_q: Int32(strideQ),
                stride_out: Int32(strideOut), scale: scale, unbiased: keys.isBiased ? 0 : 1)
            kernel(&arguments)
        }
    }

    /// Queries of one int8 chunk, in whole passes of the kernels, 24 queries each: four passes share the keys that are in
    /// the L2 cache, which many keys need. At most `products` of them, if that leaves a pass.
    static func quantizedQueryBlock(
        queries: Int, keys: Int, heads: Int, headDim: Int, threads: Int, products: Int
    ) -> Int {
        var block = 96
        while block > 24 && block * keys * headDim * 2 > products { block /= 2 }
        while block > 24 && threads > 1 && heads * ((queries + block - 1) / block) < 4 * threads { block /= 2 }
        return block
    }

    /// Queries of one chunk: 64, fewer when that leaves threads without work or a cancel waiting, never under 8.
    static func queryBlock(queries: Int, keys: Int, heads: Int, headDim: Int, threads: Int) -> Int {
        var block = 64
        while block > 8 && block * keys * headDim * 2 > largestChunk { block /= 2 }
        while block > 8 && threads > 1 && heads * ((queries + block - 1) / block) < 4 * threads { block /= 2 }
        return block
    }
}
