#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

typedef enum contents {
    PLAIN,        // uniform
    SATURATED,    // every quantized value is 127 or -127
    SMALL,        // below what is quantized as zeros, and around
    NON_FINITE,   // NaNs, infinities, the largest floats
    TIED,         // every row of v the same values, turned: which norm is the smallest is decided by rounding
    CONTENTS
} contents;

typedef enum bias_kind { NO_BIAS, SOME_BIAS, MASKED, ALL_MASKED, WILD, BIASES } bias_kind;

/// A head's inputs, outputs of the level and of the reference, all between unreadable pages.
typedef struct head {
    ck_attention_i8_keys keys;
    ck_attention_i8_args args;
    size_t used_out;
    float *bias, *got, *want;
    void *got_prepared, *want_prepared;
} head;

static void fill(rng *r, float *x, size_t n, contents kind) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 3.4e38f, -3.4e38f, 1e30f, 0.0f, -0.0f, 1e-42f, 1.0f};
    for (size_t i = 0; i < n; i++) {
        x[i] = rng_float(r);
        if (kind == SATURATED) x[i] = x[i] < 0 ? -1.0f : 1.0f;
        if (kind == SMALL) x[i] = x[i] * 2e-36f;
        if (kind == NON_FINITE && rng_below(r, 40) == 0) x[i] = special[rng_below(r, 10)];
    }
}

static size_t used(int32_t rows, int32_t stride, int32_t head_dim) {
    return rows > 0 ? (size_t)(rows - 1) * (size_t)stride + (size_t)head_dim : 0;
}

static head make_head(rng *r, int32_t queries, int32_t keys, int32_t head_dim, bias_kind kind, contents what,
                      float spread, int at_end) {
    head h = {.keys = {.keys = keys, .head_dim = head_dim, .stride_k = head_dim + queries % 5,
                       .stride_v = head_dim + 3 * (queries % 2)},
              .args = {.queries = queries, .keys = keys, .head_dim = head_dim, .stride_q = head_dim + 16 * (keys % 2),
                       .stride_out = head_dim + keys % 3, .scale = spread / sqrtf((float)head_dim)}};
    const size_t used_q = used(queries, h.args.stride_q, head_dim), used_k = used(keys, h.keys.stride_k, head_dim);
    const size_t used_v = used(keys, h.keys.stride_v, head_dim), bytes = ck_attention_i8_bytes(keys, head_dim);
    h.used_out = used(queries, h.args.stride_out, head_dim);
    float *q = guarded(used_q * 4, at_end), *k = guarded(used_k * 4, at_end), *v = guarded(used_v * 4, at_end);
    h.bias = guarded((size_t)keys * 4, at_end);
    h.got = guarded(h.used_out * 4, at_end), h.want = guarded(h.used_out * 4, at_end);
    h.got_prepared = guarded(bytes, at_end), h.want_prepared = guarded(bytes, at_end);
    fill(r, q, used_q, what);
    fill(r, k, used_k, what);
    fill(r, v, used_v, what);
    for (int32_t j = 1; j < keys && what == TIED; j++)
        for (int32_t d = 0; d < head_dim; d++)
            v[(size_t)j * (size_t)h.keys.stride_v + (size_t)d] = v[(size_t)((d + j) % head_dim)];
    for (int32_t j = 0; j < keys; j++) {
        h.bias[j] = logf((float)(1 + rng_below(r, 500)));
        if (kind == ALL_MASKED || (kind == MASKED && rng_below(r, 2) == 0)) h.bias[j] = -INFINITY;
        if (kind == WILD && rng_below(r, 50) == 0) h.bias[j] = rng_below(r, 2) == 0 ? NAN : 3e38f;
    }
    h.keys.k = k;
    h.keys.v = v;
    h.keys.key_bias = kind == NO_BIAS ? NULL : h.bias;
    h.args.q = q;
    h.args.unbiased = kind == NO_BIAS && queries % 2 == 0;
    return h;
}

