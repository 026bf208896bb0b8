#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

// In a panel each row's 8 bytes stand twice, so that one plain load fills a register.
#define LI_ROWS 2
#define LI_PANEL_UNIT 16
#define LI_PANEL_FLIP 0
#define LI_GROUPS 1
#define LI_WEIGHT_BYTES (256 * 1024)
#define LI_QUANTIZE ck_quantize_panels_neon
#include "linear_i8.inc.h"

/// 16 inputs a step: two products of 8 bits fit 16 bits together (2 * 128 * 127), then pairs are added to 32.
CK_INLINE void multiply_all(const int8_t *x, const int8_t *w, int32_t blocks, const int rows, int32x4_t *acc,
                            li_ask *ask) {
    for (int32_t b = 0; b < blocks; b += 2) {
        if (ask != NULL) ask_line(ask);
        int8x16_t x0[LI_ROWS], x1[LI_ROWS];
        CK_UNROLL for (int r = 0; r < rows; r++) {
            x0[r] = vld1q_s8(x + 16 * r);
            x1[r] = vld1q_s8(x + LI_STEP + 16 * r);
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
        x += 2 * LI_STEP;
    }
}

/// One group of 8 outputs, 16 inputs a step: two products of 8 bits fit 16 bits together (2 * 128 * 127), then pairs
/// are added to 32.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    (void)group, (void)groups, (void)weight_sum;
    int32x4_t acc[8 * LI_ROWS];
    CK_UNROLL for (int i = 0; i < 8 * rows; i++) acc[i] = vdupq_n_s32(0);
    if (ask != NULL)
        multiply_all(x, w, blocks, rows, acc, ask);
    else
        multiply_all(x, w, blocks, rows, acc, NULL);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t *a = acc + 8 * r + 4 * v;
            vst1q_s32(sums + r * LI_OUTS + 4 * v, vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])));
        }
    }
}

LI_TILE(1)
LI_TILE(2)

void ck_linear_i8_neon(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin,
                       int32_t out_end) {
    static li_tile *const tiles[] = {tile_1, tile_2};
    linear_rows(a, row_begin, row_end, out_begin, out_end, tiles);
}
#endif
