#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_I8MM)
#define LI_ROWS 12
#define LI_PANEL_UNIT 8
#define LI_PANEL_FLIP 0
#define LI_GROUPS 1
#define LI_WEIGHT_BYTES (256 * 1024)
#define LI_QUANTIZE ck_quantize_panels_i8mm
#include "linear_i8.inc.h"

/// One block of 8 inputs: a smmla multiplies two rows, side by side in a panel, by two outputs, 8 inputs deep.
CK_INLINE void multiply(const int8_t *x, const int8_t *w, const int pairs, int32x4_t *acc) {
    int8x16_t weights[4];
    CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
    CK_UNROLL for (int p = 0; p < pairs; p++) {
        const int8x16_t value = vld1q_s8(x + 16 * p);
        CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * p + v] = vmmlaq_s32(acc[4 * p + v], value, weights[v]);
    }
}

LI_MULTIPLY_ALL(int32x4_t)

/// One group of 8 outputs. What stands beside a last row
/// without a neighbour is multiplied, not used.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    (void)group, (void)groups, (void)weight_sum;
    const int pairs = (rows + 1) / 2;
    int32x4_t acc[2 * LI_ROWS];
    CK_UNROLL for (int i = 0; i < 4 * pairs; i++) acc[i] = vdupq_n_s32(0);
    multiply_all(x, w, blocks, pairs, acc, ask);
    CK_UNROLL for (int p = 0; p < pairs; p++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t a = acc[4 * p + 2 * v], b = acc[4 * p + 2 * v + 1];
            vst1q_s32(sums + 2 * p * LI_OUTS + 4 * v, vcombine_s32(vget_low_s32(a), vget_low_s32(b)));
            vst1q_s32(sums + (2 * p + 1) * LI_OUTS + 4 * v, vcombine_s32(vget_high_s32(a), vget_high_s32(b)));
        }
    }
}

LI_TILE(2)
LI_TILE(4)
LI_TILE(6)
LI_TILE(8)
LI_TILE(10)
LI_TILE(12)

void ck_linear_i8_i8mm(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin,
                       int32_t out_end) {
    static li_tile *const tiles[] = {tile_2, tile_2, tile_4, tile_4,   tile_6,  tile_6,
                                     tile_8, tile_8, tile_10, tile_10, tile_12, tile_12};
    linear_rows(a, row_begin, row_end, out_begin, out_end, tiles);
}
CK_TARGET_END
#endif
