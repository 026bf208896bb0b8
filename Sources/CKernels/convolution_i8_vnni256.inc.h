// 256-bit VNNI. Include inside CK_TARGET_BEGIN after defining CI_DOT (the compiler's name for vpdpbusd of the instruction
// set) and CI_CONVOLUTION (the function's name). 16 registers suffice: AVX-VNNI has no more.
#include <immintrin.h>

#define CI_PIXELS(groups) 6
#define CI_GROUPS 2
#define CI_BYTES 8
#define CI_MOVED(zero) 0
#include "convolution_i8.inc.h"

CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    memcpy(to, from, 8);
}

/// One group of 8 outputs: each lane pair of an accumulator is one output.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pixels, int32_t *sums) {
    __m256i acc[12];
    CK_UNROLL for (int i = 0; i < 2 * pixels; i++) acc[i] = _mm256_setzero_si256();
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const uint8_t *x = t->line[ky];
        for (int32_t b = 0; b < t->blocks; b++) {
            const __m256i w0 = _mm256_loadu_si256((const __m256i *)w);
            const __m256i w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
            CK_UNROLL for (int p = 0; p < pixels; p++) {
                int64_t eight;
                memcpy(&eight, x + (size_t)p * t->step, 8);
                const __m256i value = _mm256_set1_epi64x(eight);
                acc[2 * p] = CI_DOT(acc[2 * p], value, w0);
                acc[2 * p + 1] = CI_DOT(acc[2 * p + 1], value, w1);
            }
            w += 64;
            x += 8;
        }
    }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        const __m256i mixed = _mm256_hadd_epi32(acc[2 * p], acc[2 * p + 1]);
        _mm256_storeu_si256((__m256i *)(sums + p * CI_OUTS), _mm256_permute4x64_epi64(mixed, 0xd8));
    }
}

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums) {
    for (int32_t g = 0; g < groups; g++) {
        const int8_t *w = t->weight + (size_t)g * t->group;
        switch (pixels) {
        case 1: tile(t, w, 1, sums + 8 * g); break;
        case 2: tile(t, w, 2, sums + 8 * g); break;
        case 3: tile(t, w, 3, sums + 8 * g); break;
        case 4: tile(t, w, 4, sums + 8 * g); break;
        case 5: tile(t, w, 5, sums + 8 * g); break;
        default: tile(t, w, 6, sums + 8 * g); break;
        }
    }
}

void CI_CONVOLUTION(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
