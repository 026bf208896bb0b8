#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_DOTPROD)
#define CI_PIXELS(groups) 6
#define CI_GROUPS 2
#define CI_BYTES 16
#define CI_MOVED(zero) 128
#include "convolution_i8.inc.h"

/// sdot wants signed bytes; they stand twice, as in the linear's panels: a duplicating load would take a vector slot.
CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    const uint8x8_t eight = veor_u8(vld1_u8(from), vdup_n_u8(0x80));
    vst1q_u8(to, vcombine_u8(eight, eight));
}

/// One group of 8 outputs: acc[p][v] holds outputs 2v and 2v + 1, two partial sums each.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pixels, int32_t *sums) {
    int32x4_t acc[24];
    CK_UNROLL for (int i = 0; i < 4 * pixels; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const int8_t *x = (const int8_t *)t->line[ky];
        for (int32_t b = 0; b < t->blocks; b++) {
            int8x16_t weights[4];
            CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
            CK_UNROLL for (int p = 0; p < pixels; p++) {
                const int8x16_t value = vld1q_s8(x + (size_t)p * t->step);
                CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * p + v] = vdotq_s32(acc[4 * p + v], weights[v], value);
            }
            w += 64;
            x += 16;
        }
    }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        vst1q_s32(sums + p * CI_OUTS, vpaddq_s32(acc[4 * p], acc[4 * p + 1]));
        vst1q_s32(sums + p * CI_OUTS + 4, vpaddq_s32(acc[4 * p + 2], acc[4 * p + 3]));
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

void ck_convolution_i8_dotprod(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
CK_TARGET_END
#endif
