#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_I8MM)
#define CI_PIXELS(groups) 12
#define CI_GROUPS 2
#define CI_BYTES 8
#define CI_MOVED(zero) 0
#define CI_ACROSS
#define CI_UNIT 2
#include "convolution_i8.inc.h"

CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero) {
    (void)zero;
    vst1_u8(to, vld1_u8(from));
}

/// One block of 8 inputs: a usmmla multiplies two neighbouring pixels by two outputs, 8 inputs deep.
CK_INLINE void multiply(const uint8_t *x, const int8_t *w, const int pairs, int32x4_t *acc) {
    if (pairs == 4) {  // 64 bytes of each: one load
        const uint8x16x4_t values = vld1q_u8_x4(x);
        const int8x16x4_t weights = vld1q_s8_x4(w);
        CK_UNROLL for (int p = 0; p < pairs; p++) {
            CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * p + v] = vusmmlaq_s32(acc[4 * p + v], values.val[p], weights.val[v]);
        }
        return;
    }
    int8x16_t weights[4];
    CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
    CK_UNROLL for (int p = 0; p < pairs; p++) {
        const uint8x16_t value = vld1q_u8(x + 2 * CI_BYTES * p);
        CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * p + v] = vusmmlaq_s32(acc[4 * p + v], value, weights[v]);
    }
}

/// One group of 8 outputs, four blocks at a time: what counts and moves pointers is shared.
CK_INLINE void tile(const ci_tile *t, const int8_t *w, const int pairs, int32_t *sums) {
    int32x4_t acc[24];
    CK_UNROLL for (int i = 0; i < 4 * pairs; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < t->lines; ky++) {
        for (int32_t kx = 0; kx < t->taps; kx++) {
            const uint8_t *x = t->line[ky] + t->tap[kx];
            for (size_t b = (size_t)t->blocks / 4; b > 0; b--) {
                multiply(x, w, pairs, acc);
                multiply(x + t->block, w + 64, pairs, acc);
                multiply(x + 2 * t->block, w + 128, pairs, acc);
                multiply(x + 3 * t->block, w + 192, pairs, acc);
                w += 256;
                x += 4 * t->block;
            }
            if (t->blocks % 4 != 0) {  // they are even: two are left
                multiply(x, w, pairs, acc);
                multiply(x + t->block, w + 64, pairs, acc);
                w += 128;
            }
        }
    }
    CK_UNROLL for (int p = 0; p < pairs; p++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t a = acc[4 * p + 2 * v], b = acc[4 * p + 2 * v + 1];
            vst1q_s32(sums + 2 * p * CI_OUTS + 4 * v, vcombine_s32(vget_low_s32(a), vget_low_s32(b)));
            vst1q_s32(sums + (2 * p + 1) * CI_OUTS + 4 * v, vcombine_s32(vget_high_s32(a), vget_high_s32(b)));
        }
    }
}

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums) {
    for (int32_t g = 0; g < groups; g++) {
        const int8_t *w = t->weight + (size_t)g * t->group;
        switch ((pixels + 1) / 2) {
        case 1: tile(t, w, 1, sums + 8 * g); break;
        case 2: tile(t, w, 2, sums + 8 * g); break;
        case 3: tile(t, w, 3, sums + 8 * g); break;
        case 4: tile(t, w, 4, sums + 8 * g); break;
        case 5: tile(t, w, 5, sums + 8 * g); break;
        default: tile(t, w, 6, sums + 8 * g); break;
        }
    }
}

void ck_convolution_i8_i8mm(const ck_convolution_i8_args *args, int32_t row_begin, int32_t row_end) {
    ci_run(args, row_begin, row_end);
}
CK_TARGET_END
#endif
