#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

#include "linear_i8.inc.h"

enum { ROWS = 2, OUTS = 16 };

/// sums[r][0..<8] of one group of 8 outputs, 16 inputs a step: two products of 8 bits fit 16 bits together
/// (2 * 128 * 127), then pairs are added to 32.
CK_INLINE void tile(const int8_t *x, size_t row, const int8_t *w, int32_t blocks, const int rows, int32_t *sums) {
    int32x4_t acc[8 * ROWS];
    CK_UNROLL for (int i = 0; i < 8 * rows; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t b = 0; b < blocks; b += 2) {
        int8x16_t x0[ROWS], x1[ROWS];
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const int8x8_t low = vld1_s8(x + (size_t)r * row), high = vld1_s8(x + (size_t)r * row + 8);
            x0[r] = vcombine_s8(low, low);
            x1[r] = vcombine_s8(high, high);
            // Hides that the halves are equal: clang would rather move each weight's high half down than use smull2.
            __asm__("" : "+w"(x0[r]), "+w"(x1[r]));
        }
        CK_UNROLL for (int v = 0; v < 4; v++) {
            const int8x16_t w0 = vld1q_s8(w + 16 * v), w1 = vld1q_s8(w + 64 + 16 * v);
            CK_UNROLL for (int r = 0; r < rows; r++) {
                int32x4_t *a = acc + 8 * r + 2 * v;
                int16x8_t p = vmull_s8(vget_low_s8(w0), vget_low_s8(x0[r]));
                p = vmlal_s8(p, vget_low_s8(w1), vget_low_s8(x1[r]));
                a[0] = vpadalq_s16(a[0], p);
                p = vmull_high_s8(w0, x0[r]);
                p = vmlal_high_s8(p, w1, x1[r]);
                a[1] = vpadalq_s16(a[1], p);
            }
        }
        w += 128;
        x += 16;
    }
    CK_UNROLL for (int r = 0; r < rows; r++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t *a = acc + 8 * r + 4 * v;
            vst1q_s32(sums + r * OUTS + 4 * v, vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])));
        }
    }
}

void ck_linear_i8_neon(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w, int32_t out_begin,
                       int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    const int32_t blocks = (w->in + 15) / 16 * 2;
    const size_t in_padded = (size_t)blocks * 8, group = (size_t)blocks * 64;
    for (int32_t o = out_begin; o < out_end; o += OUTS) {
        const int32_t end = out_end - o < OUTS ? out_end : o + OUTS;
        for (int32_t r = 0; r < rows; r += ROWS) {
            const int32_t tall = rows - r < ROWS ? rows - r : ROWS;
            const int8_t *x = q + (size_t)r * in_padded;
            int32_t sums[ROWS * OUTS] = {0};
            for (int32_t g = 0; 8 * g < end - o; g++) {
                const int8_t *weights = w->weight + (size_t)(o / 8 + g) * group;
                if (tall == ROWS)
                    tile(x, in_padded, weights, blocks, ROWS, sums + 8 * g);
                else
                    tile(x, in_padded, weights, blocks, 1, sums + 8 * g);
            }
            finish(sums, OUTS, tall, scale_x + r, w, o, end, activation, y + (size_t)r * stride_y, stride_y);
        }
    }
}
#endif
