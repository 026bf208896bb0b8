// int8 attention, written once; each including file compiles it for one instruction set. Include inside
// CK_TARGET_BEGIN after defining
//   AI_NAME(f)   the level's name appended to f
//   AI_ROWS      queries of a tile; divides 24
//   AI_TILES     tiles whose softmax is computed together, 2 unless told otherwise
//   AI_COLUMNS, AI_STEP   the layout of k and v: groups of AI_COLUMNS keys (channels) x AI_STEP successive channels (keys)
//   AI_UNSIGNED  1: the left factor of a product is unsigned, q + 128 and p; 0: signed, q and p - 128
//   AI_PANELS    (or not) a tile's left factor is [step][row][AI_STEP] instead of [row][step][AI_STEP]; AI_STEP is 8
//   AI_FUSES_64  where the level brings functions for whole blocks along, in which nothing between a product and what is
//                done with it goes through memory
// and functions
//   products(left, stride, right, steps, columns, start, sums, stride_sums)
//     sums[r][c] = start[c] (or 0) + left[r] . right[c] for AI_ROWS rows and `columns` columns, a multiple of 16;
//     a row has steps * AI_STEP bytes, a multiple of 16, and lies `stride` after the one before it, if not in a panel.
//     right is as packed, in -127...127.
// and, if AI_FUSES_64, for AI_ROWS queries and a block of 64 keys
//   score_64(q, dim, p, begin, biased, scale, scores, maxima, ask)      scores [rows][64], and by lane the highest of a row
//   round_64(weights, x)                       64 weights, rounded to bytes; the result's lanes add up to their sum
//   add_64(weights, dim, values, value_scale, befores, nows, rescales, sum, ask)   sum = sum * before + weights . values * now
// where `ask` is memory that is wanted next, a line for each step of a tile, or NULL.
#include "vector.inc.h"

typedef uint32_t u32x16 __attribute__((vector_size(64)));

#ifndef AI_TILES
#define AI_TILES 2
#endif

enum {
    AI_PASS = 24,  // queries that go over a block of keys while it, and their sums, are in the L1 cache
    AI_PASSES = 4,  // passes that go over near keys while these are in the L2 cache
    AI_NEAR_BYTES = 192 << 10,
    AI_GROUP = AI_TILES * AI_ROWS,  // queries whose softmax is computed together
    AI_TILE_BYTES = AI_COLUMNS * AI_STEP,
    AI_VECTORS = CK_ATTENTION_I8_BLOCK / 16,
};
_Static_assert(AI_PASS % AI_GROUP == 0 && 16 % AI_COLUMNS == 0 && AI_GROUP <= 16, "tiles fill what holds them");
#if defined(AI_PANELS)
_Static_assert(AI_STEP == 8 && AI_TILES == 1, "16 bytes are two steps; a group's rows are neighbours");
#define AI_NEXT_ROW(stride) AI_STEP
#else
#define AI_NEXT_ROW(stride) (stride)
#endif

static void products(const uint8_t *left, size_t stride, const int8_t *right, int32_t steps, int32_t columns,
                     const int32_t *start, int32_t *sums, size_t stride_sums);

/// Puts bytes at..<at + 16 of a row of a left factor where its tile has them.
CK_INLINE void put_left(uint8_t *row, int32_t at, i8x16 bytes) {
#if defined(AI_PANELS)
    memcpy(row + at * AI_ROWS, &bytes, AI_STEP);
    memcpy(row + (at + AI_STEP) * AI_ROWS, (const int8_t *)&bytes + AI_STEP, AI_STEP);
#else
    *(i8x16_unaligned *)(row + at) = bytes;
#endif
}

CK_INLINE f32x16 score_of(f32x16 exact, f32x16 key_scale, float scale, const float *key_bias, const int biased) {
    const f32x16 x = exact * key_scale * scale;
    return biased ? x + load(key_bias) : x;
}

CK_INLINE void add_value(float *sum, f32x16 exact, f32x16 value_scale, float before, float now, const int rescales) {
    const f32x16 more = exact * value_scale * now;
    store(sum, rescales ? load(sum) * before + more : load(sum) + more);
}

