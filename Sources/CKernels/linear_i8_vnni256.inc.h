// 256-bit VNNI. Include inside CK_TARGET_BEGIN after defining VNNI256_DOT (the compiler's name for vpdpbusd of the
// instruction set) and VNNI256_LINEAR (the function's name). 16 registers suffice: AVX-VNNI has no more.
#include <immintrin.h>

#include "linear_i8.inc.h"

enum {
    ROWS = 6,
    OUTS = 16,
    PANEL_BYTES = 56 * 1024,     // activations of ROWS rows, rearranged
    WEIGHT_BYTES = 384 * 1024,   // what stays in L2 while the row panels pass
};

/// sums[r][0..<8] of one group of 8 outputs = Σ (x + 128) · w - 128 Σ w: see linear_i8_avx512vnni.c.
CK_INLINE void tile(const int8_t *x, size_t step, size_t row, const int flip, const int8_t *w, int32_t blocks,
                    const int rows, const int32_t *weight_sum, int32_t *sums) {
    __m256i acc[2 * ROWS];
    CK_UNROLL for (int i = 0; i < 2 * rows; i++) acc[i] = _mm256_setzero_si256();
    for (int32_t b = 0; b < blocks; b++) {
        const __m256i w0 = _mm256_loadu_si256((const __m256i *)w), w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
        CK_UNROLL for (int r = 0; r < rows; r++) {
            int64_t eight;
            memcpy(&eight, x + (size_t)r * row, 8);
            if (flip) eight ^= (int64_t)0x8080808080808080ull;
            const __m256i value = _mm256_set1_epi64x(eight);
            acc[2 * r] = VNNI256_DOT(acc[2 * r], value, w0);
            acc[2 * r + 1] = VNNI256_DOT(acc[2 * r + 1], value, w1);
        }
        w += 64;
        x += step;
    }
    const __m256i moved = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)weight_sum), 7);
    CK_UNROLL for (int r = 0; r < rows; r++) {
        const __m256i mixed = _mm256_hadd_epi32(acc[2 * r], acc[2 * r + 1]);
        _mm256_storeu_si256((__m256i *)(sums + r * OUTS),
                            _mm256_sub_epi32(_mm256_permute4x64_epi64(mixed, 0xd8), moved));
    }
}

#define TILES(R) \
    static void tile_##R(const int8_t *x, size_t in_padded, int flip, const int8_t *w, int32_t blocks, \
                         const int32_t *weight_sum, int32_t *sums) { \
        if (flip) \
            tile(x, 8, in_padded, 1, w, blocks, R, weight_sum, sums); \
        else \
            tile(x, 8 * ROWS, 8, 0, w, blocks, R, weight_sum, sums); \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
#undef TILES

/// panel[block][ROWS][8], moved by 128. Rows beyond `rows` repeat the last one.
static void fill(int8_t *panel, const int8_t *x, size_t in_padded, int32_t blocks, int32_t rows) {
    const int8_t *from[ROWS];
    for (int32_t i = 0; i < ROWS; i++) from[i] = x + (size_t)(i < rows ? i : rows - 1) * in_padded;
    for (int32_t b = 0; b < blocks; b++) {
        CK_UNROLL for (int32_t i = 0; i < ROWS; i++) {
            int64_t eight;
            memcpy(&eight, from[i] + (size_t)b * 8, 8);
            eight ^= (int64_t)0x8080808080808080ull;
            memcpy(panel + ((size_t)b * ROWS + (size_t)i) * 8, &eight, 8);
        }
    }
}

void VNNI256_LINEAR(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w, int32_t out_begin,
                    int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    static void (*const tiles[])(const int8_t *, size_t, int, const int8_t *, int32_t, const int32_t *, int32_t *) = {
        tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
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
            if (fits) {
                fill(panel, x, in_padded, blocks, tall);
                x = panel;
            }
            for (int32_t o = begin; o < end; o += OUTS) {
                const int32_t stop = end - o < OUTS ? end : o + OUTS;
                _Alignas(64) int32_t sums[ROWS * OUTS] = {0};
                for (int32_t g = 0; 8 * g < stop - o; g++)
                    tiles[tall - 1](x, in_padded, !fits, w->weight + (size_t)(o / 8 + g) * group, blocks,
                                    w->sum + o + 8 * g, sums + 8 * g);
                finish(sums, OUTS, tall, scale_x + r, w, o, stop, activation, y + (size_t)r * stride_y, stride_y);
            }
        }
    }
}
