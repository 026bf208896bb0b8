// 256-bit VNNI. Include inside CK_TARGET_BEGIN after defining VNNI256_DOT (the compiler's name for vpdpbusd of the
// instruction set) and AI_NAME. 16 registers suffice: AVX-VNNI has no more.
#include <immintrin.h>

#define AI_ROWS 6
#define AI_COLUMNS 8
#define AI_STEP 4
#define AI_UNSIGNED 1
#include "attention_i8.inc.h"

static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    const size_t group = (size_t)steps * 32;
    for (int32_t c = 0; c < columns; c += 16) {
        const int8_t *from = right + (size_t)(c / 8) * group;
        const uint8_t *rows = left;
        __m256i acc[2 * AI_ROWS];
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const __m256i first =
                start != NULL ? _mm256_loadu_si256((const __m256i *)(start + c + 8 * v)) : _mm256_setzero_si256();
            CK_UNROLL for (int r = 0; r < AI_ROWS; r++) acc[2 * r + v] = first;
        }
        for (int32_t s = 0; s < steps; s++) {
            const __m256i c0 = _mm256_loadu_si256((const __m256i *)from);
            const __m256i c1 = _mm256_loadu_si256((const __m256i *)(from + group));
            CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
                int32_t four;
                memcpy(&four, rows + (size_t)r * stride, 4);
                const __m256i value = _mm256_set1_epi32(four);
                acc[2 * r] = VNNI256_DOT(acc[2 * r], value, c0);
                acc[2 * r + 1] = VNNI256_DOT(acc[2 * r + 1], value, c1);
            }
            rows += 4;
            from += 32;
        }
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
            CK_UNROLL for (int v = 0; v < 2; v++)
                _mm256_storeu_si256((__m256i *)(sums + (size_t)r * stride_sums + c + 8 * v), acc[2 * r + v]);
        }
    }
}
