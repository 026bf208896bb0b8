#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_I8MM)
#define AI_NAME(f) f##_i8mm
#define AI_ROWS 12
#define AI_TILES 1
#define AI_COLUMNS 8
#define AI_STEP 8
#define AI_UNSIGNED 0
#define AI_PANELS
#include "attention_i8.inc.h"

enum { PAIRS = AI_ROWS / 2, COLUMN_PAIRS = AI_COLUMNS / 2 };

/// One step: a smmla multiplies two rows, side by side in a panel, by two columns, 8 bytes of each.
CK_INLINE void multiply(const int8_t *rows, const int8_t *columns, int32x4_t *acc) {
    int8x16_t column[COLUMN_PAIRS];
    CK_UNROLL for (int v = 0; v < COLUMN_PAIRS; v++) column[v] = vld1q_s8(columns + 16 * v);
    CK_UNROLL for (int p = 0; p < PAIRS; p++) {
        const int8x16_t row = vld1q_s8(rows + 16 * p);
        CK_UNROLL for (int v = 0; v < COLUMN_PAIRS; v++)
            acc[p * COLUMN_PAIRS + v] = vmmlaq_s32(acc[p * COLUMN_PAIRS + v], row, column[v]);
    }
}

/// As in the linear, two steps at a time. Inlined with a known number of steps clang takes the loop apart, and spills.
__attribute__((noinline))
static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    (void)stride;
    for (int32_t c = 0; c < columns; c += AI_COLUMNS) {
        const int8_t *rows = (const int8_t *)left;
        int32x4_t acc[PAIRS * COLUMN_PAIRS];
        CK_UNROLL for (int v = 0; v < COLUMN_PAIRS; v++) {
            const int32x2_t first = start != NULL ? vld1_s32(start + c + 2 * v) : vdup_n_s32(0);
            CK_UNROLL for (int p = 0; p < PAIRS; p++) acc[p * COLUMN_PAIRS + v] = vcombine_s32(first, first);
        }
        for (size_t s = (size_t)steps / 2; s > 0; s--) {
            multiply(rows, right, acc);
            multiply(rows + AI_ROWS * AI_STEP, right + AI_TILE_BYTES, acc);
            rows += 2 * AI_ROWS * AI_STEP;
            right += 2 * AI_TILE_BYTES;
        }
        int32_t *to = sums + c;
        CK_UNROLL for (int p = 0; p < PAIRS; p++) {
            int64x2_t pair[COLUMN_PAIRS];
            CK_UNROLL for (int v = 0; v < COLUMN_PAIRS; v++) pair[v] = vreinterpretq_s64_s32(acc[p * COLUMN_PAIRS + v]);
            vst1q_s32(to, vreinterpretq_s32_s64(vzip1q_s64(pair[0], pair[1])));
            vst1q_s32(to + 4, vreinterpretq_s32_s64(vzip1q_s64(pair[2], pair[3])));
            to += stride_sums;
            vst1q_s32(to, vreinterpretq_s32_s64(vzip2q_s64(pair[0], pair[1])));
            vst1q_s32(to + 4, vreinterpretq_s32_s64(vzip2q_s64(pair[2], pair[3])));
            to += stride_sums;
        }
    }
}
CK_TARGET_END
#endif
