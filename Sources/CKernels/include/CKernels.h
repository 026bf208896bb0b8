// Micro-kernels of the engine. No allocation, no threads, no globals: each call computes the portion it is given,
// the caller owns scheduling. Every function gives bit-identical results on every level (see docs/kernels.md):
// integer sums are exact, float reductions run in 16 virtual lanes in a fixed order, nothing is contracted. Which NaN a
// NaN is (sign, payload) is not part of that promise, nor are signalling NaNs. Outputs must
// not overlap inputs, but norms, activate and soft_clamp may work in place. `n` and counts of rows may be 0.
#ifndef FILOSCOPE_CKERNELS_H
#define FILOSCOPE_CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Instruction-set levels. A value is stable: it is printed in reports.
typedef enum ck_level {
    CK_LEVEL_REFERENCE = 0,
    CK_LEVEL_AVX2 = 1,
    CK_LEVEL_AVX512VNNI = 2,
    CK_LEVEL_NEON = 3,
    CK_LEVEL_NEON_DOTPROD = 4,
    CK_LEVEL_VNNI256 = 5,    // AVX-512 VL and VNNI, 256 bits wide: what AVXVNNI computes, where that can't run
    CK_LEVEL_AVXVNNI = 6,
    CK_LEVEL_NEON_I8MM = 7,
    CK_LEVEL_COUNT = 8,
} ck_level;

/// 1 when this CPU can run `level`, asked of the CPU itself (cpuid, getauxval), else 0.
int ck_level_supported(ck_level level);
/// "reference", "avx2", "avx512vnni", "neon", "dotprod", "vnni256", "avxvnni", "i8mm"; NULL for a value out of range.
const char *ck_level_name(ck_level level);
/// The level with that name, or -1.
int ck_level_named(const char *name);
/// The fastest supported level.
ck_level ck_level_best(void);

/// A quantized matrix as it lies in the checkpoint.
/// weight is [ceil(out/8)][in_padded/8][8 outputs][8 inputs], int8 in -127...127, in_padded = in rounded up to 16;
/// at least 64 readable bytes follow it. in is at most 65536. scale, sum (row sums of weight) and bias are
/// [out rounded up to 8]; bias may be NULL.
typedef struct ck_matrix_i8 {
    const int8_t *weight;
    const float *scale;
    const int32_t *sum;
    const float *bias;
    int32_t in;
    int32_t out;
} ck_matrix_i8;

/// How the int8 linears of a level want their rows: [rows / panel.rows][in_padded / 8][panel.rows][unit], of each row 8
/// inputs, repeated when unit is 16, every byte XOR `flip`. The last panel is whole; what its unused rows hold is
/// nobody's business. 48 is a multiple of `rows` on every level.
typedef struct ck_panel {
    int32_t rows;
    int32_t unit;
    int32_t flip;
} ck_panel;

/// A vector for each row, chosen by index: base + index[row] * stride; without an index every row has `base`. A base of
/// NULL is no vector.
typedef struct ck_row_vectors {
    const float *base;
    size_t stride;
    const int32_t *index;
} ck_row_vectors;

/// Rows on their way to int8.
typedef struct ck_quantize_args {
    const float *x;  // [rows, stride], `in` used
    size_t stride;
    int32_t in;
    // Not 0: layer_norm comes first, with these; the same bits as layer_norm gives.
    int32_t normalize;
    float eps;
    const float *gamma, *beta;    // [in] or NULL
    ck_row_vectors scale, shift;  // [in] each
    // Not 0: then each 128 inputs are replaced by their Hadamard transform, divided by sqrt(128); `in` is a multiple
    // of 128. The weights must have been transformed likewise. Spreads an outlier over its block.
    int32_t hadamard;
} ck_quantize_args;

typedef enum ck_activation {
    CK_ACTIVATION_NONE = 0,
    CK_ACTIVATION_GELU_TANH = 1,
    CK_ACTIVATION_GELU_ERF = 2,
    CK_ACTIVATION_SILU = 3,
    CK_ACTIVATION_RELU = 4,
} ck_activation;

