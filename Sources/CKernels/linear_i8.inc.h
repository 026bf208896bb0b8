// An int8 linear, written once; each including file gives it the product of one instruction set. Include inside
// CK_TARGET_BEGIN after defining
//   LI_ROWS, LI_PANEL_UNIT, LI_PANEL_FLIP  the ck_panel of the level
//   LI_GROUPS       groups of 8 outputs of a full tile
//   LI_WEIGHT_BYTES what stays in L2 while the row panels pass
//   LI_QUANTIZE     the name of the level's quantize_panels
//   LI_PUTS_PAIRS   where the level brings scale_rows and put_pair along
//   LI_FUSES        where the level brings whole_tile along
// Afterwards the functions are wanted
//   scale_rows(rows, count, in, factor, scale, normalize)  if LI_PUTS_PAIRS: what `count` rows are multiplied with, and
//                                           their scales; 0 where a value is not finite or might not be
//   put_pair(to, v, factor)                 if LI_PUTS_PAIRS: 64 values each of two neighbouring rows, rounded into the panel
//   tile(x, w, group, blocks, weight_sum, ask, rows, groups, sums)  the sums of `blocks` blocks (an even number) of 8
//                                           inputs, [rows][LI_OUTS]; weight_sum is [8 groups] where it is to be corrected
//                                           for moved x, or NULL; what `ask`, which may be NULL, wants is prefetched on
//                                           the way
//   whole_tile(a, x, w, group, blocks, weight_sum, ask, row, o, how)   if LI_FUSES: a tile of all rows and groups whose sums
//                                           are finished, by finish_value, without going through memory
#include "vector.inc.h"

enum {
    LI_OUTS = LI_GROUPS * 8 < 16 ? 16 : LI_GROUPS * 8,
    LI_UNIT = LI_PANEL_UNIT,
    LI_STEP = LI_ROWS * LI_UNIT,  // bytes of a panel for 8 inputs
    LI_LONG = 2304,               // longer rows are cut: a panel of them would not stay in L1
    LI_CUT = 1152,
    LI_ABREAST_FLOATS = 4096,     // half of a small L1
    LI_PIECE = 512,               // of a row, a multiple of 64
    LI_CUT_ROWS = 96,             // fewer rows would not pay for what is written in between
};

CK_INLINE const float *row_vector(ck_row_vectors v, int32_t row) {
    if (v.base == NULL || v.index == NULL) return v.base;
    return v.base + (size_t)v.index[row] * v.stride;
}

#include "linear_i8_rows.inc.h"

/// What a tile asks the memory for while it multiplies, a line for every two blocks: asked for all at once, lines keep those
/// waiting that are needed now.
typedef struct li_ask {
    const char *at;
    size_t step;
} li_ask;

CK_INLINE void ask_line(li_ask *ask) {
    __builtin_prefetch(ask->at, 0, 3);
    ask->at += ask->step;
}

/// All blocks of a tile with one group, for a level that has multiply(x, w, rows, acc), one block of them. Two at a time: what
/// counts and moves pointers is shared. Where nothing is asked for, the loop does not look.
#define LI_MULTIPLY_ALL(vector) \
    CK_INLINE void multiply_blocks(const int8_t *x, const int8_t *w, int32_t blocks, const int rows, vector *acc, \
                                   li_ask *ask) { \
        for (int32_t b = blocks / 2; b > 0; b--) { \
            if (ask != NULL) ask_line(ask); \
            multiply(x, w, rows, acc); \
            multiply(x + LI_STEP, w + 64, rows, acc); \
            w += 128; \
            x += 2 * LI_STEP; \
        } \
    } \
    CK_INLINE void multiply_all(const int8_t *x, const int8_t *w, int32_t blocks, const int rows, vector *acc, li_ask *ask) { \
        if (ask != NULL) \
            multiply_blocks(x, w, blocks, rows, acc, ask); \
        else \
            multiply_blocks(x, w, blocks, rows, acc, NULL); \
    }

CK_INLINE void tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                    li_ask *ask, const int rows, const int groups, int32_t *sums);

#define LI_TILE(R) \
    static void tile_##R(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum, \
                         li_ask *ask, int32_t groups, int32_t *sums) { \
        if (LI_GROUPS == 1 || groups == LI_GROUPS) { \
            tile(x, w, group, blocks, weight_sum, ask, R, LI_GROUPS, sums); \
        } else { \
            for (int32_t g = 0; g < groups; g++) \
                tile(x, w + (size_t)g * group, group, blocks, weight_sum != NULL ? weight_sum + 8 * g : NULL, ask, R, \
                     1, sums + 8 * g); \
        } \
    }

