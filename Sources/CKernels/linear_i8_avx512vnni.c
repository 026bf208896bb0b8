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
#include "linear_i8.inc.h"

/// Σ (x + 128) · w - 128 Σ w: vpdpbusd multiplies unsigned by signed, so a panel holds x moved by 128 (its sign bit
/// flipped). Sums wrap modulo 2^32, which the correction, where the sums start, undoes.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    const int rows, const int groups, int32_t *sums) {
    __m512i acc[LI_ROWS * LI_GROUPS];
    CK_UNROLL for (int v = 0; v < groups; v++) {
        __m512i start = _mm512_setzero_si512();
        if (weight_sum != NULL) {
            const __m256i moved = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(weight_sum + 8 * v)), 7);
            start = _mm512_cvtepu32_epi64(_mm256_sub_epi32(_mm256_setzero_si256(), moved));
        }
        CK_UNROLL for (int r = 0; r < rows; r++) acc[r * groups + v] = start;
    }
    for (int32_t b = 0; b < blocks; b++) {
        __m512i weights[LI_GROUPS];
        CK_UNROLL for (int v = 0; v < groups; v++) weights[v] = _mm512_loadu_si512(w + (size_t)v * group);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            int64_t eight;
            memcpy(&eight, x + 8 * r, 8);
            const __m512i value = _mm512_set1_epi64(eight);
            CK_UNROLL for (int v = 0; v < groups; v++)
                acc[r * groups + v] = _mm512_dpbusd_epi32(acc[r * groups + v], value, weights[v]);
        }
        w += 64;
        x += LI_STEP;
    }
    // A vector holds two halves of each sum side by side.
    if (groups == 1) {
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const __m256i even = _mm512_cvtepi64_epi32(acc[r]);
            const __m256i odd = _mm512_cvtepi64_epi32(_mm512_srli_epi64(acc[r], 32));
            _mm256_storeu_si256((__m256i *)(sums + r * LI_OUTS), _mm256_add_epi32(even, odd));
        }
        return;
    }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        CK_UNROLL for (int v = 0; v + 1 < groups; v += 2) {
            const __m512i a = acc[r * groups + v], b = acc[r * groups + v + 1];
            _mm512_storeu_si512(sums + r * LI_OUTS + 8 * v, _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                                                                             _mm512_permutex2var_epi32(a, odd, b)));
        }
    }
}

LI_LINEAR_OF_SIX(ck_linear_i8_avx512vnni)
CK_TARGET_END
#endif
