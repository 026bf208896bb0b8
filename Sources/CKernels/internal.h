// Shared by the sources of CKernels, not part of its interface.
#ifndef FILOSCOPE_CKERNELS_INTERNAL_H
#define FILOSCOPE_CKERNELS_INTERNAL_H

#include <stdint.h>
#include <string.h>

#include "CKernels.h"

#if defined(__clang__)
// A multiplication and an addition are fused only where the source says so: the same bits from every compiler. Others
// need -ffp-contract=off on their command line.
#pragma clang fp contract(off)
#endif

#define CK_PRAGMA(text) _Pragma(#text)
// CK_TARGET_BEGIN(features) compiles the functions up to CK_TARGET_END for an instruction set the build as a whole does
// not assume. An instruction set is written in clang's spelling; gcc takes the same for x86.
#if defined(__clang__)
#define CK_TARGET_BEGIN(features) \
    CK_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define CK_TARGET_END CK_PRAGMA(clang attribute pop)
#else
#define CK_TARGET_BEGIN(features) CK_PRAGMA(GCC push_options) CK_PRAGMA(GCC target(features))
#define CK_TARGET_END CK_PRAGMA(GCC pop_options)
#endif

#if defined(__x86_64__)
#define CK_AVX2 "avx2,fma"
#define CK_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
#define CK_VNNI256 "avx2,fma,avx512f,avx512vl,avx512vnni"
#define CK_AVXVNNI "avx2,fma,avxvnni"
#elif defined(__aarch64__) && defined(__clang__)
#define CK_DOTPROD "dotprod"
#define CK_I8MM "i8mm"
#elif defined(__aarch64__)
#define CK_DOTPROD "arch=armv8.2-a+dotprod"
#define CK_I8MM "arch=armv8.2-a+i8mm"
#endif

#define CK_INLINE static inline __attribute__((always_inline))

enum {
    CK_ATTENTION_BLOCK = 64,  // keys between two rescalings of the softmax
    CK_HEAD_DIM_MAX = 256,
};

// Coefficients of the elementary functions, shared by the scalar and the vector form. The polynomials are least-squares
// fits, reweighted towards the smallest maximal relative error.
#define CK_MAGIC 12582912.0f         // 1.5 * 2^23: adding it rounds |x| < 2^22 half to even
#define CK_MAGIC_BITS 0x4b400000
#define CK_FLOAT_MAX 3.40282347e+38f
#define CK_EXP_MIN -87.33654f        // below: 0 (the result would be subnormal)
#define CK_EXP_MAX 88.72283f         // above: infinity
#define CK_LOG2E 1.44269504f
#define CK_LN2_HIGH 0.693359375f     // 10 bits: n * CK_LN2_HIGH is exact
#define CK_LN2_LOW -2.12194440e-4f
#define CK_EXP_2 0.5f                // exp(r) = 1 + r + r² (c2 + c3 r + ...), |r| <= ln2 / 2
#define CK_EXP_3 0.166666657f
#define CK_EXP_4 0.0416662917f
#define CK_EXP_5 0.00833349861f
#define CK_EXP_6 0.00139448966f
#define CK_EXP_7 0.000197901129f
#define CK_TANH_SPLIT 0.625f         // tanh(x) = x + x³ (c0 + c1 x² + ...) below, 1 - 2 / (exp(2x) + 1) above
#define CK_TANH_0 -0.333332688f
#define CK_TANH_1 0.133310929f
#define CK_TANH_2 -0.053709656f
#define CK_TANH_3 0.0205388181f
#define CK_TANH_4 -0.00559101393f
#define CK_ERF_0 0.128379166f        // erf(x) = x + x (c0 + c1 x² + ...) below 1
#define CK_ERF_1 -0.37612626f
#define CK_ERF_2 0.112835854f
#define CK_ERF_3 -0.0268538147f
#define CK_ERF_4 0.00518833194f
#define CK_ERF_5 -0.000801022688f
#define CK_ERF_6 7.85396187e-05f
#define CK_ERF_LIMIT 4.0f            // erf(x) = 1 - exp(c0 + c1 x + ...) in 1...4, 1 from there on
#define CK_ERFC_0 -0.000353702955f
#define CK_ERFC_1 -1.12704015f
#define CK_ERFC_2 -0.638225555f
#define CK_ERFC_3 -0.103037469f
#define CK_ERFC_4 0.0218053665f
#define CK_ERFC_5 -0.00293961936f
#define CK_ERFC_6 0.000185575249f
#define CK_EXP2_1 0.693147004f       // 2^f = 1 + f (c1 + c2 f + ...), |f| <= 1/2
#define CK_EXP2_2 0.240222424f
#define CK_EXP2_3 0.0555073358f
#define CK_EXP2_4 0.00967151299f
#define CK_EXP2_5 0.00132647273f
#define CK_EXP2_MIN -126.0f
#define CK_EXP2_MAX 128.0f           // 2^128 is infinity
#define CK_GELU_LINEAR -2.30220819f  // 0.5 x (1 + tanh(u)) = x / (1 + 2^t), t = -2u / ln 2 = x (linear + cubic x²)
#define CK_GELU_CUBIC -0.102943242f
#define CK_SQRT_HALF 0.707106781f
#define CK_HADAMARD_SCALE 0.0883883461f  // 1 / sqrt(128)
#define CK_ROW_ZERO 7.52316385e-37f  // 2^-120: a row whose largest magnitude is below is quantized as zeros
#define CK_ATTENTION_LOWEST -3.0e38f // the running maximum starts here, so that no difference is inf - inf

