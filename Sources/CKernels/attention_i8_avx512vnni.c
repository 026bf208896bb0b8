#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX512)
#define AI_NAME(f) f##_avx512vnni
#define AI_ROWS 6
#define AI_COLUMNS 16
#define AI_STEP 4
#define AI_UNSIGNED 1
#include "attention_i8.inc.h"

enum { VECTORS = 4 };

CK_INLINE void tile(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, const int vectors,
                    const int32_t *start, int32_t *sums, size_t stride_sums) {
    const size_t group = (size_t)steps * 64;
    __m512i acc[AI_ROWS * VECTORS];
    CK_UNROLL for (int v = 0; v < vectors; v++) {
        const __m512i first = start != NULL ? _mm512_loadu_si512(start + 16 * v) : _mm512_setzero_si512();
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) acc[r * vectors + v] = first;
    }
    for (int32_t s = 0; s < steps; s++) {
        __m512i columns[VECTORS];
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
CK_TARGET_END
#endif
