#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX512)
#define LI_ROWS 6
#define LI_PANEL_UNIT 8
#define LI_PANEL_FLIP 0x80
#define LI_GROUPS 4
#define LI_WEIGHT_BYTES (384 * 1024)
#define LI_QUANTIZE ck_quantize_panels_avx512vnni
#define LI_PUTS_PAIRS
#define LI_FUSES
#include "linear_i8.inc.h"

CK_INLINE __m512i rounded(const f32x16 v[4]) {
    __m512i n[4];
    CK_UNROLL for (int i = 0; i < 4; i++) n[i] = _mm512_cvtps_epi32((__m512)v[i]);
    return _mm512_packs_epi16(_mm512_packs_epi32(n[0], n[1]), _mm512_packs_epi32(n[2], n[3]));
}

/// Packs stay in their 128 bits, so that dword 4 l + i is the l-th of v[i]: gathered for both rows at once, eight bytes of
/// one beside eight of the other, they leave as they lie in the panel, and no shuffle is spent on what a store extracts.
CK_INLINE void put_pair(int8_t *to, const f32x16 v0[4], const f32x16 v1[4]) {
    const __m512i low = _mm512_setr_epi32(0, 4, 16, 20, 8, 12, 24, 28, 1, 5, 17, 21, 9, 13, 25, 29);
    const __m512i two = _mm512_set1_epi32(2), flip = _mm512_set1_epi8((char)LI_PANEL_FLIP);
    const __m512i a = rounded(v0), b = rounded(v1);
    const __m512i first = _mm512_xor_si512(_mm512_permutex2var_epi32(a, low, b), flip);
    const __m512i second = _mm512_xor_si512(_mm512_permutex2var_epi32(a, _mm512_add_epi32(low, two), b), flip);
    _mm_storeu_si128((__m128i *)to, _mm512_castsi512_si128(first));
    _mm_storeu_si128((__m128i *)(to + LI_STEP), _mm512_extracti32x4_epi32(first, 1));
    _mm_storeu_si128((__m128i *)(to + 2 * LI_STEP), _mm512_extracti32x4_epi32(first, 2));
    _mm_storeu_si128((__m128i *)(to + 3 * LI_STEP), _mm512_extracti32x4_epi32(first, 3));
    _mm_storeu_si128((__m128i *)(to + 4 * LI_STEP), _mm512_castsi512_si128(second));
    _mm_storeu_si128((__m128i *)(to + 5 * LI_STEP), _mm512_extracti32x4_epi32(second, 1));
    _mm_storeu_si128((__m128i *)(to + 6 * LI_STEP), _mm512_extracti32x4_epi32(second, 2));
    _mm_storeu_si128((__m128i *)(to + 7 * LI_STEP), _mm512_extracti32x4_epi32(second, 3));
}

/// One block of 8 inputs.
CK_INLINE void multiply(const int8_t *x, const int8_t *w, size_t group, const int rows, const int groups,
                        __m512i *acc) {
    __m512i weights[LI_GROUPS];
    CK_UNROLL for (int v = 0; v < groups; v++) weights[v] = _mm512_loadu_si512(w + (size_t)v * group);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        int64_t eight;
        memcpy(&eight, x + 8 * r, 8);
        const __m512i value = _mm512_set1_epi64(eight);
        CK_UNROLL for (int v = 0; v < groups; v++)
            acc[r * groups + v] = _mm512_dpbusd_epi32(acc[r * groups + v], value, weights[v]);
    }
}

CK_INLINE void multiply_all(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int rows,
                            const int groups, __m512i *acc, li_ask *ask) {
    for (int32_t b = blocks / 2; b > 0; b--) {
        if (ask != NULL) ask_line(ask);
        multiply(x, w, group, rows, groups, acc);
        multiply(x + LI_STEP, w + 64, group, rows, groups, acc);
        w += 128;
        x += 2 * LI_STEP;
    }
}

/// Σ (x + 128) · w - 128 Σ w: vpdpbusd multiplies unsigned by signed, so a panel holds x moved by 128 (its sign bit
/// flipped). Sums wrap modulo 2^32, which the correction, where the sums start, undoes.
CK_INLINE void sum_products(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                            li_ask *ask, const int rows, const int groups, __m512i *acc) {
    CK_UNROLL for (int v = 0; v < groups; v++) {
        __m512i start = _mm512_setzero_si512();
        if (weight_sum != NULL) {
            const __m256i moved = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(weight_sum + 8 * v)), 7);
            start = _mm512_cvtepu32_epi64(_mm256_sub_epi32(_mm256_setzero_si256(), moved));
        }
        CK_UNROLL for (int r = 0; r < rows; r++) acc[r * groups + v] = start;
    }
    if (ask != NULL)
        multiply_all(x, w, group, blocks, rows, groups, acc, ask);
    else
        multiply_all(x, w, group, blocks, rows, groups, acc, NULL);
}

/// A vector holds two halves of each sum side by side: those of two vectors, added up.
CK_INLINE __m512i add_halves(__m512i a, __m512i b) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b));
}

CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    __m512i acc[LI_ROWS * LI_GROUPS];
    sum_products(x, w, group, blocks, weight_sum, ask, rows, groups, acc);
    if (groups == 1) {
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const __m256i even = _mm512_cvtepi64_epi32(acc[r]);
            const __m256i odd = _mm512_cvtepi64_epi32(_mm512_srli_epi64(acc[r], 32));
            _mm256_storeu_si256((__m256i *)(sums + r * LI_OUTS), _mm256_add_epi32(even, odd));
        }
        return;
    }
    CK_UNROLL for (int r = 0; r < rows; r++) {
        CK_UNROLL for (int v = 0; v + 1 < groups; v += 2)
            _mm512_storeu_si512(sums + r * LI_OUTS + 8 * v, add_halves(acc[r * groups + v], acc[r * groups + v + 1]));
    }
}

CK_INLINE void whole_tile(const ck_linear_i8_args *a, const int8_t *x, const int8_t *w, size_t group, int32_t blocks,
                          const int32_t *weight_sum, li_ask *ask, int32_t row, int32_t o, const li_finish how) {
    __m512i acc[LI_ROWS * LI_GROUPS];
    sum_products(x, w, group, blocks, weight_sum, ask, LI_ROWS, LI_GROUPS, acc);
    const float *residual = how.residual ? a->residual + (size_t)row * a->stride_residual + o : NULL;
    float *y = a->y + (size_t)row * a->stride_y + o;
    CK_UNROLL for (int v = 0; v < LI_GROUPS; v += 2) {
        const f32x16 scale = load(a->w->scale + o + 8 * v);
        const f32x16 bias = how.bias ? load(a->w->bias + o + 8 * v) : splat(0.0f);
        CK_UNROLL for (int r = 0; r < LI_ROWS; r++) {
            const i32x16 sum = (i32x16)add_halves(acc[r * LI_GROUPS + v], acc[r * LI_GROUPS + v + 1]);
            const float *gate = how.gate ? row_vector(a->gate, row + r) + o + 8 * v : NULL;
            store(y + (size_t)r * a->stride_y + 8 * v,
                  finish_value(sum, a->scale_x[row + r] * scale, bias,
                               how.residual ? residual + (size_t)r * a->stride_residual + 8 * v : NULL, gate, 16, how));
        }
    }
}

LI_LINEAR_OF_SIX(ck_linear_i8_avx512vnni)
CK_TARGET_END
#endif