/// What is done to finished sums besides scaling them.
typedef struct li_finish {
    int bias, residual, gate;
    ck_activation activation;
} li_finish;

/// An exact sum to float32. Whatever `how` says is known to the compiler.
CK_INLINE f32x16 finish_value(i32x16 sum, f32x16 scale, f32x16 bias, const float *residual, const float *gate, int32_t n,
                              const li_finish how) {
    f32x16 v = __builtin_convertvector(sum, f32x16);
    v = how.bias ? fused(v, scale, bias) : v * scale;
    v = activation16(v, how.activation);
    if (how.residual) {
        if (how.gate) v = v * load_first(gate, n);
        v = load_first(residual, n) + v;
    }
    return v;
}

/// Outputs c..<c + n of `rows` rows, n <= 16; nothing is loaded again for each row.
CK_INLINE void finish_vector(const ck_linear_i8_args *a, const int32_t *sums, int32_t rows, int32_t row, int32_t c,
                             int32_t n, const int first, const int last, const li_finish how) {
    const ck_matrix_i8 *w = a->w;
    // The matrix's rows end on a multiple of 8: that many can be read.
    const int32_t readable = n > 8 ? 16 : 8;
    const size_t stride_partial = a->partial != NULL ? a->stride_partial : a->stride_y;
    const size_t stride_y = a->stride_y, stride_residual = a->stride_residual, at = (size_t)row;
    // Unfinished sums lie in memory as they are; moved as vectors, whose bits stay.
    float *part = (float *)(void *)(a->partial != NULL ? a->partial : (int32_t *)(void *)a->y) + at * stride_partial + c;
    float *y = a->y + at * stride_y + c;
    const float *residual = how.residual ? a->residual + at * stride_residual + c : NULL;
    const float *scale_x = a->scale_x + row;
    const f32x16 scale = last ? load_first(w->scale + c, readable) : splat(0.0f);
    const f32x16 bias = last && how.bias ? load_first(w->bias + c, readable) : splat(0.0f);
    for (int32_t r = 0; r < rows; r++) {
        i32x16 sum;
        memcpy(&sum, sums + r * LI_OUTS, sizeof sum);
        if (!first) sum = sum + as_int(load_first(part + (size_t)r * stride_partial, n));
        if (!last) {
            store_first(part + (size_t)r * stride_partial, as_float(sum), n);
            continue;
        }
        const float *gate = how.gate ? row_vector(a->gate, row + r) + c : NULL;
        const f32x16 v = finish_value(sum, scale_x[r] * scale, bias,
                                      how.residual ? residual + (size_t)r * stride_residual : NULL, gate, n, how);
        store_first(y + (size_t)r * stride_y, v, n);
    }
}

CK_INLINE void finish_all(const ck_linear_i8_args *a, const int32_t *sums, int32_t rows, int32_t row, int32_t o,
                          int32_t end, const int first, const int last, const li_finish how) {
    int32_t c = o;
    for (; c + 16 <= end; c += 16) finish_vector(a, sums + (c - o), rows, row, c, 16, first, last, how);
    if (c < end) finish_vector(a, sums + (c - o), rows, row, c, end - c, first, last, how);
}

/// What transformers ask for is compiled as such; the rest decides as it goes.
enum { LI_BIAS, LI_BIAS_GELU, LI_BIAS_GATED, LI_OTHER };

static int kind_of_finish(const ck_linear_i8_args *a) {
    if (a->w->bias == NULL) return LI_OTHER;
    if (a->residual == NULL && a->activation == CK_ACTIVATION_NONE) return LI_BIAS;
    if (a->residual == NULL && a->activation == CK_ACTIVATION_GELU_TANH) return LI_BIAS_GELU;
    if (a->residual != NULL && a->gate.base != NULL && a->activation == CK_ACTIVATION_NONE) return LI_BIAS_GATED;
    return LI_OTHER;
}

CK_INLINE li_finish finish_of(const ck_linear_i8_args *a, const int kind) {
    switch (kind) {
    case LI_BIAS: return (li_finish){1, 0, 0, CK_ACTIVATION_NONE};
    case LI_BIAS_GELU: return (li_finish){1, 0, 0, CK_ACTIVATION_GELU_TANH};
    case LI_BIAS_GATED: return (li_finish){1, 1, 1, CK_ACTIVATION_NONE};
    default: return (li_finish){a->w->bias != NULL, a->residual != NULL, a->gate.base != NULL, a->activation};
    }
}