#ifdef AI_FUSES_64
static void score_64(const uint8_t *q, int32_t dim, const ck_prepared *p, int32_t begin, int biased, const float *scale,
                     int32_t *scores, f32x16 *maxima, const int8_t *ask);
CK_INLINE u32x16 round_64(uint8_t *weights, const f32x16 x[4]);
static void add_64(const uint8_t *weights, int32_t dim, const int8_t *values, const float *value_scale,
                   const float *befores, const float *nows, int rescales, float *sum, const int8_t *ask);
#endif

void AI_NAME(ck_attention_i8_center)(const ck_attention_i8_keys *a) {
    const ck_prepared p = ck_prepared_at(a->prepared, a->keys, a->head_dim);
    const int32_t dim = a->head_dim;
    float lanes[16][CK_HEAD_DIM_MAX];
    for (int lane = 0; lane < 16; lane++) memset(lanes[lane], 0, (size_t)dim * sizeof(float));
    float smallest = __builtin_inff();
    memset(p.center_v, 0, (size_t)dim * sizeof(float));
    for (int32_t j = 0; j < a->keys; j++) {
        const float *k = a->k + (size_t)j * (size_t)a->stride_k, *v = a->v + (size_t)j * (size_t)a->stride_v;
        float *lane = lanes[j % 16];
        f32x16 squares = {0};
        for (int32_t d = 0; d < dim; d += 16) {
            store(lane + d, load(lane + d) + load(k + d));
            const f32x16 value = load(v + d);
            squares = fused(value, value, squares);
        }
        const float norm = tree(squares);
        if (!(norm < smallest)) continue;
        smallest = norm;
        memcpy(p.center_v, v, (size_t)dim * sizeof(float));
    }
    for (int width = 8; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++)
            for (int32_t d = 0; d < dim; d += 16) store(lanes[lane] + d, load(lanes[lane] + d) + load(lanes[lane + width] + d));
    for (int32_t d = 0; d < dim; d += 16) {
        const f32x16 mean = load(lanes[0] + d) / (float)a->keys;
        store(p.center_k + d, choose(magnitude(mean) <= CK_FLOAT_MAX, mean, splat(0.0f)));
    }
}

CK_INLINE float largest_lane(f32x16 maxima) {
    float largest = 0.0f;
    for (int i = 0; i < 16; i++) largest = maxima[i] > largest ? maxima[i] : largest;
    return largest;
}

CK_INLINE f32x16 limited(f32x16 largest) {
    const f32x16 l = choose(largest < CK_ATTENTION_LIMIT, largest, splat(CK_ATTENTION_LIMIT));
    return choose(l < CK_ROW_ZERO, splat(0.0f), l);
}

CK_INLINE f32x16 inverse_of(f32x16 largest) { return choose(largest == 0.0f, splat(0.0f), 127.0f / largest); }

CK_INLINE i8x16 quantized(f32x16 x, f32x16 inverse) {
    f32x16 v = choose(x == x, x, splat(0.0f)) * inverse;
    v = larger(v, splat(-127.0f));
    v = choose(v < 127.0f, v, splat(127.0f));
    return __builtin_convertvector(as_int(v + CK_MAGIC) - CK_MAGIC_BITS, i8x16);
}

/// Quantizes x - center (or x) and returns the scale.
CK_INLINE float quantize_row(const float *x, const float *center, int32_t dim, int8_t *q) {
    f32x16 maxima = {0};
    for (int32_t d = 0; d < dim; d += 16) {
        const f32x16 v = center != NULL ? load(x + d) - load(center + d) : load(x + d);
        maxima = larger(magnitude(v), maxima);
    }
    const f32x16 largest = limited(splat(largest_lane(maxima))), inverse = inverse_of(largest);
    for (int32_t d = 0; d < dim; d += 16) {
        const f32x16 v = center != NULL ? load(x + d) - load(center + d) : load(x + d);
        *(i8x16_unaligned *)(q + d) = quantized(v, inverse);
    }
    return largest[0] / 127.0f;
}