/// y = residual + gate * activation(x·wᵀ + bias); without a residual the value itself.
typedef struct ck_linear_i8_args {
    const ck_quantize_args *source;  // quantizes each panel before its first use; NULL: panels and scale_x are given
    int8_t *panels;                  // of all rows, 64-byte aligned
    float *scale_x;                  // [rows]
    const ck_matrix_i8 *w;
    ck_activation activation;
    const float *residual;  // [rows, stride_residual] or NULL; may be y
    size_t stride_residual;
    ck_row_vectors gate;    // only with a residual
    float *y;               // [rows, stride_y]
    size_t stride_y;
    // Where int32 sums wait that are not finished in one go: [rows, stride_partial]. NULL: in y, which then must not be
    // the residual.
    int32_t *partial;
    size_t stride_partial;
    // Not 0: a call before this one has quantized this one's rows of the source already.
    int32_t quantized;
    // Rows of the source that the call quantizes for a later one, a little with each tile, so that their way from memory
    // costs no time of its own. ahead_begin is a multiple of panel.rows; none if it is ahead_end.
    int32_t ahead_begin, ahead_end;
} ck_linear_i8_args;

/// Attention of some query rows of one head against all keys.
typedef struct ck_attention_f32_args {
    const float *q;         // [queries, stride_q], head_dim used
    const float *k;         // [keys, stride_k]
    const float *v;         // [keys, stride_v]
    float *out;             // [queries, stride_out]
    const float *key_bias;  // [keys] added to the scores (log of how many equal keys one stands for), or NULL
    int32_t queries, keys, head_dim;          // head_dim: a multiple of 16, at most 256
    int32_t stride_q, stride_k, stride_v, stride_out;  // in floats
    float scale;            // of the scores, 1/sqrt(head_dim)
} ck_attention_f32_args;

enum {
    CK_ATTENTION_I8_BLOCK = 64,   // keys that share a softmax maximum and the scales of their values
};

/// The keys and values of one head for int8 attention, and where they are kept prepared.
typedef struct ck_attention_i8_keys {
    const float *k;         // [keys, stride_k], head_dim used
    const float *v;         // [keys, stride_v]
    const float *key_bias;  // [keys] added to the scores, or NULL
    void *prepared;         // ck_attention_i8_bytes(keys, head_dim) bytes, 64-byte aligned; each level has its own layout
    int32_t keys, head_dim;        // head_dim: a multiple of 16, at most 256
    int32_t stride_k, stride_v;    // in floats
} ck_attention_i8_keys;

/// Attention of some query rows of one head against prepared keys.
typedef struct ck_attention_i8_args {
    const float *q;         // [queries, stride_q], head_dim used
    float *out;             // [queries, stride_out]
    const void *prepared;   // by the same level, for the same keys and head_dim
    int32_t queries, keys, head_dim;
    int32_t stride_q, stride_out;  // in floats
    float scale;            // of the scores, 1/sqrt(head_dim)
    int32_t unbiased;       // not 0: the keys were prepared without a key_bias, and none is added
} ck_attention_i8_args;

/// Bytes of the prepared keys and values of one head, the same on every level; a multiple of 64.
size_t ck_attention_i8_bytes(int32_t keys, int32_t head_dim);

/// A convolution over one image, channels last, zero padding (kh/2, kw/2), square stride.
/// weight is [kh][kw][in + in2][out_padded] (in2 counts only with input2), out_padded = out rounded up to
/// 16; bias is [out_padded] or NULL.
/// Each output sums in ascending (ky, kx, in); taps outside the image are skipped.
typedef struct ck_convolution_f32_args {
    const float *input;   // [height, width, in]
    const float *input2;  // [height, width, in2] continues the channels of input (a MemBlock's past), or NULL
    const float *weight;
    const float *bias;
    float *output;        // [out_height, out_width, out]
    int32_t height, width, in, in2, out;  // out: as stored in output, need not be a multiple of 16
    int32_t kernel;       // 1 or 3
    int32_t stride;       // 1 or 2; out_height = ceil(height / stride)
    const float *residual;  // [out_height, out_width, out] added after the bias, or NULL
    ck_activation activation;  // NONE or RELU, applied last
} ck_convolution_f32_args;