/// The last part of a sum.
CK_INLINE void finish_last(const ck_linear_i8_args *a, const int32_t *sums, int32_t rows, int32_t row, int32_t o,
                           int32_t end, const int first) {
    switch (kind_of_finish(a)) {
    case LI_BIAS: finish_all(a, sums, rows, row, o, end, first, 1, finish_of(a, LI_BIAS)); break;
    case LI_BIAS_GELU: finish_all(a, sums, rows, row, o, end, first, 1, finish_of(a, LI_BIAS_GELU)); break;
    case LI_BIAS_GATED: finish_all(a, sums, rows, row, o, end, first, 1, finish_of(a, LI_BIAS_GATED)); break;
    default: finish_all(a, sums, rows, row, o, end, first, 1, finish_of(a, LI_OTHER));
    }
}

static void finish(const ck_linear_i8_args *a, const int32_t *sums, int32_t rows, int32_t row, int32_t o, int32_t end,
                   int first, int last) {
    const li_finish nothing = {0, 0, 0, CK_ACTIVATION_NONE};
    if (first && last)
        finish_last(a, sums, rows, row, o, end, 1);
    else if (last)
        finish_last(a, sums, rows, row, o, end, 0);
    else if (first)
        finish_all(a, sums, rows, row, o, end, 1, 0, nothing);
    else
        finish_all(a, sums, rows, row, o, end, 0, 0, nothing);
}

typedef void li_tile(const int8_t *x, const int8_t *w, size_t group, int32_t blocks, const int32_t *weight_sum,
                     li_ask *ask, int32_t groups, int32_t *sums);

#ifdef LI_FUSES
CK_INLINE void whole_tile(const ck_linear_i8_args *a, const int8_t *x, const int8_t *w, size_t group, int32_t blocks,
                          const int32_t *weight_sum, li_ask *ask, int32_t row, int32_t o, const li_finish how);

typedef void li_whole(const ck_linear_i8_args *a, const int8_t *x, const int8_t *w, size_t group, int32_t blocks,
                      const int32_t *weight_sum, li_ask *ask, int32_t row, int32_t o);

#define LI_WHOLE(name, kind) \
    static void name(const ck_linear_i8_args *a, const int8_t *x, const int8_t *w, size_t group, int32_t blocks, \
                     const int32_t *weight_sum, li_ask *ask, int32_t row, int32_t o) { \
        whole_tile(a, x, w, group, blocks, weight_sum, ask, row, o, finish_of(a, kind)); \
    }
LI_WHOLE(whole_bias, LI_BIAS)
LI_WHOLE(whole_bias_gelu, LI_BIAS_GELU)
LI_WHOLE(whole_bias_gated, LI_BIAS_GATED)
LI_WHOLE(whole_other, LI_OTHER)
#undef LI_WHOLE
#endif

/// Lines that are still to be asked for, `rows` pieces of memory `stride` bytes apart, a bit of them with each tile.
typedef struct li_ahead {
    const char *next, *end;  // of the current piece of memory
    int32_t rows;            // behind it
    size_t row_bytes, stride, bit;
} li_ahead;

/// What is spread over `tiles` tiles.
CK_INLINE li_ahead ahead_of(const void *at, int32_t rows, size_t row_bytes, size_t stride, int64_t tiles) {
    const size_t bytes = (size_t)rows * row_bytes;
    return (li_ahead){at, (const char *)at + row_bytes, rows - 1, row_bytes, stride,
                      bytes / (size_t)(tiles > 0 ? tiles : 1) + 64};
}

/// The float rows of a panel.
static li_ahead ahead_of_rows(const ck_quantize_args *source, int32_t row, int32_t row_end, int64_t tiles) {
    if (row >= row_end) return (li_ahead){0};
    const int32_t rows = row_end - row < LI_ROWS ? row_end - row : LI_ROWS;
    return ahead_of(source->x + (size_t)row * source->stride, rows, (size_t)source->in * sizeof(float),
                    source->stride * sizeof(float), tiles);
}

/// The next bit; 0 where there is none.
static int ask_next(li_ahead *ahead, int32_t blocks, li_ask *ask) {
    if (ahead->next >= ahead->end) {
        if (ahead->rows <= 0) return 0;
        ahead->next = ahead->end - ahead->row_bytes + ahead->stride;
        ahead->end = ahead->next + ahead->row_bytes;
        ahead->rows--;
    }
    const size_t left = (size_t)(ahead->end - ahead->next), bit = left < ahead->bit ? left : ahead->bit;
    *ask = (li_ask){ahead->next, bit / (size_t)(blocks / 2) + 1};
    ahead->next += bit;
    return 1;
}

