#include "internal.h"
#if defined(__aarch64__)
#include <arm_neon.h>

CK_TARGET_BEGIN(CK_DOTPROD)
#include "linear_i8.inc.h"

enum {
    ROWS = 6,
    OUTS = 16,
    PANEL_BYTES = 56 * 1024,
    WEIGHT_BYTES = 256 * 1024,  // what stays in L2 while the row panels pass
};

/// sums[r][0..<8] of one group of 8 outputs. In a panel each row's 8 bytes stand twice, so that one plain load fills a
/// register: a duplicating load would take a vector slot.
CK_INLINE void tile(const int8_t *x, size_t step, size_t row, const int doubled, const int8_t *w, int32_t blocks,
                    const int rows, int32_t *sums) {
    int32x4_t acc[4 * ROWS];
    CK_UNROLL for (int i = 0; i < 4 * rows; i++) acc[i] = vdupq_n_s32(0);
    for (int32_t b = 0; b < blocks; b++) {
        int8x16_t weights[4];
        CK_UNROLL for (int v = 0; v < 4; v++) weights[v] = vld1q_s8(w + 16 * v);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            int8x16_t value;
            if (doubled) {
                value = vld1q_s8(x + (size_t)r * row);
            } else {
                const int8x8_t eight = vld1_s8(x + (size_t)r * row);
                value = vcombine_s8(eight, eight);
            }
            CK_UNROLL for (int v = 0; v < 4; v++) acc[4 * r + v] = vdotq_s32(acc[4 * r + v], weights[v], value);
        }
        w += 64;
        x += step;
    }
    CK_UNROLL for (int r = 0; r < rows; r++) {
        vst1q_s32(sums + r * OUTS, vpaddq_s32(acc[4 * r], acc[4 * r + 1]));
        vst1q_s32(sums + r * OUTS + 4, vpaddq_s32(acc[4 * r + 2], acc[4 * r + 3]));
    }
}

#define TILES(R) \
    static void tile_##R(const int8_t *x, size_t in_padded, int doubled, const int8_t *w, int32_t blocks, \
                         int32_t *sums) { \
        if (doubled) \
            tile(x, 16 * ROWS, 16, 1, w, blocks, R, sums); \
        else \
            tile(x, 8, in_padded, 0, w, blocks, R, sums); \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
#undef TILES

/// panel[block][ROWS][16], the 8 bytes twice. Rows beyond `rows` repeat the last one.
static void fill(int8_t *panel, const int8_t *x, size_t in_padded, int32_t blocks, int32_t rows) {
    const int8_t *from[ROWS];
    for (int32_t i = 0; i < ROWS; i++) from[i] = x + (size_t)(i < rows ? i : rows - 1) * in_padded;
    for (int32_t b = 0; b < blocks; b++) {
        CK_UNROLL for (int32_t i = 0; i < ROWS; i++) {
            const int8x8_t eight = vld1_s8(from[i] + (size_t)b * 8);
            vst1q_s8(panel + ((size_t)b * ROWS + (size_t)i) * 16, vcombine_s8(eight, eight));
        }
    }
}

void ck_linear_i8_dotprod(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w,
                          int32_t out_begin, int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    static void (*const tiles[])(const int8_t *, size_t, int, const int8_t *, int32_t, int32_t *) = {
        tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
    const int32_t blocks = (w->in + 15) / 16 * 2;
    const size_t in_padded = (size_t)blocks * 8, group = (size_t)blocks * 64;
    _Alignas(64) int8_t panel[PANEL_BYTES];
    const int fits = 2 * ROWS * in_padded <= sizeof panel;
    int32_t share = (int32_t)(WEIGHT_BYTES / in_padded) / OUTS * OUTS;
    if (share < OUTS) share = OUTS;
    for (int32_t begin = out_begin; begin < out_end; begin += share) {
        const int32_t end = out_end - begin < share ? out_end : begin + share;
        for (int32_t r = 0; r < rows; r += ROWS) {
            const int32_t tall = rows - r < ROWS ? rows - r : ROWS;
            const int8_t *x = q + (size_t)r * in_padded;
            if (fits) {
                fill(panel, x, in_padded, blocks, tall);
                x = panel;
            }
            for (int32_t o = begin; o < end; o += OUTS) {
                const int32_t stop = end - o < OUTS ? end : o + OUTS;
                int32_t sums[ROWS * OUTS] = {0};
                for (int32_t g = 0; 8 * g < stop - o; g++)
                    tiles[tall - 1](x, in_padded, fits, w->weight + (size_t)(o / 8 + g) * group, blocks, sums + 8 * g);
                finish(sums, OUTS, tall, scale_x + r, w, o, stop, activation, y + (size_t)r * stride_y, stride_y);
            }
        }
    }
}
CK_TARGET_END
#endif
