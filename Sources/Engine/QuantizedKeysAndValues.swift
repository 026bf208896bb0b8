internal import CKernels

/// Keys and values quantized for int8 attention, all heads; they live in the caller's scratch, laid out for the kernels
/// of one level.
///
/// Keys are smoothed by their mean and have a scale each, values a scale for each channel and 64 keys (SageAttention,
/// Zhang et al., 2024; docs/kernels.md).
///
/// Unchecked: nothing writes to the memory after `init`.
public struct QuantizedKeysAndValues: @unchecked Sendable {
    public let count: Int
    public let heads: Int
    public let headDim: Int
    let level: KernelLevel
    let isBiased: Bool
    private let base: UnsafeMutableRawPointer

    /// Bytes of scratch for `count` keys and values, a multiple of 64.
    public static func scratchBytes(count: Int, heads: Int, headDim: Int) -> Int {
        heads * ck_attention_i8_bytes(Int32(count), Int32(headDim))
    }

    /// Quantizes `keys` into `scratch` (64-byte aligned, `scratchBytes`), split over heads and blocks of keys.
    public init(
        _ keys: KeysAndValues, heads: Int, headDim: Int, compute: Compute, scratch: UnsafeMutableRawPointer
    ) {
        precondition(Compute.supportsAttention(headDim: headDim), "attention with a head dimension of \(headDim)")
        precondition(keys.count > 0, "attention over no keys")
        (count, self.heads, self.headDim, level, base) = (keys.count, heads, headDim, compute.level, scratch)
        isBiased = keys.bias != nil
        let stride = ck_attention_i8_bytes(Int32(keys.count), Int32(headDim))
        func head(_ head: Int) -> ck_attention_i8_keys {
            ck_attention_i8_keys(
                k: keys.k + head * headDim, v: keys.v + head * headDim, key_bias: keys.bias,
                prepared: scratch + head * stride, keys: Int32(keys.count), head_dim: Int32(headDim),
                stride_k: Int32(keys.strideK), stride_v: Int32(keys.strideV))
        }
        let center = compute.kernels.attention_i8_center.unsafelyUnwrapped
        compute.parallel(count: heads, cost: keys.count * headDim * 2) { range in
            for index in range {
                var arguments = head(index)
                center(&arguments)
            }
        }
        let block = Int(CK_ATTENTION_I8_BLOCK)
        let blocks = (keys.count + block - 1) / block
        let pack = compute.kernels.attention_i8_pack.unsafelyUnwrapped
        compute.parallel(count: heads * blocks, cost: block * headDim * 4) { range in
            for index in range {
                var arguments = head(index / blocks)
                pack(&arguments, Int32(index % blocks), Int32(index % blocks + 1))
            }
        }
    }

    func prepared(head: Int) -> UnsafeRawPointer {
        UnsafeRawPointer(base) + head * ck_attention_i8_bytes(Int32(count), Int32(headDim))
    }
}
