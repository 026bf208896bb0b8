#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_I8MM)
#include "linear_i8.inc.h"

enum {
    ROWS = 12,
    PAIRS = ROWS / 2,
    OUTS = 16,
    PANEL_BYTES = 56 * 1024,
    WEIGHT_BYTES = 256 * 1024,  // what stays in L2 while the row panels pass
};

/// sums[r][0..<8] of one group of 8 outputs, rows 2 * pairs: a smmla multiplies two rows by two outputs, 8 inputs deep.
/// A panel holds the 8 bytes of two rows side by side; without one they are put together from rows `row` apart.
CK_INLINE void tile(const int8_t *x, size_t step, size_t row, const int packed, const int8_t *w, int32_t blocks,
                    const int pairs, int32_t *sums) {
    int32x4_t acc[4 * PAIRS];
    CK_UNROLL for (int i = 0; i < 4 * pairs; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t b = 0; b < blocks; b++) {
        int8x16_t weights[4];
        CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
        CK_UNROLL for (int p = 0; p < pairs; p++) {
            int8x16_t value;
            if (packed)
                value = vld1q_s8(x + 16 * (size_t)p);
            else
                value = vcombine_s8(vld1_s8(x + 2 * (size_t)p * row), vld1_s8(x + (2 * (size_t)p + 1) * row));
            CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * p + v] = vmmlaq_s32(acc[4 * p + v], value, weights[v]);
        }
        w += 64;
        x += step;
    }
    CK_UNROLL for (int p = 0; p < pairs; p++) {
        CK_UNROLL for (int v = 0; v < 2; v++) {
            const int32x4_t a = acc[4 * p + 2 * v], b = acc[4 * p + 2 * v + 1];
            vst1q_s32(sums + 2 * p * OUTS + 4 * v, vcombine_s32(vget_low_s32(a), vget_low_s32(b)));
            vst1q_s32(sums + (2 * p + 1) * OUTS + 4 * v, vcombine_s32(vget_high_s32(a), vget_high_s32(b)));
        }
    }
}

#define TILES(P) \
    static void tile_##P(const int8_t *x, const int8_t *w, int32_t blocks, int32_t *sums) { \
        tile(x, 8 * ROWS, 0, 1, w, blocks, P, sums); \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
#undef TILES

/// panel[block][ROWS][8]. Rows beyond `rows` repeat the last one.
static void fill(int8_t *panel, const int8_t *x, size_t in_padded, int32_t blocks, int32_t rows) {
    const int8_t *from[ROWS];
    for (int32_t i = 0; i < ROWS; i++) from[i] = x + (size_t)(i < rows ? i : rows - 1) * in_padded;
    for (int32_t b = 0; b < blocks; b++) {
        CK_UNROLL for (int32_t i = 0; i < ROWS; i++) {
            const int8x8_t eight = vld1_s8(from[i] + (size_t)b * 8);
            vst1_s8(panel + ((size_t)b * ROWS + (size_t)i) * 8, eight);
        }
    }
}

void ck_linear_i8_i8mm(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w, int32_t out_begin,
                       int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    static void (*const tiles[])(const int8_t *, const int8_t *, int32_t, int32_t *) = {tile_1, tile_2, tile_3,
                                                                                       tile_4, tile_5, tile_6};
    const int32_t blocks = (w->in + 15) / 16 * 2;
    const size_t in_padded = (size_t)blocks * 8, group = (size_t)blocks * 64;
    _Alignas(64) int8_t panel[PANEL_BYTES];
    const int fits = ROWS * in_padded <= sizeof panel;
    int32_t share = (int32_t)(WEIGHT_BYTES / in_padded) / OUTS * OUTS;
    if (share < OUTS) share = OUTS;
    for (int32_t begin = out_begin; begin < out_end; begin += share) {
        const int32_t end = out_end - begin < share ? out_end : begin + share;
        for (int32_t r = 0; r < rows; r += ROWS) {
            const int32_t tall = rows - r < ROWS ? rows - r : ROWS;
            const int8_t *x = q + (size_t)r * in_padded;
            if (fits) fill(panel, x, in_padded, blocks, tall);
            for (int32_t o = begin; o < end; o += OUTS) {
                const int32_t stop = end - o < OUTS ? end : o + OUTS;
                int32_t sums[ROWS * OUTS] = {0};
                for (int32_t g = 0; 8 * g < stop - o; g++) {
                    const int8_t *weights = w->weight + (size_t)(o / 8 + g) * group;
                    if (fits) {
                        tiles[(tall - 1) / 2](panel, weights, blocks, sums + 8 * g);
                        continue;
                    }
                    for (int32_t i = 0; i < tall; i += 2) {
                        const size_t second = i + 1 < tall ? in_padded : 0;  // the last row stands for its missing pair
                        tile(x + (size_t)i * in_padded, 8, second, 0, weights, blocks, 1, sums + i * OUTS + 8 * g);
                    }
                }
                finish(sums, OUTS, tall, scale_x + r, w, o, stop, activation, y + (size_t)r * stride_y, stride_y);
            }
        }
    }
}
CK_TARGET_END
#endif