/// The next bit of the first that has one, in turn.
static int ask_in_turn(li_ahead *ahead, int32_t count, int32_t *turn, int32_t blocks, li_ask *ask) {
    for (int32_t i = 0; i < count; i++) {
        *turn = *turn + 1 < count ? *turn + 1 : 0;
        if (ask_next(&ahead[*turn], blocks, ask)) return 1;
    }
    return 0;
}

/// What the tiles of a call ask for: this panel's successor first, then a bit of each of the others.
enum { LI_NEXT_WEIGHTS, LI_NEXT_ROWS, LI_NEXT_ROOM, LI_ASKED };

/// Rows of a later call that this one quantizes on its way, a panel at a time, evenly spread over its tiles.
typedef struct li_supply {
    int64_t tiles, panels, due;
    int32_t row;
} li_supply;

static void supply_ahead(const li_supply *supply, const ck_linear_i8_args *a, size_t panel, li_ahead *ahead) {
    const int64_t tiles = supply->tiles / supply->panels / (LI_ASKED + 1);
    ahead[LI_NEXT_ROWS] = ahead_of_rows(a->source, supply->row, a->ahead_end, tiles);
    ahead[LI_NEXT_ROOM] = (li_ahead){0};
    if (supply->row < a->ahead_end)
        ahead[LI_NEXT_ROOM] = ahead_of(a->panels + (size_t)(supply->row / LI_ROWS) * panel, 1, panel, 0, tiles);
}

static void supply_tile(li_supply *supply, const ck_linear_i8_args *a, size_t panel, li_ahead *ahead) {
    supply->due += supply->panels;
    while (supply->due >= supply->tiles) {
        supply->due -= supply->tiles;
        const int32_t end = a->ahead_end - supply->row < LI_ROWS ? a->ahead_end : supply->row + LI_ROWS;
        LI_QUANTIZE(a->source, supply->row, end, a->panels, a->scale_x);
        supply->row = end;
        supply_ahead(supply, a, panel, ahead);
    }
}

