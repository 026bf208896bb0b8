#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX2)
#define AI_NAME(f) f##_avx2
#define AI_ROWS 4
#define AI_COLUMNS 8
#define AI_STEP 4
#define AI_UNSIGNED 0
#include "attention_i8.inc.h"

enum { ROWS = 2, VECTORS = 4 };

/// vpmaddubsw multiplies unsigned by signed and saturates at 16 bits: given |left| (up to 128) and right (up to 127) with
/// left's sign, a pair is at most 2 * 128 * 127, which fits.
CK_INLINE void tile(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, const int vectors,
                    const int32_t *start, int32_t *sums, size_t stride_sums) {
    const size_t group = (size_t)steps * 32;
    const __m256i one = _mm256_set1_epi16(1);
    __m256i acc[ROWS * VECTORS];
    CK_UNROLL for (int v = 0; v < vectors; v++) {
        const __m256i first =
            start != NULL ? _mm256_loadu_si256((const __m256i *)(start + 8 * v)) : _mm256_setzero_si256();
        CK_UNROLL for (int r = 0; r < ROWS; r++) acc[r * vectors + v] = first;
    }
    for (int32_t s = 0; s < steps; s++) {
        __m256i value[ROWS], magnitude[ROWS];
        CK_UNROLL for (int r = 0; r < ROWS; r++) {
            int32_t four;
            memcpy(&four, left + (size_t)r * stride, 4);
            value[r] = _mm256_set1_epi32(four);
            magnitude[r] = _mm256_abs_epi8(value[r]);
        }
        CK_UNROLL for (int v = 0; v < vectors; v++) {
            const __m256i column = _mm256_loadu_si256((const __m256i *)(right + (size_t)v * group));
            CK_UNROLL for (int r = 0; r < ROWS; r++) {
                const __m256i pairs = _mm256_maddubs_epi16(magnitude[r], _mm256_sign_epi8(column, value[r]));
                acc[r * vectors + v] = _mm256_add_epi32(acc[r * vectors + v], _mm256_madd_epi16(one, pairs));
            }
        }
        left += 4;
        right += 32;
    }
    CK_UNROLL for (int r = 0; r < ROWS; r++) {
        CK_UNROLL for (int v = 0; v < vectors; v++)
            _mm256_storeu_si256((__m256i *)(sums + (size_t)r * stride_sums + 8 * v), acc[r * vectors + v]);
    }
}

static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    for (int32_t c = 0; c < columns; c += 8 * VECTORS) {
        const int8_t *from = right + (size_t)c * (size_t)steps * 4;
        const int32_t *first = start != NULL ? start + c : NULL;
        for (int r = 0; r < AI_ROWS; r += ROWS) {
            const uint8_t *rows = left + (size_t)r * stride;
            int32_t *to = sums + (size_t)r * stride_sums + c;
            if (columns - c == 16)
                tile(rows, stride, from, steps, 2, first, to, stride_sums);
            else
                tile(rows, stride, from, steps, VECTORS, first, to, stride_sums);
        }
    }
}
CK_TARGET_END
#endif
