#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_DOTPROD)
#define CI_PIXELS(groups) 8
#define CI_GROUPS 2
#define CI_BYTES 8
#define CI_MOVED(zero) 128
#define CI_ARRANGES
#include "convolution_i8.inc.h"

/// sdot wants signed bytes.
CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    vst1_u8(to, veor_u8(vld1_u8(from), vdup_n_u8(0x80)));
}

/// Four inputs of four outputs in a vector, which meets the same four inputs of a pixel: these are one element of what is
/// loaded for it, sixteen inputs at once, and its sums need no addition at the end.
CK_INLINE void arrange(int8_t *to, const int8_t *from) {
    CK_UNROLL for (int block = 0; block < 2; block++) {
        int32x4_t pairs[4];
        CK_UNROLL for (int v = 0; v < 4; v++) pairs[v] = vreinterpretq_s32_s8(vld1q_s8(from + 64 * block + 16 * v));
        CK_UNROLL for (int v = 0; v < 2; v++) {
            vst1q_s8(to + 64 * block + 16 * v, vreinterpretq_s8_s32(vuzp1q_s32(pairs[2 * v], pairs[2 * v + 1])));
            vst1q_s8(to + 64 * block + 32 + 16 * v, vreinterpretq_s8_s32(vuzp2q_s32(pairs[2 * v], pairs[2 * v + 1])));
        }
    }
}

/// Inputs 4 i...4 i + 3 of the sixteen.
#define CI_FOUR_INPUTS(i) \
    CK_UNROLL for (int v = 0; v < 2; v++) { \
        const int8x16_t weights = vld1q_s8(w + 32 * (i) + 16 * v); \
        CK_UNROLL for (int p = 0; p < pixels; p++) \
            acc[2 * p + v] = vdotq_laneq_s32(acc[2 * p + v], weights, values[p], i); \
    }

/// One group of 8 outputs: acc[p][v] holds outputs 4 v...4 v + 3.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pixels, int32_t *sums) {
    int32x4_t acc[2 * 8];
    CK_UNROLL for (int i = 0; i < 2 * pixels; i++) acc[i] = vdupq_n_s32(0);
    // Known as multiples, clang would add a step for every load instead of keeping them.
    size_t pixel[8];
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        pixel[p] = (size_t)p * t->step;
        __asm__("" : "+r"(pixel[p]));
    }
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const int8_t *x = (const int8_t *)t->line[ky];
        for (int32_t b = t->blocks / 2; b > 0; b--) {
            int8x16_t values[8];
            CK_UNROLL for (int p = 0; p < pixels; p++) values[p] = vld1q_s8(x + pixel[p]);
            CI_FOUR_INPUTS(0)
            CI_FOUR_INPUTS(1)
            CI_FOUR_INPUTS(2)
            CI_FOUR_INPUTS(3)
            w += 128;
            x += 16;
        }
    }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        vst1q_s32(sums + p * CI_OUTS, acc[2 * p]);
        vst1q_s32(sums + p * CI_OUTS + 4, acc[2 * p + 1]);
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
        case 6: tile(t, w, 6, sums + 8 * g); break;
        case 7: tile(t, w, 7, sums + 8 * g); break;
        default: tile(t, w, 8, sums + 8 * g); break;
        }
    }
}

void ck_convolution_i8_dotprod(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
CK_TARGET_END
#endif
