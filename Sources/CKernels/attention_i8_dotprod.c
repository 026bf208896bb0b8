#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_DOTPROD)
#define AI_NAME(f) f##_dotprod
#define AI_ROWS 4
#define AI_COLUMNS 4
#define AI_STEP 4
#define AI_UNSIGNED 0
#include "attention_i8.inc.h"

enum { VECTORS = 4 };

/// 16 columns; a row's 16 bytes serve four steps, by lane.
static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums) {
    const size_t group = (size_t)steps * 16;
    for (int32_t c = 0; c < columns; c += 4 * VECTORS) {
        const int8_t *from = right + (size_t)(c / 4) * group;
        const int8_t *rows = (const int8_t *)left;
        int32x4_t acc[AI_ROWS * VECTORS];
        CK_UNROLL for (int v = 0; v < VECTORS; v++) {
            const int32x4_t first = start != NULL ? vld1q_s32(start + c + 4 * v) : vdupq_n_s32(0);
            CK_UNROLL for (int r = 0; r < AI_ROWS; r++) acc[r * VECTORS + v] = first;
        }
        for (int32_t s = 0; s < steps; s += 4) {
            int8x16_t value[AI_ROWS];
            CK_UNROLL for (int r = 0; r < AI_ROWS; r++) value[r] = vld1q_s8(rows + (size_t)r * stride);
#define LANE(I) \
    CK_UNROLL for (int v = 0; v < VECTORS; v++) { \
        const int8x16_t column = vld1q_s8(from + (size_t)v * group + 16 * I); \
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) \
            acc[r * VECTORS + v] = vdotq_laneq_s32(acc[r * VECTORS + v], column, value[r], I); \
    }
            LANE(0)
            LANE(1)
            LANE(2)
            LANE(3)
#undef LANE
            rows += 16;
            from += 64;
        }
        CK_UNROLL for (int r = 0; r < AI_ROWS; r++) {
            CK_UNROLL for (int v = 0; v < VECTORS; v++)
                vst1q_s32(sums + (size_t)r * stride_sums + c + 4 * v, acc[r * VECTORS + v]);
        }
    }
}
CK_TARGET_END
#endif
