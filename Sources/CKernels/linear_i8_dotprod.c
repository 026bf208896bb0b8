#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_DOTPROD)
// In a panel each row's 8 bytes stand twice, so that one plain load fills a register: a duplicating load would take a
// vector slot.
#define LI_ROWS 6
#define LI_PANEL_UNIT 16
#define LI_PANEL_FLIP 0
#define LI_GROUPS 1
#define LI_WEIGHT_BYTES (256 * 1024)
#define LI_QUANTIZE ck_quantize_panels_dotprod
#include "linear_i8.inc.h"

/// One block of 8 inputs: `rows` × 8 products for each of its bytes.
CK_INLINE void multiply(const int8_t *x, const int8_t *w, const int rows, int32x4_t *acc) {
    int8x16_t weights[4];
    CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        const int8x16_t value = vld1q_s8(x + 16 * r);
        CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * r + v] = vdotq_s32(acc[4 * r + v], weights[v], value);
    }
}

LI_MULTIPLY_ALL(int32x4_t)

/// One group of 8 outputs.
CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums) {
    (void)group, (void)groups, (void)weight_sum;
    int32x4_t acc[4 * LI_ROWS];
    CK_UNROLL for (int i = 0; i < 4 * rows; i++) acc[i] = vdupq_n_s32(0);
    multiply_all(x, w, blocks, rows, acc, ask);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        vst1q_s32(sums + r * LI_OUTS, vpaddq_s32(acc[4 * r], acc[4 * r + 1]));
        vst1q_s32(sums + r * LI_OUTS + 4, vpaddq_s32(acc[4 * r + 2], acc[4 * r + 3]));
    }
}

LI_LINEAR_OF_SIX(ck_linear_i8_dotprod)
CK_TARGET_END
#endif
