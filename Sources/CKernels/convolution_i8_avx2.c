#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX2)
#define CI_PIXELS(groups) 3
#define CI_GROUPS 2
#define CI_BYTES 16
#define CI_MOVED(zero) (zero)
#include "convolution_i8.inc.h"

/// Bytes of 8 bits times int8 overflow the 16 bits of vpmaddubsw: the window holds words, the zero already taken off.
CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    const __m128i words = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)from));
    _mm_storeu_si128((__m128i *)to, _mm_sub_epi16(words, _mm_set1_epi16((short)zero)));
}

/// One group of 8 outputs: acc[p][v] holds outputs 2v and 2v + 1, four partial sums each.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pixels, int32_t *sums) {
    __m256i acc[12];
    CK_UNROLL for (int i = 0; i < 4 * pixels; i++) acc[i] = _mm256_setzero_si256();
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const uint8_t *x = t->line[ky];
        for (int32_t b = 0; b < t->blocks; b++) {
            __m256i value[3];
            CK_UNROLL for (int p = 0; p < pixels; p++)
                value[p] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x + (size_t)p * t->step)));
            CK_UNROLL for (int v = 0; v < 4; v++) {
                const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + 16 * v)));
                CK_UNROLL for (int p = 0; p < pixels; p++)
                    acc[4 * p + v] = _mm256_add_epi32(acc[4 * p + v], _mm256_madd_epi16(weights, value[p]));
            }
            w += 64;
            x += 16;
        }
    }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        // Even outputs are in the low halves, odd ones in the high halves.
        const __m256i mixed = _mm256_hadd_epi32(_mm256_hadd_epi32(acc[4 * p], acc[4 * p + 1]),
                                                _mm256_hadd_epi32(acc[4 * p + 2], acc[4 * p + 3]));
        const __m128i even = _mm256_castsi256_si128(mixed), odd = _mm256_extracti128_si256(mixed, 1);
        _mm_storeu_si128((__m128i *)(sums + p * CI_OUTS), _mm_unpacklo_epi32(even, odd));
        _mm_storeu_si128((__m128i *)(sums + p * CI_OUTS + 4), _mm_unpackhi_epi32(even, odd));
    }
}

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums) {
    for (int32_t g = 0; g < groups; g++) {
        const int8_t *w = t->weight + (size_t)g * t->group;
        switch (pixels) {
        case 1: tile(t, w, 1, sums + 8 * g); break;
        case 2: tile(t, w, 2, sums + 8 * g); break;
        default: tile(t, w, 3, sums + 8 * g); break;
        }
    }
}

void ck_convolution_i8_avx2(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
CK_TARGET_END
#endif
