#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX512)
#define CI_PIXELS(groups) ((groups) == 4 ? 6 : 12)
#define CI_GROUPS 4
#define CI_BYTES 8
#define CI_MOVED(zero) 0
#include "convolution_i8.inc.h"

CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    memcpy(to, from, 8);
}

/// Activations are unsigned as vpdpbusd wants them: nothing is moved. Each lane pair of an accumulator is one output.
CK_INLINE void tile(const ci_tile *t, const int pixels, const int groups, int32_t *sums) {
    __m512i acc[24];
    CK_UNROLL for (int i = 0; i < pixels * groups; i++) acc[i] = _mm512_setzero_si512();
    const int8_t *w = t->weight;
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const uint8_t *x = t->line[ky];
        for (int32_t b = 0; b < t->blocks; b++) {
            __m512i weights[4];
            CK_UNROLL for (int v = 0; v < groups; v++) weights[v] = _mm512_loadu_si512(w + (size_t)v * t->group);
            CK_UNROLL for (int p = 0; p < pixels; p++) {
                int64_t eight;
                memcpy(&eight, x + (size_t)p * t->step, 8);
                const __m512i value = _mm512_set1_epi64(eight);
                CK_UNROLL for (int v = 0; v < groups; v++)
                    acc[p * groups + v] = _mm512_dpbusd_epi32(acc[p * groups + v], value, weights[v]);
            }
            w += 64;
            x += 8;
        }
    }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        CK_UNROLL for (int v = 0; v < groups; v += 2) {
            const __m512i a = acc[p * groups + v], b = acc[p * groups + v + 1];
            _mm512_storeu_si512(sums + p * CI_OUTS + 8 * v,
                                _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                                                 _mm512_permutex2var_epi32(a, odd, b)));
        }
    }
}

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums) {
    if (groups == 4) {
        switch (pixels) {
        case 1: tile(t, 1, 4, sums); break;
        case 2: tile(t, 2, 4, sums); break;
        case 3: tile(t, 3, 4, sums); break;
        case 4: tile(t, 4, 4, sums); break;
        case 5: tile(t, 5, 4, sums); break;
        default: tile(t, 6, 4, sums); break;
        }
        return;
    }
    switch (pixels) {
    case 1: tile(t, 1, 2, sums); break;
    case 2: tile(t, 2, 2, sums); break;
    case 3: tile(t, 3, 2, sums); break;
    case 4: tile(t, 4, 2, sums); break;
    case 5: tile(t, 5, 2, sums); break;
    case 6: tile(t, 6, 2, sums); break;
    case 7: tile(t, 7, 2, sums); break;
    case 8: tile(t, 8, 2, sums); break;
    case 9: tile(t, 9, 2, sums); break;
    case 10: tile(t, 10, 2, sums); break;
    case 11: tile(t, 11, 2, sums); break;
    default: tile(t, 12, 2, sums); break;
    }
}

void ck_convolution_i8_avx512vnni(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
CK_TARGET_END
#endif