/// How numbers lie in bytes: number = (byte - zero) * scale. scale is above 0; zero is 0...255, 0 after a ReLU, so that all
/// 8 bits are of use.
typedef struct ck_quantization {
    float scale;
    int32_t zero;
} ck_quantization;

/// The same convolution over bytes, the image enlarged before (nearest) without being written down.
/// weight is [out_padded/8][kernel][kernel][blocks][8 outputs][8 inputs], int8 in -127...127, blocks those of 8 inputs of
/// in, rounded up to 16, then of in2, rounded up to 16; both together are at most 4096 inputs. Bytes use all of 8 bits, so
/// that a weight of -128, which the reader of checkpoints refuses, would be too much for 16-bit sums. scale, sum (of an output's
/// weights) and bias are [out_padded], out_padded = out rounded up to 16; bias may be NULL.
/// With k = 1 for floats, else 1 / quantization_out.scale, an output is
///     (float)(Σ (byte - zero)·w) * ((quantization_in.scale * scale[o]) * k) + bias[o] * k
///     + (float)(residual - zero) * (quantization_residual.scale * k), or + residual_f32 * k;
/// then the activation; a byte is that, clamped to what bytes hold, plus zero, rounded (a tie to the even byte). A NaN is
/// the lowest.
typedef struct ck_convolution_i8_args {
    const uint8_t *input;   // [height / enlarge, width / enlarge, stride_in], `in` used
    const uint8_t *input2;  // [height / enlarge, width / enlarge, in2], or NULL
    const int8_t *weight;
    const float *scale;
    const int32_t *sum;
    const float *bias;
    uint8_t *output;        // [out_height, out_width, out], or NULL with output_f32
    float *output_f32;
    const uint8_t *residual;  // [out_height, out_width, out] or NULL
    const float *residual_f32;  // the same as floats; one of the two at most
    ck_quantization quantization_in;  // of both inputs
    ck_quantization quantization_residual;
    ck_quantization quantization_out;
    int32_t height, width;  // of the enlarged image
    int32_t in, in2, out;
    int32_t stride_in;      // bytes from a pixel of input to the next
    int32_t enlarge;        // 1 or 2
    int32_t kernel;         // 1 or 3
    int32_t stride;         // 1 or 2; out_height = ceil(height / stride)
    ck_activation activation;  // NONE or RELU
} ck_convolution_i8_args;