// p = 255 exp(x), to 1/17 of a unit: (((x * CK_P_UNIT + CK_P_SHIFT)² + CK_P_OFFSET)²)²)²)² for x >= -6.9, below which
// p rounds to 0. A least-maximum fit.
#define CK_P_UNIT 0.0504861101f
#define CK_P_SHIFT 0.873736203f
#define CK_P_OFFSET 0.650452733f
#define CK_P_LOWEST -0.348354161f   // -6.9 * CK_P_UNIT
#define CK_P_PER_UNIT 19.8074272f    // 1 / CK_P_UNIT
#define CK_ATTENTION_LIMIT 0x1p48f   // of q, k and v: products of three scales stay finite

/// Where the parts of a head's prepared keys and values lie. k and v are in blocks of CK_ATTENTION_I8_BLOCK keys, the
/// last rounded up to 16.
typedef struct ck_prepared {
    float *center_k;       // [head_dim], the mean key
    float *center_v;       // [head_dim], the value of the smallest norm
    float *key_scale;      // [padded]
    float *key_bias;       // [padded] in CK_P_UNITs, -infinity for the padding
    int32_t *key_start;    // [padded] -128 Σ k
    float *value_scale;    // [blocks][head_dim]
    int32_t *value_start;  // [blocks][head_dim] 128 Σ v
    int8_t *k;
    int8_t *v;
} ck_prepared;

CK_INLINE int32_t ck_padded_keys(int32_t keys) { return (keys + 15) / 16 * 16; }

CK_INLINE ck_prepared ck_prepared_at(void *base, int32_t keys, int32_t head_dim) {
    const size_t padded = (size_t)ck_padded_keys(keys), dim = (size_t)head_dim;
    const size_t blocks = ((size_t)keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK;
    ck_prepared p;
    p.center_k = (float *)base;
    p.center_v = p.center_k + dim;
    p.key_scale = p.center_v + dim;
    p.key_bias = p.key_scale + padded;
    p.key_start = (int32_t *)(p.key_bias + padded);
    p.value_scale = (float *)(p.key_start + padded);
    p.value_start = (int32_t *)(p.value_scale + blocks * dim);
    p.k = (int8_t *)(p.value_start + blocks * dim);
    p.v = p.k + padded * dim;
    return p;
}

/// What the vector forms compute, one element at a time.
float ck_activation_of(float x, ck_activation activation);

// The ck_panel of each level: what its tiles consume.
#define CK_PANEL_avx2 {4, 8, 0}
#define CK_PANEL_vnni256 {6, 8, 0x80}
#define CK_PANEL_avxvnni {6, 8, 0x80}
#define CK_PANEL_avx512vnni {6, 8, 0x80}
#define CK_PANEL_neon {2, 16, 0}
#define CK_PANEL_dotprod {6, 16, 0}
#define CK_PANEL_i8mm {12, 8, 0}

typedef void ck_quantize_panels(const ck_quantize_args *args, int32_t row_begin, int32_t row_end, int8_t *panels,
                                float *scale);
typedef void ck_linear_i8(const ck_linear_i8_args *args, int32_t row_begin, int32_t row_end, int32_t out_begin,
                          int32_t out_end);
typedef void ck_convolution_i8(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end);

typedef void ck_attention_i8_center(const ck_attention_i8_keys *keys);
typedef void ck_attention_i8_pack(const ck_attention_i8_keys *keys, int32_t block_begin, int32_t block_end);
typedef void ck_attention_i8(const ck_attention_i8_args *args);
#define CK_ATTENTION_I8(name) \
    ck_attention_i8_center ck_attention_i8_center_##name; \
    ck_attention_i8_pack ck_attention_i8_pack_##name; \
    ck_attention_i8 ck_attention_i8_##name

CK_ATTENTION_I8(reference);
extern const ck_kernels ck_kernels_reference;
#if defined(__x86_64__)
extern const ck_kernels ck_kernels_avx2;
extern const ck_kernels ck_kernels_avx512vnni;
extern const ck_kernels ck_kernels_vnni256;
extern const ck_kernels ck_kernels_avxvnni;
ck_linear_i8 ck_linear_i8_avx2, ck_linear_i8_avx512vnni, ck_linear_i8_vnni256, ck_linear_i8_avxvnni;
ck_quantize_panels ck_quantize_panels_avx2, ck_quantize_panels_avx512vnni, ck_quantize_panels_vnni256,
    ck_quantize_panels_avxvnni;
ck_convolution_i8 ck_convolution_i8_avx2, ck_convolution_i8_avx512vnni, ck_convolution_i8_vnni256,
    ck_convolution_i8_avxvnni;
CK_ATTENTION_I8(avx2);
CK_ATTENTION_I8(avx512vnni);
CK_ATTENTION_I8(vnni256);
CK_ATTENTION_I8(avxvnni);
#elif defined(__aarch64__)
extern const ck_kernels ck_kernels_neon;
extern const ck_kernels ck_kernels_neon_dotprod;
extern const ck_kernels ck_kernels_neon_i8mm;
ck_linear_i8 ck_linear_i8_neon, ck_linear_i8_dotprod, ck_linear_i8_i8mm;
ck_quantize_panels ck_quantize_panels_neon, ck_quantize_panels_dotprod, ck_quantize_panels_i8mm;
ck_convolution_i8 ck_convolution_i8_neon, ck_convolution_i8_dotprod, ck_convolution_i8_i8mm;
CK_ATTENTION_I8(neon);
CK_ATTENTION_I8(dotprod);
CK_ATTENTION_I8(i8mm);
#endif

#endif
