#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

#define CI_PIXELS(groups) 2
#define CI_GROUPS 2
#define CI_BYTES 16
#define CI_MOVED(zero) 128
#include "convolution_i8.inc.h"

/// Signed bytes, twice: each half meets another output's weights.
CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    const uint8x8_t eight = veor_u8(vld1_u8(from), vdup_n_u8(0x80));
    vst1q_u8(to, vcombine_u8(eight, eight));
}

/// One group of 8 outputs, 16 inputs a step: two products of 8 bits fit 16 bits together (2 * 128 * 127), then pairs are
/// added to 32.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pixels, int32_t *sums) {
    int32x4_t acc[16];
    CK_UNROLL for (int i = 0; i < 8 * pixels; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < t->lines; ky++) {
        const int8_t *x = (const int8_t *)t->line[ky];
        for (int32_t b = 0; b < t->blocks; b += 2) {
            int8x16_t x0[2], x1[2];
            CK_UNROLL for (int p = 0; p < pixels; p++) {
                x0[p] = vld1q_s8(x + (size_t)p * t->step);
                x1[p] = vld1q_s8(x + (size_t)p * t->step + 16);
            }
            CK_UNROLL for (int v = 0; v < 4; v++) {
                const int8x16_t w0 = vld1q_s8(w + 16 * v), w1 = vld1q_s8(w + 64 + 16 * v);
                CK_UNROLL for (int p = 0; p < pixels; p++) {
                    int32x4_t *a = acc + 8 * p + 2 * v;
                    int16x8_t products = vmull_s8(vget_low_s8(w0), vget_low_s8(x0[p]));
                    products = vmlal_s8(products, vget_low_s8(w1), vget_low_s8(x1[p]));
                    a[0] = vpadalq_s16(a[0], products);
                    products = vmull_high_s8(w0, x0[p]);
                    products = vmlal_high_s8(products, w1, x1[p]);
                    a[1] = vpadalq_s16(a[1], products);
                }
            }
            w += 128;
            x += 32;
        }
    }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t *a = acc + 8 * p + 4 * v;
            vst1q_s32(sums + p * CI_OUTS + 4 * v, vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])));
        }
    }
}

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums) {
    for (int32_t g = 0; g < groups; g++) {
        const int8_t *w = t->weight + (size_t)g * t->group;
        if (pixels == 2)
            tile(t, w, 2, sums + 8 * g);
        else
            tile(t, w, 1, sums + 8 * g);
    }
}

void ck_convolution_i8_neon(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
#endif
