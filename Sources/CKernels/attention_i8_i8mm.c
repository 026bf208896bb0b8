#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_I8MM)
#define AI_NAME(f) f##_i8mm
#define AI_ROWS 4
#define AI_COLUMNS 2
#define AI_STEP 8
#define AI_UNSIGNED 0
#include "attention_i8.inc.h"

enum { PAIRS = 8 };  // of columns

/// 16 columns; smmla multiplies two rows by two columns, 8 bytes of each.
static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    const size_t group = (size_t)steps * 16;
    for (int32_t c = 0; c < columns; c += 2 * PAIRS) {
        const int8_t *from = right + (size_t)(c / 2) * group;
        const int8_t *rows = (const int8_t *)left;
        int32x4_t acc[AI_ROWS / 2 * PAIRS];
        CK_UNROLL for (int v = 0; v < PAIRS; v++) {
            const int32x2_t first = start != NULL ? vld1_s32(start + c + 2 * v) : vdup_n_s32(0);
            CK_UNROLL for (int r = 0; r < AI_ROWS / 2; r++) acc[r * PAIRS + v] = vcombine_s32(first, first);
        }
        for (int32_t s = 0; s < steps; s += 2) {
            int8x16_t low[AI_ROWS / 2], high[AI_ROWS / 2];
            CK_UNROLL for (int r = 0; r < AI_ROWS / 2; r++) {
                const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(rows + (size_t)(2 * r) * stride));
                const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(rows + (size_t)(2 * r + 1) * stride));
                low[r] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
                high[r] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
            }
            CK_UNROLL for (int v = 0; v < PAIRS; v++) {
                const int8x16_t column = vld1q_s8(from + (size_t)v * group);
                CK_UNROLL for (int r = 0; r < AI_ROWS / 2; r++)
                    acc[r * PAIRS + v] = vmmlaq_s32(acc[r * PAIRS + v], low[r], column);
            }
            CK_UNROLL for (int v = 0; v < PAIRS; v++) {
                const int8x16_t column = vld1q_s8(from + (size_t)v * group + 16);
                CK_UNROLL for (int r = 0; r < AI_ROWS / 2; r++)
                    acc[r * PAIRS + v] = vmmlaq_s32(acc[r * PAIRS + v], high[r], column);
            }
            rows += 16;
            from += 32;
        }
        CK_UNROLL for (int r = 0; r < AI_ROWS / 2; r++) {
            CK_UNROLL for (int v = 0; v < PAIRS; v += 2) {
                const int64x2_t a = vreinterpretq_s64_s32(acc[r * PAIRS + v]);
                const int64x2_t b = vreinterpretq_s64_s32(acc[r * PAIRS + v + 1]);
                int32_t *to = sums + (size_t)(2 * r) * stride_sums + c + 2 * v;
                vst1q_s32(to, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
                vst1q_s32(to + stride_sums, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
            }
        }
    }
}
CK_TARGET_END
#endif
