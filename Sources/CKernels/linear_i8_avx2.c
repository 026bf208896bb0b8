#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX2)
#include "linear_i8.inc.h"

enum { ROWS = 4, OUTS = 16 };

/// sums[r][0..<8] of one group of 8 outputs. vpmaddubsw multiplies unsigned by signed and saturates at 16 bits, so it
/// is given |w| and x with w's sign: a pair is at most 2 * 128 * 127, which fits. Exact for w = -128 too.
CK_INLINE void tile(const int8_t *x, size_t row, const int8_t *w, int32_t blocks, const int rows, int32_t *sums) {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i acc[2 * ROWS];
    CK_UNROLL for (int i = 0; i < 2 * rows; i++) acc[i] = _mm256_setzero_si256();
    for (int32_t b = 0; b < blocks; b++) {
        const __m256i w0 = _mm256_loadu_si256((const __m256i *)w), w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
        const __m256i a0 = _mm256_abs_epi8(w0), a1 = _mm256_abs_epi8(w1);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            int64_t eight;
            memcpy(&eight, x + (size_t)r * row, 8);
            const __m256i value = _mm256_set1_epi64x(eight);
            const __m256i p0 = _mm256_maddubs_epi16(a0, _mm256_sign_epi8(value, w0));
            const __m256i p1 = _mm256_maddubs_epi16(a1, _mm256_sign_epi8(value, w1));
            acc[2 * r] = _mm256_add_epi32(acc[2 * r], _mm256_madd_epi16(one, p0));
            acc[2 * r + 1] = _mm256_add_epi32(acc[2 * r + 1], _mm256_madd_epi16(one, p1));
        }
        w += 64;
        x += 8;
    }
    CK_UNROLL for (int r = 0; r < rows; r++) {
        const __m256i mixed = _mm256_hadd_epi32(acc[2 * r], acc[2 * r + 1]);
        _mm256_storeu_si256((__m256i *)(sums + r * OUTS), _mm256_permute4x64_epi64(mixed, 0xd8));
    }
}

static void tiles(const int8_t *x, size_t row, const int8_t *w, int32_t blocks, int32_t rows, int32_t *sums) {
    switch (rows) {
    case 1: tile(x, row, w, blocks, 1, sums); break;
    case 2: tile(x, row, w, blocks, 2, sums); break;
    case 3: tile(x, row, w, blocks, 3, sums); break;
    default: tile(x, row, w, blocks, ROWS, sums); break;
    }
}

void ck_linear_i8_avx2(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w, int32_t out_begin,
                       int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    const int32_t blocks = (w->in + 15) / 16 * 2;
    const size_t in_padded = (size_t)blocks * 8, group = (size_t)blocks * 64;
    for (int32_t o = out_begin; o < out_end; o += OUTS) {
        const int32_t end = out_end - o < OUTS ? out_end : o + OUTS;
        for (int32_t r = 0; r < rows; r += ROWS) {
            const int32_t tall = rows - r < ROWS ? rows - r : ROWS;
            const int8_t *x = q + (size_t)r * in_padded, *weights = w->weight + (size_t)(o / 8) * group;
            _Alignas(64) int32_t sums[ROWS * OUTS] = {0};
            tiles(x, in_padded, weights, blocks, tall, sums);
            if (end - o > 8) tiles(x, in_padded, weights + group, blocks, tall, sums + 8);
            finish(sums, OUTS, tall, scale_x + r, w, o, end, activation, y + (size_t)r * stride_y, stride_y);
        }
    }
}
CK_TARGET_END
#endif