static void pack_keys(const ck_attention_i8_keys *a, const ck_prepared *p, int32_t begin, int32_t count) {
    const int32_t dim = a->head_dim, padded = ck_padded_keys(count);
    int8_t *block = p->k + (size_t)begin * (size_t)dim;
    for (int32_t j = 0; j < padded; j++) {
        int8_t q[CK_HEAD_DIM_MAX];
        const int32_t key = begin + j;
        if (j < count) {
            p->key_scale[key] = quantize_row(a->k + (size_t)key * (size_t)a->stride_k, p->center_k, dim, q);
            p->key_bias[key] = a->key_bias != NULL ? a->key_bias[key] * CK_P_UNIT : 0.0f;
        } else {
            memset(q, 0, (size_t)dim);
            p->key_scale[key] = 0.0f;
            p->key_bias[key] = -__builtin_inff();
        }
        i32x16 sums = {0};
        for (int32_t d = 0; d < dim; d += 16)
            sums = sums + __builtin_convertvector(*(const i8x16_unaligned *)(q + d), i32x16);
        int32_t sum = 0;
        for (int i = 0; i < 16; i++) sum += sums[i];
        p->key_start[key] = -128 * sum;
        int8_t *to = block + (size_t)(j / AI_COLUMNS) * (size_t)(dim * AI_COLUMNS) + j % AI_COLUMNS * AI_STEP;
        for (int32_t d = 0; d < dim; d += AI_STEP) {
            memcpy(to, q + d, AI_STEP);
            to += AI_TILE_BYTES;
        }
    }
}

