#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX2)
#define LI_ROWS 4
#define LI_PANEL_UNIT 8
#define LI_PANEL_FLIP 0
#define LI_GROUPS 1
#define LI_WEIGHT_BYTES (256 * 1024)
#define LI_QUANTIZE ck_quantize_panels_avx2
#include "linear_i8.inc.h"

/// One block of 8 inputs. vpmaddubsw multiplies unsigned by signed and saturates at 16 bits, so it is given |w| and x
/// with w's sign: a pair is at most 2 * 128 * 127, which fits. Exact for w = -128 too.
CK_INLINE void multiply(const int8_t *x, const int8_t *w, const int rows, __m256i *acc) {
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i w0 = _mm256_loadu_si256((const __m256i *)w), w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
    const __m256i a0 = _mm256_abs_epi8(w0), a1 = _mm256_abs_epi8(w1);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        int64_t eight;
        memcpy(&eight, x + 8 * r, 8);
        const __m256i value = _mm256_set1_epi64x(eight);
        const __m256i p0 = _mm256_maddubs_epi16(a0, _mm256_sign_epi8(value, w0));
        const __m256i p1 = _mm256_maddubs_epi16(a1, _mm256_sign_epi8(value, w1));
        acc[2 * r] = _mm256_add_epi32(acc[2 * r], _mm256_madd_epi16(one, p0));
        acc[2 * r + 1] = _mm256_add_epi32(acc[2 * r + 1], _mm256_madd_epi16(one, p1));
    }
}

LI_MULTIPLY_ALL(__m256i)

/// One group of 8 outputs.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    (void)group, (void)groups, (void)weight_sum;
    __m256i acc[2 * LI_ROWS];
    CK_UNROLL for (int i = 0; i < 2 * rows; i++) acc[i] = _mm256_setzero_si256();
    multiply_all(x, w, blocks, rows, acc, ask);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        const __m256i mixed = _mm256_hadd_epi32(acc[2 * r], acc[2 * r + 1]);
        _mm256_storeu_si256((__m256i *)(sums + r * LI_OUTS), _mm256_permute4x64_epi64(mixed, 0xd8));
    }
}

LI_TILE(1)
LI_TILE(2)
LI_TILE(3)
LI_TILE(4)

void ck_linear_i8_avx2(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin,
                       int32_t out_end) {
    static li_tile *const tiles[] = {tile_1, tile_2, tile_3, tile_4};
    linear_rows(a, row_begin, row_end, out_begin, out_end, tiles);
}
CK_TARGET_END
#endif
