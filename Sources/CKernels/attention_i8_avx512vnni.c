#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX512)
#define AI_NAME(f) f##_avx512vnni
#define AI_ROWS 6
#define AI_COLUMNS 16
#define AI_STEP 4
#define AI_UNSIGNED 1
#define AI_FUSES_64
#include "attention_i8.inc.h"

/// Four vectors packed at once instead of a vpmovdb for each, and added up by one product with ones.
CK_INLINE u32x16 round_64(uint8_t *weights, const f32x16 x[4]) {
    __m512i n[4];
    CK_UNROLL for (int i = 0; i < 4; i++) n[i] = _mm512_cvtps_epi32((__m512)x[i]);
    const __m512i mixed = _mm512_packus_epi16(_mm512_packus_epi32(n[0], n[1]), _mm512_packus_epi32(n[2], n[3]));
    // Packs stay in their 128 bits.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(weights, _mm512_permutexvar_epi32(order, mixed));
    return (u32x16)_mm512_dpbusd_epi32(_mm512_setzero_si512(), mixed, _mm512_set1_epi8(1));
}

enum { VECTORS = 4 };

CK_INLINE void multiply(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, const int vectors,
                        const int8_t *ask, const int asks, __m512i *acc) {
    const size_t group = (size_t)steps * 64;
    for (int32_t s = 0; s < steps; s++) {
        __m512i columns[VECTORS];
        if (asks) {
            __builtin_prefetch(ask, 0, 2);
            ask += 64;
        }
        CK_UNROLL for (int v = 0; v < vectors; v++) columns[v] = _mm512_loadu_si512(right + (size_t)v * group);
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
            int32_t four;
            memcpy(&four, left + (size_t)r * stride, 4);
            const __m512i value = _mm512_set1_epi32(four);
            CK_UNROLL for (int v = 0; v < vectors; v++)
                acc[r * vectors + v] = _mm512_dpbusd_epi32(acc[r * vectors + v], value, columns[v]);
        }
        left += 4;
        right += 64;
    }
}

CK_INLINE void start_sums(const int32_t *start, const int vectors, __m512i *acc) {
    CK_UNROLL for (int v = 0; v < vectors; v++) {
        const __m512i first = start != NULL ? _mm512_loadu_si512(start + 16 * v) : _mm512_setzero_si512();
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) acc[r * vectors + v] = first;
    }
}

CK_INLINE void tile(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, const int vectors,
                    const int32_t *start, int32_t *sums, size_t stride_sums) {
    __m512i acc[AI_ROWS * VECTORS];
    start_sums(start, vectors, acc);
    multiply(left, stride, right, steps, vectors, NULL, 0, acc);
    CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
        CK_UNROLL for (int v = 0; v < vectors; v++)
            _mm512_storeu_si512(sums + (size_t)r * stride_sums + 16 * v, acc[r * vectors + v]);
    }
}

static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    for (int32_t c = 0; c < columns; c += 16 * VECTORS) {
        const int8_t *from = right + (size_t)c * (size_t)steps * 4;
        const int32_t *first = start != NULL ? start + c : NULL;
        switch (columns - c) {
        case 16: tile(left, stride, from, steps, 1, first, sums + c, stride_sums); break;
        case 32: tile(left, stride, from, steps, 2, first, sums + c, stride_sums); break;
        case 48: tile(left, stride, from, steps, 3, first, sums + c, stride_sums); break;
        default: tile(left, stride, from, steps, VECTORS, first, sums + c, stride_sums); break;
        }
    }
}

CK_INLINE void score_tile(const uint8_t *q, int32_t dim, const ck_prepared *p, int32_t begin, const int biased,
                          const float *scale, int32_t *scores, f32x16 *maxima, const int8_t *ask, const int asks) {
    __m512i acc[AI_ROWS * VECTORS];
    f32x16 key_scale[VECTORS];
    start_sums(p->key_start + begin, VECTORS, acc);
    multiply(q, (size_t)dim, p->k + (size_t)begin * (size_t)dim, dim / AI_STEP, VECTORS, ask, asks, acc);
    CK_UNROLL for (int v = 0; v < VECTORS; v++) key_scale[v] = load(p->key_scale + begin + 16 * v);
    CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
        f32x16 highest = splat(CK_ATTENTION_LOWEST);
        CK_UNROLL for (int v = 0; v < VECTORS; v++) {
            const f32x16 exact = (f32x16)_mm512_cvtepi32_ps(acc[r * VECTORS + v]);
            const f32x16 x = score_of(exact, key_scale[v], scale[r], p->key_bias + begin + 16 * v, biased);
            memcpy(scores + r * CK_ATTENTION_I8_BLOCK + 16 * v, &x, sizeof x);
            highest = larger(x, highest);
        }
        maxima[r] = highest;
    }
}

static void score_64(const uint8_t *q, int32_t dim, const ck_prepared *p, int32_t begin, int biased, const float *scale,
                     int32_t *scores, f32x16 *maxima, const int8_t *ask) {
    if (biased)
        score_tile(q, dim, p, begin, 1, scale, scores, maxima, NULL, 0);
    else if (ask != NULL)
        score_tile(q, dim, p, begin, 0, scale, scores, maxima, ask, 1);
    else
        score_tile(q, dim, p, begin, 0, scale, scores, maxima, NULL, 0);
}

CK_INLINE void value_tile(const uint8_t *weights, int32_t dim, const int8_t *values, const float *value_scale,
                          const float *befores, const float *nows, const int rescales, const int vectors, float *sum,
                          const int8_t *ask, const int asks) {
    __m512i acc[AI_ROWS * VECTORS];
    start_sums(NULL, vectors, acc);
    multiply(weights, CK_ATTENTION_I8_BLOCK, values, CK_ATTENTION_I8_BLOCK / AI_STEP, vectors, ask, asks, acc);
    CK_UNROLL for (int v = 0; v < vectors; v++) {
        const f32x16 scale = load(value_scale + 16 * v);
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++)
            add_value(sum + r * dim + 16 * v, (f32x16)_mm512_cvtepi32_ps(acc[r * vectors + v]), scale, befores[r], nows[r],
                      rescales);
    }
}

static void add_64(const uint8_t *weights, int32_t dim, const int8_t *values, const float *value_scale,
                   const float *befores, const float *nows, int rescales, float *sum, const int8_t *ask) {
    for (int32_t d = 0; d < dim; d += 16 * VECTORS) {
        const int8_t *from = values + d * CK_ATTENTION_I8_BLOCK;
        const float *scale = value_scale + d;
        switch (dim - d) {
        case 16: value_tile(weights, dim, from, scale, befores, nows, 1, 1, sum + d, NULL, 0); break;
        case 32: value_tile(weights, dim, from, scale, befores, nows, 1, 2, sum + d, NULL, 0); break;
        case 48: value_tile(weights, dim, from, scale, befores, nows, 1, 3, sum + d, NULL, 0); break;
        default:
            if (rescales)
                value_tile(weights, dim, from, scale, befores, nows, 1, VECTORS, sum + d, NULL, 0);
            else if (ask != NULL)
                value_tile(weights, dim, from, scale, befores, nows, 0, VECTORS, sum + d,
                           ask + d * (CK_ATTENTION_I8_BLOCK / AI_STEP), 1);
            else
                value_tile(weights, dim, from, scale, befores, nows, 0, VECTORS, sum + d, NULL, 0);
        }
    }
}
CK_TARGET_END
#endif
