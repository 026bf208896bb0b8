// 256-bit VNNI. Include inside CK_TARGET_BEGIN after defining VNNI256_DOT (the compiler's name for vpdpbusd of the
// instruction set), LI_QUANTIZE and VNNI256_LINEAR (names of functions). 16 registers suffice: AVX-VNNI has no more.
#define LI_ROWS 6
#define LI_PANEL_UNIT 8
#define LI_PANEL_FLIP 0x80
#define LI_GROUPS 1
#define LI_WEIGHT_BYTES (384 * 1024)
#include "linear_i8.inc.h"

/// One block of 8 inputs, as in linear_i8_avx512vnni.c.
CK_INLINE void multiply(const int8_t *x, const int8_t *w, const int rows, __m256i *acc) {
    const __m256i w0 = _mm256_loadu_si256((const __m256i *)w), w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
    CK_UNROLL for (int r = 0; r < rows; r++) {
        int64_t eight;
        memcpy(&eight, x + 8 * r, 8);
        const __m256i value = _mm256_set1_epi64x(eight);
        acc[2 * r] = VNNI256_DOT(acc[2 * r], value, w0);
        acc[2 * r + 1] = VNNI256_DOT(acc[2 * r + 1], value, w1);
    }
}

LI_MULTIPLY_ALL(__m256i)

/// One group of 8 outputs.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    (void)group, (void)groups;
    __m256i acc[2 * LI_ROWS];
    CK_UNROLL for (int i = 0; i < 2 * rows; i++) acc[i] = _mm256_setzero_si256();
    multiply_all(x, w, blocks, rows, acc, ask);
    __m256i moved = _mm256_setzero_si256();
    if (weight_sum != NULL) moved = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)weight_sum), 7);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        const __m256i mixed = _mm256_hadd_epi32(acc[2 * r], acc[2 * r + 1]);
        _mm256_storeu_si256((__m256i *)(sums + r * LI_OUTS),
                            _mm256_sub_epi32(_mm256_permute4x64_epi64(mixed, 0xd8), moved));
    }
}

LI_LINEAR_OF_SIX(VNNI256_LINEAR)