/// to[channel][key] of 16 channels: to is [16][4].
CK_INLINE void weave4(const i8x16 rows[4], i8x16 to[4]) {
    i8x16 a[2], b[2];
    for (int i = 0; i < 2; i++) {
        a[i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        b[i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                       15, 31);
    }
    to[0] = __builtin_shufflevector(a[0], a[1], 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    to[1] = __builtin_shufflevector(a[0], a[1], 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
    to[2] = __builtin_shufflevector(b[0], b[1], 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    to[3] = __builtin_shufflevector(b[0], b[1], 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
}

/// The same for AI_STEP keys: to is [16][AI_STEP].
CK_INLINE void weave(const i8x16 rows[AI_STEP], i8x16 to[AI_STEP]) {
#if AI_STEP == 4
    weave4(rows, to);
#else
    i8x16 low[4], high[4];
    weave4(rows, low);
    weave4(rows + 4, high);
    for (int i = 0; i < 4; i++) {
        to[2 * i] = __builtin_shufflevector(low[i], high[i], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        to[2 * i + 1] =
            __builtin_shufflevector(low[i], high[i], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    }
#endif
}

static void pack_values(const ck_attention_i8_keys *a, const ck_prepared *p, int32_t begin, int32_t count) {
    const int32_t dim = a->head_dim, padded = ck_padded_keys(count), block = begin / CK_ATTENTION_I8_BLOCK;
    const size_t stride = (size_t)a->stride_v;
    const float *v = a->v + (size_t)begin * stride;
    float inverse[CK_HEAD_DIM_MAX];
    i32x16 sums[CK_HEAD_DIM_MAX / 16];
    memset(inverse, 0, sizeof inverse);
    memset(sums, 0, sizeof sums);
    for (int32_t j = 0; j < count; j++)
        for (int32_t d = 0; d < dim; d += 16)
            store(inverse + d, larger(magnitude(load(v + (size_t)j * stride + d) - load(p->center_v + d)), load(inverse + d)));
    for (int32_t d = 0; d < dim; d += 16) {
        const f32x16 largest = limited(load(inverse + d));
        store(p->value_scale + block * dim + d, largest / 127.0f);
        store(inverse + d, inverse_of(largest));
    }
    int8_t *to = p->v + (size_t)begin * (size_t)dim;
    const size_t group = (size_t)(padded * AI_COLUMNS);
    for (int32_t j = 0; j < padded; j += AI_STEP) {
        for (int32_t d = 0; d < dim; d += 16) {
            i8x16 rows[AI_STEP], woven[AI_STEP];
            for (int i = 0; i < AI_STEP; i++) {
                rows[i] = (i8x16){0};
                if (j + i >= count) continue;
                const f32x16 x = load(v + (size_t)(j + i) * stride + d) - load(p->center_v + d);
                rows[i] = quantized(x, load(inverse + d));
                sums[d / 16] = sums[d / 16] + __builtin_convertvector(rows[i], i32x16);
            }
            weave(rows, woven);
            for (int i = 0; i < 16 / AI_COLUMNS; i++)
                memcpy(to + (size_t)(d / AI_COLUMNS + i) * group, (const int8_t *)woven + i * AI_TILE_BYTES, AI_TILE_BYTES);
        }
        to += AI_TILE_BYTES;
    }
    for (int32_t d = 0; d < dim; d += 16) {
        const i32x16 start = sums[d / 16] * 128;
        memcpy(p->value_start + block * dim + d, &start, sizeof start);
    }
}

void AI_NAME(ck_attention_i8_pack)(const ck_attention_i8_keys *a, int32_t block_begin, int32_t block_end) {
    const ck_prepared p = ck_prepared_at(a->prepared, a->keys, a->head_dim);
    for (int32_t block = block_begin; block < block_end; block++) {
        const int32_t begin = block * CK_ATTENTION_I8_BLOCK, left = a->keys - begin;
        const int32_t count = left < CK_ATTENTION_I8_BLOCK ? left : CK_ATTENTION_I8_BLOCK;
        pack_keys(a, &p, begin, count);
        pack_values(a, &p, begin, count);
    }
}

/// The state of a pass, and lanes that vectors of 16 reach past the last tile.
typedef struct queries {
    _Alignas(64) uint8_t q[AI_PASS * CK_HEAD_DIM_MAX];
    _Alignas(64) float sum[AI_PASS * CK_HEAD_DIM_MAX];
    float scale[AI_PASS], maximum[AI_PASS + 16], total[AI_PASS + 16];
} queries;

// Lane r of the result = the 16 lanes of v[r] together, the same tree for what a sum and what a maximum need.
#define AI_TOGETHER(name, type, both) \
    CK_INLINE type name(const type v[16]) { \
        type a[8], b[4], c[2]; \
        CK_UNROLL for (int i = 0; i < 8; i++) \
            a[i] = both( \
                __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), \
                __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)); \
        CK_UNROLL for (int i = 0; i < 4; i++) \
            b[i] = both( \
                __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27), \
                __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)); \
        CK_UNROLL for (int i = 0; i < 2; i++) \
            c[i] = both( \
                __builtin_shufflevector(b[i], b[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29), \
                __builtin_shufflevector(b[i], b[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)); \
        return both( \
            __builtin_shufflevector(c[0], c[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30), \
            __builtin_shufflevector(c[0], c[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)); \
    }
CK_INLINE u32x16 plus(u32x16 a, u32x16 b) { return a + b; }
AI_TOGETHER(largest_of_rows, f32x16, larger)
AI_TOGETHER(sum_of_rows, u32x16, plus)
#undef AI_TOGETHER

/// A block of keys and AI_GROUP queries: sums of products to scores in place, and by lane the highest of each row.
CK_INLINE void score(const ck_prepared *p, int32_t begin, const int vectors, const int biased, const float *scale,
                     int32_t *sums, f32x16 maxima[16]) {
    for (int r = 0; r < AI_GROUP; r++) {
        f32x16 highest = splat(CK_ATTENTION_LOWEST);
        CK_UNROLL for (int t = 0; t < AI_VECTORS; t++) {
            if (t < vectors) {
                i32x16 exact;
                memcpy(&exact, sums + 16 * t, sizeof exact);
                const int32_t key = begin + 16 * t;
                const f32x16 x = score_of(__builtin_convertvector(exact, f32x16), load(p->key_scale + key), scale[r],
                                          p->key_bias + key, biased);
                memcpy(sums + 16 * t, &x, sizeof x);
                highest = larger(x, highest);
            }
        }
        maxima[r] = highest;
        sums += CK_ATTENTION_I8_BLOCK;
    }
}

#ifdef AI_FUSES_64
#define AI_FUSES(vectors) ((vectors) == AI_VECTORS)
#else
#define AI_FUSES(vectors) 0
#endif

CK_INLINE f32x16 weight_of(const int32_t *score, float highest) {
    f32x16 x;
    memcpy(&x, score, sizeof x);
    x = larger(x - highest, splat(CK_P_LOWEST)) + CK_P_SHIFT;
    x = x * x + CK_P_OFFSET;
    x = x * x;
    x = x * x;
    x = x * x;
    return x * x;
}

/// Scores to weights, and the sums of these.
CK_INLINE f32x16 weigh(const int32_t *scores, const float *highest, const int vectors, uint8_t *weights) {
    u32x16 totals[16];
    const int packed = AI_FUSES(vectors);
    for (int r = 0; r < AI_GROUP; r++) {
        u32x16 total = {0};
#ifdef AI_FUSES_64
        if (packed) {
            f32x16 x[AI_VECTORS];
            CK_UNROLL for (int t = 0; t < AI_VECTORS; t++) x[t] = weight_of(scores + 16 * t, highest[r]);
            total = round_64(weights, x);
        }
#endif
        CK_UNROLL for (int t = 0; t < AI_VECTORS; t++) {
            if (t < vectors && !packed) {
                const i32x16 rounded = as_int(weight_of(scores + 16 * t, highest[r]) + CK_MAGIC);
                total = total + (u32x16)rounded;
                i8x16 weight = __builtin_convertvector(rounded, i8x16);
                if (!AI_UNSIGNED) weight = weight ^ (int8_t)-128;
                put_left(weights, 16 * t, weight);
            }
        }
        totals[r] = total;
        scores += CK_ATTENTION_I8_BLOCK;
        weights += AI_NEXT_ROW(CK_ATTENTION_I8_BLOCK);
    }
    for (int r = AI_GROUP; r < 16; r++) totals[r] = (u32x16){0};
    // The sums wrap modulo 2^32, which taking the bits of CK_MAGIC off again undoes.
    const u32x16 counted = sum_of_rows(totals) - (packed ? 0u : 16u * (uint32_t)vectors * (uint32_t)CK_MAGIC_BITS);
    return __builtin_convertvector((i32x16)counted, f32x16);
}

/// Whether any of the first n lanes is not 0.
CK_INLINE int any_lane(i32x16 v, int n) {
    int32_t any = 0;
    for (int i = 0; i < n; i++) any |= v[i];
    return any != 0;
}

/// Takes the sums of products of AI_GROUP rows into those of a pass.
CK_INLINE void add_rows(float *sum, const int32_t *sums, const float *value_scale, int32_t dim, const float *befores,
                        const float *nows, const int rescales) {
    for (int r = 0; r < AI_GROUP; r++)
        for (int32_t d = 0; d < dim; d += 16) {
            i32x16 exact;
            memcpy(&exact, sums + r * CK_HEAD_DIM_MAX + d, sizeof exact);
            add_value(sum + r * dim + d, __builtin_convertvector(exact, f32x16), load(value_scale + d), befores[r], nows[r],
                      rescales);
        }
}

/// The part of the block behind `begin` that the tile of queries `row`..<row + AI_ROWS asks for, if any.
CK_INLINE const int8_t *next_block(const int8_t *keys, int32_t begin, int32_t dim, int32_t row, int asks) {
    if (!asks) return NULL;
    return keys + (size_t)(begin + CK_ATTENTION_I8_BLOCK) * (size_t)dim +
           (size_t)(row / AI_ROWS * CK_ATTENTION_I8_BLOCK / (AI_PASS / AI_ROWS)) * (size_t)dim;
}

/// Takes a block of keys into the state of AI_GROUP queries from `first` on; the groups of a pass together ask for the next
/// block, if `asks`.
CK_INLINE void block_group(queries *s, const ck_prepared *p, int32_t dim, int32_t begin, const int32_t padded,
                           const int biased, int32_t first, int asks) {
    _Alignas(64) int32_t sums[AI_GROUP * CK_HEAD_DIM_MAX];
    _Alignas(64) uint8_t weights[AI_GROUP * CK_ATTENTION_I8_BLOCK];
    _Alignas(64) float highest[16], befores[16], nows[16];
    const int32_t block = begin / CK_ATTENTION_I8_BLOCK;
    const size_t at = (size_t)begin * (size_t)dim;
    const uint8_t *q = s->q + first * dim;
    f32x16 maxima[16];
    for (int r = AI_GROUP; r < 16; r++) maxima[r] = splat(CK_ATTENTION_LOWEST);
#ifdef AI_FUSES_64
    if (AI_FUSES(padded / 16))
        for (int r = 0; r < AI_GROUP; r += AI_ROWS)
            score_64(q + r * dim, dim, p, begin, biased, s->scale + first + r, sums + r * CK_ATTENTION_I8_BLOCK, maxima + r,
                     next_block(p->k, begin, dim, first + r, asks));
#endif
    if (!AI_FUSES(padded / 16)) {
        for (int r = 0; r < AI_GROUP; r += AI_ROWS)
            products(q + r * dim, (size_t)dim, p->k + at, dim / AI_STEP, padded,
                     AI_UNSIGNED ? p->key_start + begin : NULL, sums + r * CK_ATTENTION_I8_BLOCK, CK_ATTENTION_I8_BLOCK);
        score(p, begin, padded / 16, biased, s->scale + first, sums, maxima);
    }
    const f32x16 high = largest_of_rows(maxima);
    store(highest, high);

    const f32x16 maximum = load(s->maximum + first);
    const i32x16 rises = high > maximum;
    const f32x16 less = exp16(choose(rises, maximum - high, high - maximum) * CK_P_PER_UNIT);
    const f32x16 before = choose(rises, less, splat(1.0f)), now = choose(rises, splat(1.0f), less);
    const f32x16 raised = choose(rises, high, maximum);
    store(befores, before);
    store(nows, now);
    const f32x16 counted = weigh(sums, highest, padded / 16, weights);
    const f32x16 total = load(s->total + first) * before + counted * now;
    memcpy(s->maximum + first, &raised, AI_GROUP * sizeof(float));
    memcpy(s->total + first, &total, AI_GROUP * sizeof(float));

    const float *value_scale = p->value_scale + block * dim;
    float *sum = s->sum + first * dim;
    // Once a query has seen many keys, its maximum stays.
    const int rescales = any_lane(rises, AI_GROUP);
#ifdef AI_FUSES_64
    if (AI_FUSES(padded / 16)) {
        for (int r = 0; r < AI_GROUP; r += AI_ROWS)
            add_64(weights + r * CK_ATTENTION_I8_BLOCK, dim, p->v + at, value_scale, befores + r, nows + r, rescales,
                   sum + r * dim, next_block(p->v, begin, dim, first + r, asks));
        return;
    }
#endif
    (void)asks;
    for (int r = 0; r < AI_GROUP; r += AI_ROWS)
        products(weights + r * CK_ATTENTION_I8_BLOCK, CK_ATTENTION_I8_BLOCK, p->v + at, padded / AI_STEP, dim,
                 AI_UNSIGNED ? NULL : p->value_start + block * dim, sums + r * CK_HEAD_DIM_MAX, CK_HEAD_DIM_MAX);
    if (rescales)
        add_rows(sum, sums, value_scale, dim, befores, nows, 1);
    else
        add_rows(sum, sums, value_scale, dim, befores, nows, 0);
}

/// Takes `rows` queries from `start` on into the state of a pass.
static void begin_pass(queries *s, const ck_attention_i8_args *a, int32_t start, int32_t rows, int32_t tall) {
    const int32_t dim = a->head_dim;
    for (int32_t r = 0; r < tall; r++) {
#if defined(AI_PANELS)
        int8_t q[CK_HEAD_DIM_MAX];
#else
        int8_t *q = (int8_t *)s->q + r * dim;
#endif
        s->scale[r] = 0.0f;
        if (r < rows) {
            const float *x = a->q + (size_t)(start + r) * (size_t)a->stride_q;
            s->scale[r] = quantize_row(x, NULL, dim, q) * (a->scale * CK_P_UNIT);
        } else {
            memset(q, 0, (size_t)dim);
        }
        if (AI_UNSIGNED)
            for (int32_t d = 0; d < dim; d++) q[d] ^= -128;
#if defined(AI_PANELS)
        uint8_t *row = s->q + r / AI_ROWS * AI_ROWS * dim + r % AI_ROWS * AI_NEXT_ROW(dim);
        for (int32_t d = 0; d < dim; d += 16) put_left(row, d, *(const i8x16_unaligned *)(q + d));
#endif
    }
    for (int32_t r = 0; r < tall + 16; r++) {
        s->maximum[r] = CK_ATTENTION_LOWEST;
        s->total[r] = 0.0f;
    }
    memset(s->sum, 0, (size_t)(tall * dim) * sizeof(float));
}

/// Takes keys begin..<end into the state of a pass.
static void take_keys(queries *s, const ck_attention_i8_args *a, const ck_prepared *p, int32_t begin, int32_t end,
                      int32_t tall, int is_first) {
    for (; begin < end; begin += CK_ATTENTION_I8_BLOCK) {
        const int32_t left = a->keys - begin;
        const int32_t padded = left < CK_ATTENTION_I8_BLOCK ? ck_padded_keys(left) : CK_ATTENTION_I8_BLOCK;
        // Later passes find the keys where the first has brought them.
        const int asks = is_first && left > 2 * CK_ATTENTION_I8_BLOCK;
        for (int32_t first = 0; first < tall; first += AI_GROUP) {
            // Padding is kept out by its bias.
            if (left >= CK_ATTENTION_I8_BLOCK && a->unbiased)
                block_group(s, p, a->head_dim, begin, CK_ATTENTION_I8_BLOCK, 0, first, asks);
            else if (padded == CK_ATTENTION_I8_BLOCK)
                block_group(s, p, a->head_dim, begin, CK_ATTENTION_I8_BLOCK, 1, first, asks);
            else
                block_group(s, p, a->head_dim, begin, padded, 1, first, 0);
        }
    }
}

static void end_pass(const queries *s, const ck_attention_i8_args *a, const ck_prepared *p, int32_t start, int32_t rows) {
    const int32_t dim = a->head_dim;
    for (int32_t r = 0; r < rows; r++) {
        const float inverse = 1.0f / s->total[r];
        float *out = a->out + (size_t)(start + r) * (size_t)a->stride_out;
        for (int32_t d = 0; d < dim; d += 16)
            store(out + d, s->total[r] == 0.0f ? splat(0.0f) : load(s->sum + r * dim + d) * inverse + load(p->center_v + d));
    }
}

void AI_NAME(ck_attention_i8)(const ck_attention_i8_args *a) {
    const ck_prepared p = ck_prepared_at((void *)(uintptr_t)a->prepared, a->keys, a->head_dim);
    const int32_t near = AI_NEAR_BYTES / (2 * a->head_dim) / CK_ATTENTION_I8_BLOCK * CK_ATTENTION_I8_BLOCK;
    queries passes[AI_PASSES];
    for (int32_t start = 0; start < a->queries; start += AI_PASSES * AI_PASS) {
        const int32_t left = a->queries - start, count = left < AI_PASSES * AI_PASS ? left : AI_PASSES * AI_PASS;
        int32_t begin = 0, end;
        do {
            end = a->keys - begin < near ? a->keys : begin + near;
            for (int32_t row = 0; row < count; row += AI_PASS) {
                queries *s = passes + row / AI_PASS;
                const int32_t rows = count - row < AI_PASS ? count - row : AI_PASS;
                const int32_t tall = (rows + AI_GROUP - 1) / AI_GROUP * AI_GROUP;
                if (begin == 0) begin_pass(s, a, start + row, rows, tall);
                take_keys(s, a, &p, begin, end, tall, row == 0);
                if (end == a->keys) end_pass(s, a, &p, start + row, rows);
            }
            begin = end;
        } while (end < a->keys);
    }
}
