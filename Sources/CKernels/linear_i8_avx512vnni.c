#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVX512)
#include "linear_i8.inc.h"

enum {
    ROWS = 6,
    GROUPS = 4,                  // of 8 outputs
    OUTS = 8 * GROUPS,
    PANEL_BYTES = 56 * 1024,     // activations of ROWS rows, rearranged
    WEIGHT_BYTES = 384 * 1024,   // what stays in L2 while the row panels pass
};

/// sums[r][8 v + i] = Σ (x + 128) · w - 128 Σ w. vpdpbusd multiplies unsigned by signed, so x is moved by 128 (its
/// sign bit flipped: already done in a panel, else `flip`). Sums wrap modulo 2^32, which the correction undoes.
CK_INLINE void tile(const int8_t *x, size_t step, size_t row, const int flip, const int8_t *w, size_t group,
                    int32_t blocks, const int rows, const int groups, const int32_t *weight_sum, int32_t *sums) {
    __m512i acc[ROWS * GROUPS];
    CK_UNROLL for (int i = 0; i < rows * groups; i++) acc[i] = _mm512_setzero_si512();
    for (int32_t b = 0; b < blocks; b++) {
        __m512i weights[GROUPS];
        CK_UNROLL for (int v = 0; v < groups; v++) weights[v] = _mm512_loadu_si512(w + (size_t)v * group);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            int64_t eight;
            memcpy(&eight, x + (size_t)r * row, 8);
            if (flip) eight ^= (int64_t)0x8080808080808080ull;
            const __m512i value = _mm512_set1_epi64(eight);
            CK_UNROLL for (int v = 0; v < groups; v++)
                acc[r * groups + v] = _mm512_dpbusd_epi32(acc[r * groups + v], value, weights[v]);
        }
        w += 64;
        x += step;
    }
    CK_UNROLL for (int v = 0; v < groups; v++) {
        const __m256i moved = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(weight_sum + 8 * v)), 7);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const __m512i pairs = acc[r * groups + v];
            const __m256i even = _mm512_cvtepi64_epi32(pairs);
            const __m256i odd = _mm512_cvtepi64_epi32(_mm512_srli_epi64(pairs, 32));
            _mm256_storeu_si256((__m256i *)(sums + r * OUTS + 8 * v),
                                _mm256_sub_epi32(_mm256_add_epi32(even, odd), moved));
        }
    }
}

#define TILES(R) \
    static void tile_##R(const int8_t *x, size_t in_padded, int flip, const int8_t *w, size_t group, int32_t blocks, \
                         int groups, const int32_t *weight_sum, int32_t *sums) { \
        if (flip) { \
            for (int v = 0; v < groups; v++) \
                tile(x, 8, in_padded, 1, w + (size_t)v * group, group, blocks, R, 1, weight_sum + 8 * v, \
                     sums + 8 * v); \
        } else if (groups == GROUPS) { \
            tile(x, 8 * ROWS, 8, 0, w, group, blocks, R, GROUPS, weight_sum, sums); \
        } else { \
            for (int v = 0; v < groups; v++) \
                tile(x, 8 * ROWS, 8, 0, w + (size_t)v * group, group, blocks, R, 1, weight_sum + 8 * v, \
                     sums + 8 * v); \
        } \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
#undef TILES

/// panel[block][ROWS][8], moved by 128. Rows beyond `rows` repeat the last one: a constant count keeps the stores dense.
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

void ck_linear_i8_avx512vnni(const int8_t *q, const float *scale_x, int32_t rows, const ck_matrix_i8 *w,
                             int32_t out_begin, int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    static void (*const tiles[])(const int8_t *, size_t, int, const int8_t *, size_t, int32_t, int,
                                 const int32_t *, int32_t *) = {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
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
                _Alignas(64) int32_t sums[ROWS * OUTS];
                const int32_t groups = end - o < OUTS ? (end - o + 7) / 8 : GROUPS;
                // The end of a half-filled vector is converted, not stored.
                if (groups % 2 != 0)
                    for (int32_t i = 0; i < tall; i++) memset(sums + i * OUTS + 8 * groups, 0, 32);
                tiles[tall - 1](x, in_padded, !fits, w->weight + (size_t)(o / 8) * group, group,
                                blocks, groups, w->sum + o, sums);
                finish(sums, OUTS, tall, scale_x + r, w, o, end - o < OUTS ? end : o + OUTS, activation,
                       y + (size_t)r * stride_y, stride_y);
            }
        }
    }
}
CK_TARGET_END
#endif