/// The functions of one level. All rows are contiguous unless a stride (in elements) is given.
typedef struct ck_kernels {
    ck_level level;

    ck_panel panel;

    /// Rows row_begin..<row_end into `panels`, scales into scale[row]: q = round-half-even(x * (127 / absmax(row))), the
    /// product not rounded before, zero past `in`; scale = absmax / 127 (0 for a zero row). row_begin is a multiple of panel.rows.
    /// A NaN counts as 0, infinities as the largest finite value; a row whose absmax is below 2^-120 is all zeros.
    void (*quantize_panels)(const ck_quantize_args *args, int32_t row_begin, int32_t row_end, int8_t *panels,
                            float *scale);

    /// y[r][o] = activation((float)(Σ q[r]·w[o]) * (scale_x[r] * w.scale[o]) + bias[o]), the bias joined by one fused
    /// operation, see ck_linear_i8_args, for rows row_begin..<row_end and outputs out_begin..<out_end (row_begin a multiple of panel.rows, out_begin of 8; out_end a
    /// multiple of 8 or w->out). With a `source`, portions of the same rows quantize them again.
    void (*linear_i8)(const ck_linear_i8_args *args, int32_t row_begin, int32_t row_end, int32_t out_begin,
                      int32_t out_end);

    /// y = activation(x·wᵀ + bias) with float32 weights [out, in] row-major (torch's Linear).
    void (*linear_f32)(const float *x, size_t stride_x, int32_t rows, const float *w, const float *bias, int32_t in,
                       int32_t out_begin, int32_t out_end, ck_activation activation, float *y, size_t stride_y);

    /// Softmax attention in float32, online over blocks of 64 keys, nothing of size queries*keys beyond one block.
    /// A query all of whose scores are -infinity, or without keys, gives zeros.
    void (*attention_f32)(const ck_attention_f32_args *args);

    /// Softmax attention in int8, in the manner of SageAttention (Zhang et al., 2024): docs/kernels.md has the
    /// definition. Three calls: `center` once for a head, then `pack` for blocks block_begin..<block_end of
    /// CK_ATTENTION_I8_BLOCK keys, in any portions, then any number of calls of `attention_i8`.
    /// NaNs count as 0 and values beyond 2^48 as that. A query all of whose scores are -infinity gives zeros.
    void (*attention_i8_center)(const ck_attention_i8_keys *keys);
    void (*attention_i8_pack)(const ck_attention_i8_keys *keys, int32_t block_begin, int32_t block_end);
    void (*attention_i8)(const ck_attention_i8_args *args);

    /// Output rows row_begin..<row_end of the convolution.
    void (*convolution_f32)(const ck_convolution_f32_args *args, int32_t row_begin, int32_t row_end);

    /// Output rows row_begin..<row_end of the convolution.
    void (*convolution_i8)(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end);
    /// q = the byte of x: x * (1 / scale), clamped, plus zero, rounded (a tie to the even byte). A NaN is the lowest.
    void (*quantize_u8)(const float *x, int32_t n, ck_quantization quantization, uint8_t *q);
    /// x = (float)(q - zero) * scale.
    void (*dequantize_u8)(const uint8_t *q, int32_t n, ck_quantization quantization, float *x);

    /// y = (x - mean) / sqrt(var + eps) * (gamma or 1) + (beta or 0), then * (1 + scale or 0) + (shift or 0);
    /// each [n] or NULL.
    void (*layer_norm)(const float *x, int32_t n, float eps, const float *gamma, const float *beta, const float *scale,
                       const float *shift, float *y);
    /// y = x / sqrt(mean(x²) + eps) * gamma.
    void (*rms_norm)(const float *x, int32_t n, float eps, const float *gamma, float *y);
    /// Rotates interleaved pairs (x[2i], x[2i+1]) of each of `heads` heads by the angle whose cos/sin are [head_dim/2].
    void (*rotary)(float *x, int32_t heads, int32_t head_dim, const float *cos, const float *sin);
    /// y = y + x * (gate or 1).
    void (*add_gated)(float *y, const float *x, const float *gate, int32_t n);
    void (*activate)(const float *x, float *y, int32_t n, ck_activation activation);
    /// y = tanh(x / 3) * 3, the autoencoder's clamp.
    void (*soft_clamp)(const float *x, float *y, int32_t n);
    /// y = a * x + b * y, element by element, no fused multiply-add.
    void (*axpby)(float a, const float *x, float b, float *y, int32_t n);
} ck_kernels;

/// The table of one level; NULL when the CPU can't run it.
const ck_kernels *ck_kernels_at(ck_level level);

/// The limits of this CPU, for benchmarks: runs `rounds` rounds of independent int8 products and sums as the level does
/// them, in registers, and returns how many operations that were (a product and a sum are two). The CPU must have the level:
/// asking would take longer than the loop on a virtual machine.
int64_t ck_limit_i8(ck_level level, int64_t rounds);
/// The same of float32: fused multiplications and additions.
int64_t ck_limit_f32(ck_level level, int64_t rounds);
/// Reads `bytes` bytes, a multiple of 128, `passes` times.
void ck_limit_read(const void *p, size_t bytes, int32_t passes);

/// Elementary functions, bit-identical everywhere; max error in their source comments.
float ck_exp(float x);
float ck_log(float x);
float ck_tanh(float x);
float ck_erf(float x);
float ck_sin(float x);
float ck_cos(float x);

/// Philox 4x32-10 (Salmon et al., SC'11): out = philox(counter, key).
void ck_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/// n standard normals, element i drawn from counter (i / 4, stream) under `seed`; Box-Muller over ck_log/ck_sin/ck_cos.
void ck_normal(uint64_t seed, uint64_t stream, uint64_t first, float *out, size_t n);

#ifdef __cplusplus
}
#endif

#endif
