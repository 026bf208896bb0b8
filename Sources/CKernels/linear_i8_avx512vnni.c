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

/// The larger magnitude; the other where one is NaN.
CK_INLINE __m512 larger_magnitude(__m512 a, __m512 b) { return _mm512_range_ps(a, b, 0xb); }

/// Largest magnitudes of eight vectors, in their order.
CK_INLINE __m256 largest_of_eight(const __m512 v[8]) {
    __m512 a[4], b[2];
    CK_UNROLL for (int i = 0; i < 4; i++)
        a[i] = _mm512_max_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                             _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xee));
    CK_UNROLL for (int i = 0; i < 2; i++)
        b[i] = _mm512_max_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xdd));
    const __m512 c = _mm512_max_ps(_mm512_unpacklo_ps(b[0], b[1]), _mm512_unpackhi_ps(b[0], b[1]));
    const __m512 d = _mm512_max_ps(c, _mm512_shuffle_ps(c, c, 0x4e));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, d));
}

/// What is not finite vanishes from the maxima. It is found in a sum of products of all values, which never comes back from
/// infinity or NaN; that sum starts at 1, since subnormal results are slow. Should it overflow, nothing is lost but time.
CK_INLINE int scale_rows(const li_row *rows, int32_t count, int32_t in, float *factor, float *scale, const int normalize) {
    __m512 largest[8];
    f32x16 finite[2] = {splat(1.0f), splat(1.0f)};
    CK_UNROLL for (int r = 0; r < 8; r++) largest[r] = _mm512_setzero_ps();
    int32_t i = 0;
    for (; i + 64 <= in; i += 64) {
        CK_UNROLL for (int r = 0; r < LI_ROWS; r++) {
            if (r >= count) continue;
            CK_UNROLL for (int j = 0; j < 2; j++) {
                const f32x16 a = row_values(&rows[r], i + 32 * j, 16, normalize);
                const f32x16 b = row_values(&rows[r], i + 32 * j + 16, 16, normalize);
                largest[r] = larger_magnitude((__m512)b, larger_magnitude((__m512)a, largest[r]));
                finite[j] = fused(a, b, finite[j]);
            }
        }
    }
    for (; i < in; i += 16) {
        CK_UNROLL for (int r = 0; r < LI_ROWS; r++) {
            if (r >= count) continue;
            const f32x16 a = row_values(&rows[r], i, in - i < 16 ? in - i : 16, normalize);
            largest[r] = larger_magnitude((__m512)a, largest[r]);
            finite[0] = fused(a, a, finite[0]);
        }
    }
    enum { NOT_FINITE = 0x99 };  // signalling and quiet NaNs, either infinity
    if (_mm512_fpclass_ps_mask((__m512)(finite[0] + finite[1]), NOT_FINITE) != 0) return 0;
    const __m256 row = largest_of_eight(largest), steps = _mm256_set1_ps(127.0f);
    const __mmask8 some = _mm256_cmp_ps_mask(row, _mm256_set1_ps(CK_ROW_ZERO), _CMP_NLT_UQ);
    const __mmask8 mine = (__mmask8)((1 << count) - 1);
    _mm256_storeu_ps(factor, _mm256_maskz_div_ps(some, steps, row));
    _mm256_mask_storeu_ps(scale, mine, _mm256_maskz_div_ps(some, row, steps));
    return 1;
}

/// Values of 32 inputs of two rows meet in one vector, a byte of each in every dword: rotated in from the top, the first
/// ends lowest. One permutation then lays eight bytes of one row beside eight of the other, as they lie in the panel, and
/// no shuffle is spent on what a store extracts.
CK_INLINE void put_pair(int8_t *to, const f32x16 v[2][4], const float factor[2]) {
    _Alignas(64) static const uint8_t places[64] = {
        0, 4, 8,  12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30, 32, 36, 40, 44, 48, 52, 56, 60, 34, 38, 42, 46, 50, 54, 58, 62,
        1, 5, 9,  13, 17, 21, 25, 29, 3, 7, 11, 15, 19, 23, 27, 31, 33, 37, 41, 45, 49, 53, 57, 61, 35, 39, 43, 47, 51, 55, 59, 63};
    const __m512i place = _mm512_load_si512(places);
    CK_UNROLL for (int half = 0; half < 2; half++) {
        __m512i bytes = _mm512_setzero_si512();
        CK_UNROLL for (int i = 0; i < 4; i++) {
            const f32x16 x = fused(v[i / 2][2 * half + i % 2], splat(factor[i / 2]), splat(LI_MAGIC));
            bytes = i == 0 ? _mm512_ror_epi32((__m512i)x, 8) : _mm512_shrdi_epi32(bytes, (__m512i)x, 8);
        }
        bytes = _mm512_permutexvar_epi8(place, bytes);
        int8_t *at = to + 4 * half * LI_STEP;
        _mm_storeu_si128((__m128i *)at, _mm512_castsi512_si128(bytes));
        _mm_storeu_si128((__m128i *)(at + LI_STEP), _mm512_extracti32x4_epi32(bytes, 1));
        _mm_storeu_si128((__m128i *)(at + 2 * LI_STEP), _mm512_extracti32x4_epi32(bytes, 2));
        _mm_storeu_si128((__m128i *)(at + 3 * LI_STEP), _mm512_extracti32x4_epi32(bytes, 3));
    }
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
