#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

#define AI_NAME(f) f##_neon
#define AI_ROWS 4
#define AI_COLUMNS 8
#define AI_STEP 8
#define AI_UNSIGNED 0
#include "attention_i8.inc.h"

enum { ROWS = 2 };

/// 8 columns, 16 bytes of each a step: two products of 8 bits fit 16 bits together (2 * 128 * 127), then pairs are added
/// to 32.
CK_INLINE void tile(const int8_t *left, size_t stride, const int8_t *right, int32_t steps, const int32_t *start,
                    int32_t *sums, size_t stride_sums) {
    int32x4_t acc[8 * ROWS];
    CK_UNROLL for (int i = 0; i < 8 * ROWS; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t s = 0; s < steps; s += 2) {
        int8x16_t x0[ROWS], x1[ROWS];
        CK_UNROLL for (int r = 0; r < ROWS; r++) {
            const int8x8_t low = vld1_s8(left + (size_t)r * stride), high = vld1_s8(left + (size_t)r * stride + 8);
            x0[r] = vcombine_s8(low, low);
            x1[r] = vcombine_s8(high, high);
            // Hides that the halves are equal: clang would rather move each column's high half down than use smull2.
            __asm__("" : "+w"(x0[r]), "+w"(x1[r]));
        }
        CK_UNROLL for (int v = 0; v < 4; v++) {
            const int8x16_t c0 = vld1q_s8(right + 16 * v), c1 = vld1q_s8(right + 64 + 16 * v);
            CK_UNROLL for (int r = 0; r < ROWS; r++) {
                int32x4_t *a = acc + 8 * r + 2 * v;
                int16x8_t p = vmull_s8(vget_low_s8(c0), vget_low_s8(x0[r]));
                p = vmlal_s8(p, vget_low_s8(c1), vget_low_s8(x1[r]));
                a[0] = vpadalq_s16(a[0], p);
                p = vmull_high_s8(c0, x0[r]);
                p = vmlal_high_s8(p, c1, x1[r]);
                a[1] = vpadalq_s16(a[1], p);
            }
        }
        left += 16;
        right += 128;
    }
    CK_UNROLL for (int r = 0; r < ROWS; r++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t *a = acc + 8 * r + 4 * v;
            int32x4_t sum = vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3]));
            if (start != NULL) sum = vaddq_s32(sum, vld1q_s32(start + 4 * v));
            vst1q_s32(sums + (size_t)r * stride_sums + 4 * v, sum);
        }
    }
}

static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    for (int32_t c = 0; c < columns; c += 8)
        for (int r = 0; r < AI_ROWS; r += ROWS)
            tile((const int8_t *)left + (size_t)r * stride, stride, right + (size_t)c * (size_t)steps * 8, steps,
                 start != NULL ? start + c : NULL, sums + (size_t)r * stride_sums + c, stride_sums);
}
#endif