/// Prepares and attends, blocks of keys and rows of queries in portions of `portion` (0: all at once).
static void attend(const ck_kernels *k, head *h, void *prepared, float *out, int32_t portion) {
    h->keys.prepared = prepared;
    const int32_t blocks = (h->keys.keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK;
    k->attention_i8_center(&h->keys);
    if (portion == 0)
        k->attention_i8_pack(&h->keys, 0, blocks);
    else
        for (int32_t block = blocks - 1; block >= 0; block--) k->attention_i8_pack(&h->keys, block, block + 1);
    ck_attention_i8_args a = h->args;
    a.prepared = prepared;
    const int32_t step = portion == 0 ? a.queries : portion;
    for (int32_t first = 0; first < h->args.queries; first += step) {
        a.queries = h->args.queries - first < step ? h->args.queries - first : step;
        a.q = h->args.q + (size_t)first * (size_t)a.stride_q;
        a.out = out + (size_t)first * (size_t)a.stride_out;
        k->attention_i8(&a);
    }
}

static void compared(test *t, rng *r, int32_t queries, int32_t keys, int32_t head_dim, bias_kind kind, contents what,
                     float spread, int32_t portion, int at_end) {
    head h = make_head(r, queries, keys, head_dim, kind, what, spread, at_end);
    attend(t->k, &h, h.got_prepared, h.got, portion);
    attend(t->reference, &h, h.want_prepared, h.want, 0);
    char name[160];
    snprintf(name, sizeof name, "attention_i8 queries %d keys %d head_dim %d bias %d contents %d portion %d guard %s",
             queries, keys, head_dim, kind, what, portion, at_end ? "after" : "before");
    compare(t, h.got, h.want, h.used_out, name);
    for (int32_t i = 0; i < queries && (what != NON_FINITE || kind == ALL_MASKED); i++)
        for (int32_t d = 0; d < head_dim; d++) {
            const float x = h.got[(size_t)i * (size_t)h.args.stride_out + (size_t)d];
            expect(t, kind == ALL_MASKED || keys == 0 ? x == 0 : isfinite(x), "%s: %g", name, (double)x);
        }
    guarded_free_all();
}

static double gauss(rng *r) {
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += (double)rng_float(r);
    return sum / 2;
}

typedef enum input { ORDINARY, SINK, WEAK_SINK, PEAK_AND_TAIL, OUTLIER_CHANNELS, OUTLIER_KEYS, VALUE_OFFSET, INPUTS } input;
static const char *const input_names[INPUTS] = {"ordinary", "attention sink", "weaker attention sink",
                                                "one peak and a long tail", "outlier channels of k", "outlier keys",
                                                "values with an offset"};

/// The cosine between attention in int8 and in double, over all queries.
static double cosine(const ck_kernels *kernels, rng *r, input kind, int32_t queries, int32_t keys, int32_t dim) {
    float *q = malloc(sizeof(float) * (size_t)(queries * dim)), *k = malloc(sizeof(float) * (size_t)(keys * dim));
    float *v = malloc(sizeof(float) * (size_t)(keys * dim)), *out = malloc(sizeof(float) * (size_t)(queries * dim));
    double *p = malloc(sizeof(double) * (size_t)keys);
    void *prepared = aligned_alloc(64, ck_attention_i8_bytes(keys, dim));
    if (q == NULL || k == NULL || v == NULL || out == NULL || p == NULL || prepared == NULL) exit(2);
    for (int32_t i = 0; i < queries * dim; i++) q[i] = (float)gauss(r);
    for (int32_t i = 0; i < keys * dim; i++) k[i] = (float)gauss(r), v[i] = (float)gauss(r);
    for (int32_t d = 0; d < dim; d++) {
        if (kind == SINK || kind == WEAK_SINK) {  // every query looks at key 0, whose value is small
            for (int32_t i = 0; i < queries; i++) q[i * dim + d] += 2;
            k[d] = kind == SINK ? 3.0f : 0.4f;
            v[d] *= 0.05f;
        }
        for (int32_t j = 0; j < keys; j++) {
            if (kind == PEAK_AND_TAIL) k[j * dim + d] *= 0.3f;
            if (kind == OUTLIER_CHANNELS) k[j * dim + d] += d == 3 ? 40.0f : d == dim / 2 ? -25.0f : 0.0f;
            if (kind == OUTLIER_KEYS && j % 37 == 0) k[j * dim + d] *= 20;
            if (kind == VALUE_OFFSET) v[j * dim + d] += 6.0f * (float)d / (float)dim - 3;
        }
        if (kind == OUTLIER_KEYS)
            for (int32_t i = 0; i < queries; i++) q[i * dim + d] *= 0.3f;
    }
    if (kind == PEAK_AND_TAIL)  // query i finds one key of its own far above all others
        for (int32_t i = 0; i < queries; i++)
            for (int32_t d = 0; d < dim; d++) k[i * 7 % keys * dim + d] += 0.7f * q[i * dim + d];
    const ck_attention_i8_keys a = {.k = k, .v = v, .prepared = prepared, .keys = keys, .head_dim = dim,
                                    .stride_k = dim, .stride_v = dim};
    const ck_attention_i8_args b = {.q = q, .out = out, .prepared = prepared, .queries = queries, .keys = keys,
                                    .head_dim = dim, .stride_q = dim, .stride_out = dim,
                                    .scale = 1 / sqrtf((float)dim)};
    kernels->attention_i8_center(&a);
    kernels->attention_i8_pack(&a, 0, (keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK);
    kernels->attention_i8(&b);
    double both = 0, ours = 0, theirs = 0;
    for (int32_t i = 0; i < queries; i++) {
        double largest = -INFINITY, total = 0;
        for (int32_t j = 0; j < keys; j++) {
            p[j] = 0;
            for (int32_t d = 0; d < dim; d++) p[j] += (double)q[i * dim + d] * (double)k[j * dim + d];
            p[j] *= (double)b.scale;
            if (p[j] > largest) largest = p[j];
        }
        for (int32_t j = 0; j < keys; j++) total += p[j] = exp(p[j] - largest);
        for (int32_t d = 0; d < dim; d++) {
            double x = 0;
            for (int32_t j = 0; j < keys; j++) x += p[j] * (double)v[j * dim + d];
            x /= total;
            both += x * (double)out[i * dim + d];
            theirs += x * x;
            ours += (double)out[i * dim + d] * (double)out[i * dim + d];
        }
    }
    free(q), free(k), free(v), free(out), free(p), free(prepared);
    return both / sqrt(ours * theirs);
}

static void accurate(test *t) {
    for (int kind = ORDINARY; kind < INPUTS; kind++) {
        rng r = rng_seeded(t, 40 + (uint64_t)kind);
        for (int large = 0; large < 2; large++) {
            const double c = cosine(t->k, &r, (input)kind, large ? 24 : 80, large ? 1000 : 320, large ? 128 : 64);
            expect(t, c >= 0.9995, "attention_i8 of %s, %s: cosine %.6f", input_names[kind],
                   large ? "1000 keys, head 128" : "320 keys, head 64", c);
        }
    }
}

/// One key with bias log(n) is n equal keys.
static void collapsed(test *t) {
    enum { DIM = 32, KEYS = 100, SAME = 90 };
    static float k[KEYS * DIM], v[KEYS * DIM], q[DIM], all[DIM], few[DIM], bias[KEYS];
    rng r = rng_seeded(t, 6);
    rng_fill(&r, k, KEYS * DIM);
    rng_fill(&r, v, KEYS * DIM);
    rng_fill(&r, q, DIM);
    for (int j = KEYS - SAME + 1; j < KEYS; j++) {
        memcpy(k + j * DIM, k + (KEYS - SAME) * DIM, sizeof(float) * DIM);
        memcpy(v + j * DIM, v + (KEYS - SAME) * DIM, sizeof(float) * DIM);
    }
    void *prepared = guarded(ck_attention_i8_bytes(KEYS, DIM), 0);
    for (int some = 0; some < 2; some++) {
        const int32_t keys = some ? KEYS - SAME + 1 : KEYS;
        bias[KEYS - SAME] = ck_log((float)SAME);
        const ck_attention_i8_keys a = {.k = k, .v = v, .key_bias = some ? bias : NULL, .prepared = prepared,
                                        .keys = keys, .head_dim = DIM, .stride_k = DIM, .stride_v = DIM};
        const ck_attention_i8_args b = {.q = q, .out = some ? few : all, .prepared = prepared, .queries = 1,
                                        .keys = keys, .head_dim = DIM, .stride_q = DIM, .stride_out = DIM,
                                        .scale = 0.2f};
        t->k->attention_i8_center(&a);
        t->k->attention_i8_pack(&a, 0, (keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK);
        t->k->attention_i8(&b);
    }
    for (int d = 0; d < DIM; d++)
        expect(t, fabsf(all[d] - few[d]) < 0.01f, "collapsed keys give %g, not %g", (double)few[d], (double)all[d]);
    guarded_free_all();
}

void test_attention_i8(test *t) {
    rng r = rng_seeded(t, 8);
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t keys = 0; keys <= 300; keys += keys < 34 ? 1 : 19)
            compared(t, &r, 1 + keys % 15, keys, 16 * (1 + keys % 5), (bias_kind)(keys % 3), PLAIN, 3.0f, 0, at_end);
        for (int32_t dim = 16; dim <= 256; dim += 16)
            compared(t, &r, 1 + dim % 7, 140, dim, SOME_BIAS, (contents)(dim / 16 % CONTENTS), 10.0f, 0, at_end);
        for (int32_t dim = 16; dim <= 256; dim += 16)  // whole blocks, and one that padding fills
            compared(t, &r, 26, 184, dim, NO_BIAS, PLAIN, 10.0f, 0, at_end);
        for (int32_t queries = 1; queries <= 100; queries += 1 + queries / 9)
            compared(t, &r, queries, 130, 48, NO_BIAS, PLAIN, 30.0f, 0, at_end);
        for (int32_t portion = 1; portion <= 61; portion += 4)
            compared(t, &r, 61, 270, 32, MASKED, PLAIN, 8.0f, portion, at_end);
        for (int what = PLAIN; what < CONTENTS; what++)
            for (int kind = NO_BIAS; kind < BIASES; kind++) {
                compared(t, &r, 7, 257, 64, (bias_kind)kind, (contents)what, what == SMALL ? 1e36f : 1.0f, 0, at_end);
                compared(t, &r, 5, 40, 128, (bias_kind)kind, (contents)what, 1e6f, 0, at_end);
            }
        compared(t, &r, 6, 128, 256, NO_BIAS, SATURATED, 1000.0f, 0, at_end);
        compared(t, &r, 0, 20, 64, NO_BIAS, PLAIN, 1.0f, 0, at_end);
        // More keys than L2 holds, more queries than share them.
        compared(t, &r, 8, 6200, 128, NO_BIAS, PLAIN, 8.0f, 0, at_end);
        compared(t, &r, 101, 1601, 128, SOME_BIAS, PLAIN, 8.0f, 0, at_end);
        compared(t, &r, 25, 500, 256, MASKED, PLAIN, 8.0f, 0, at_end);
    }
    collapsed(t);
    accurate(t);
}