static void linear_rows(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin,
                        int32_t out_end, li_tile *const tiles[]) {
    const ck_matrix_i8 *w = a->w;
    const int32_t blocks = (w->in + 15) / 16 * 2;
    const size_t panel = (size_t)blocks * LI_STEP, group = (size_t)blocks * 64;
    const int32_t cuts = w->in > LI_LONG && row_end - row_begin >= LI_CUT_ROWS ? (w->in + LI_CUT - 1) / LI_CUT : 1;
    const int32_t cut = (blocks / 2 + cuts - 1) / cuts * 2;  // in blocks
    const int32_t tiles_all = (out_end - out_begin + LI_OUTS - 1) / LI_OUTS;
    int32_t fitting = LI_WEIGHT_BYTES / (cut * 64 * (LI_OUTS / 8));
    if (fitting < 1) fitting = 1;
    const int32_t shares = (tiles_all + fitting - 1) / fitting;
    const int32_t share = (tiles_all + shares - 1) / shares * LI_OUTS;  // even blocks of outputs
    const int32_t panels = (row_end - row_begin + LI_ROWS - 1) / LI_ROWS;
    const int quantizes = a->source != NULL && !a->quantized;
    li_supply supply = {.row = a->ahead_begin};
    supply.panels = a->source != NULL ? (a->ahead_end - a->ahead_begin + LI_ROWS - 1) / LI_ROWS : 0;
    supply.tiles = (int64_t)panels * tiles_all * ((blocks + cut - 1) / cut);
    li_ahead ahead[LI_ASKED] = {{0}};
    int32_t turn = 0;
    if (supply.panels > 0) supply_ahead(&supply, a, panel, ahead);
#ifdef LI_FUSES
    static li_whole *const wholes[] = {whole_bias, whole_bias_gelu, whole_bias_gated, whole_other};
    li_whole *const whole = wholes[kind_of_finish(a)];
#endif
    // Both halves of rounding the next panel stand between this panel's last tiles, where nothing waits for them; its first
    // tiles ask for the rows.
    const int overlaps = quantizes && a->source->in <= LI_ABREAST_FLOATS / LI_ROWS;
    li_rounding rounding;
    // Where nothing is cut or shared, everything is in a cache after the first panel.
    const int streams = cuts > 1 || shares > 1;
    for (int32_t begin = out_begin; begin < out_end; begin += share) {
        const int32_t end = out_end - begin < share ? out_end : begin + share;
        const int32_t tiles_share = (end - begin + LI_OUTS - 1) / LI_OUTS;
        for (int32_t block = 0; block < blocks; block += cut) {
            const int32_t count = blocks - block < cut ? blocks - block : cut;
            const int first = block == 0, last = block + count == blocks;
            const int32_t next_block = last ? 0 : block + count, next_begin = last ? end : begin;
            ahead[LI_NEXT_WEIGHTS] = (li_ahead){0};
            if (next_begin < out_end) {
                const int32_t next_count = blocks - next_block < cut ? blocks - next_block : cut;
                const int32_t next_end = out_end - next_begin < share ? out_end : next_begin + share;
                ahead[LI_NEXT_WEIGHTS] = ahead_of(
                    w->weight + (size_t)(next_begin / 8) * group + (size_t)next_block * 64,
                    (next_end - next_begin + 7) / 8, (size_t)next_count * 64, group,
                    (int64_t)panels * tiles_share / (LI_ASKED + 1));
            }
            const int rounds = quantizes && first && begin == out_begin;
            for (int32_t r = row_begin; r < row_end; r += LI_ROWS) {
                const int32_t tall = row_end - r < LI_ROWS ? row_end - r : LI_ROWS;
                const int8_t *x = a->panels + (size_t)(r / LI_ROWS) * panel + (size_t)block * LI_STEP;
                li_ahead next_panel = {0};
                if (rounds) {
                    if (!overlaps || r == row_begin) LI_QUANTIZE(a->source, r, r + tall, a->panels, a->scale_x);
                    next_panel = ahead_of_rows(a->source, r + LI_ROWS, row_end,
                                               overlaps ? (tiles_share * 2 + 2) / 3 : tiles_share);
                } else if (streams && r + LI_ROWS < row_end) {
                    next_panel = ahead_of(x + panel, 1, (size_t)count * LI_STEP, 0, (tiles_share + 3) / 4);
                }
                const int overlaps_now = rounds && overlaps && r + LI_ROWS < row_end;
                for (int32_t o = begin, t = 0; o < end; o += LI_OUTS, t++) {
                    if (overlaps_now && t == tiles_share * 2 / 3)
                        quantize_begin(a->source, r + LI_ROWS, row_end - r < 2 * LI_ROWS ? row_end - r - LI_ROWS : LI_ROWS,
                                       a->scale_x, &rounding);
                    if (overlaps_now && t == tiles_share * 5 / 6)
                        quantize_end(a->source, &rounding, panel, a->panels, a->scale_x);
                    const int32_t stop = end - o < LI_OUTS ? end : o + LI_OUTS;
                    const int32_t groups = (stop - o + 7) / 8;
                    li_ask lines, *ask = NULL;
                    if (ask_next(&next_panel, count, &lines) ||
                        (streams && ask_in_turn(ahead, LI_ASKED, &turn, count, &lines)))
                        ask = &lines;
                    const int8_t *weights = w->weight + (size_t)(o / 8) * group + (size_t)block * 64;
                    const int32_t *moved = LI_PANEL_FLIP != 0 && last ? w->sum + o : NULL;
#ifdef LI_FUSES
                    if (first && last && tall == LI_ROWS && stop - o == LI_OUTS) {
                        whole(a, x, weights, group, count, moved, ask, r, o);
                        if (supply.panels > 0) supply_tile(&supply, a, panel, ahead);
                        continue;
                    }
#endif
                    _Alignas(64) int32_t sums[LI_ROWS * LI_OUTS];
                    // The end of a half-filled vector is converted, not stored.
                    if (groups % 2 != 0)
                        for (int32_t i = 0; i < tall; i++) memset(sums + i * LI_OUTS + 8 * groups, 0, 32);
                    if (LI_OUTS == 8 * LI_GROUPS) {
                        tiles[tall - 1](x, weights, group, count, moved, ask, groups, sums);
                    } else {
                        for (int32_t g = 0; g < groups; g++) {
                            tiles[tall - 1](x, weights + (size_t)g * group, group, count,
                                            moved != NULL ? moved + 8 * g : NULL, ask, 1, sums + 8 * g);
                            ask = NULL;
                        }
                    }
                    finish(a, sums, tall, r, o, stop, first, last);
                    if (supply.panels > 0) supply_tile(&supply, a, panel, ahead);
                }
            }
        }
    }
}

/// The linear of a level whose tiles have 1 to 6 rows.
#define LI_LINEAR_OF_SIX(name) \
    LI_TILE(1) \
    LI_TILE(2) \
    LI_TILE(3) \
    LI_TILE(4) \
    LI_TILE(5) \
    LI_TILE(6) \
    void name(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin, int32_t out_end) { \
        static li_tile *const tiles[] = {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6}; \
        linear_rows(a, row_begin, row_end, out_begin, out_end, tiles); \
    }
