#include <stdio.h>
#include <stdlib.h>

#include "test.h"

typedef enum bias_kind { NO_BIAS, SOME_BIAS, MASKED, ALL_MASKED } bias_kind;

static double exact(const ck_attention_f32_args *a, int32_t query, int32_t d) {
    double largest = -INFINITY, total = 0, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int32_t j = 0; j < a->keys; j++) {
            double s = 0;
            for (int32_t i = 0; i < a->head_dim; i++)
                s += (double)a->q[(size_t)query * (size_t)a->stride_q + (size_t)i] *
                     (double)a->k[(size_t)j * (size_t)a->stride_k + (size_t)i];
            s *= (double)a->scale;
            if (a->key_bias != NULL) s += (double)a->key_bias[j];
            if (pass == 0) {
                if (s > largest) largest = s;
            } else if (largest > -INFINITY) {
                total += exp(s - largest);
                sum += exp(s - largest) * (double)a->v[(size_t)j * (size_t)a->stride_v + (size_t)d];
            }
        }
    return total > 0 ? sum / total : 0;
}

static void attention_case(test *t, rng *r, int32_t queries, int32_t keys, int32_t head_dim, bias_kind kind,
                           float spread, int at_end) {
    ck_attention_f32_args a = {.queries = queries, .keys = keys, .head_dim = head_dim};
    a.stride_q = head_dim + 16 * (keys % 2);
    a.stride_k = head_dim + queries % 5;
    a.stride_v = head_dim + 3 * (queries % 2);
    a.stride_out = head_dim + keys % 3;
    a.scale = spread / sqrtf((float)head_dim);
    const size_t used_q = (size_t)(queries - 1) * (size_t)a.stride_q + (size_t)head_dim;
    const size_t used_k = keys > 0 ? (size_t)(keys - 1) * (size_t)a.stride_k + (size_t)head_dim : 0;
    const size_t used_v = keys > 0 ? (size_t)(keys - 1) * (size_t)a.stride_v + (size_t)head_dim : 0;
    const size_t used_out = (size_t)(queries - 1) * (size_t)a.stride_out + (size_t)head_dim;
    float *q = guarded(used_q * 4, at_end), *k = guarded(used_k * 4, at_end), *v = guarded(used_v * 4, at_end);
    float *bias = guarded((size_t)keys * 4, at_end);
    float *got = guarded(used_out * 4, at_end), *want = guarded(used_out * 4, at_end);
    rng_fill(r, q, used_q);
    rng_fill(r, k, used_k);
    rng_fill(r, v, used_v);
    for (int32_t j = 0; j < keys; j++) {
        bias[j] = logf((float)(1 + rng_below(r, 500)));
        if (kind == ALL_MASKED || (kind == MASKED && rng_below(r, 2) == 0)) bias[j] = -INFINITY;
    }
    a.q = q;
    a.k = k;
    a.v = v;
    a.key_bias = kind == NO_BIAS ? NULL : bias;
    a.out = got;
    t->k->attention_f32(&a);
    a.out = want;
    t->reference->attention_f32(&a);
    char what[128];
    snprintf(what, sizeof what, "attention queries %d keys %d head_dim %d bias %d guard %s", queries, keys, head_dim,
             kind, at_end ? "after" : "before");
    compare(t, got, want, used_out, what);
    for (int32_t i = 0; i < queries; i += 3)
        for (int32_t d = 0; d < head_dim; d += 17) {
            const double value = (double)got[(size_t)i * (size_t)a.stride_out + (size_t)d], should = exact(&a, i, d);
            expect(t, fabs(value - should) < 1e-5 * (1 + (double)spread), "%s: query %d dim %d is %g, not %g", what, i,
                   d, value, should);
        }
    guarded_free_all();
}

/// One key with bias log(n) is n equal keys: what the engine does to the padding tokens of a text.
static void collapsed(test *t) {
    enum { DIM = 32, KEYS = 100, SAME = 90 };
    static float k[KEYS * DIM], v[KEYS * DIM], q[DIM], all[DIM], few[DIM], bias[KEYS];
    rng r = rng_seeded(t, 5);
    rng_fill(&r, k, KEYS * DIM);
    rng_fill(&r, v, KEYS * DIM);
    rng_fill(&r, q, DIM);
    for (int j = KEYS - SAME + 1; j < KEYS; j++)
        for (int d = 0; d < DIM; d++) {
            k[j * DIM + d] = k[(KEYS - SAME) * DIM + d];
            v[j * DIM + d] = v[(KEYS - SAME) * DIM + d];
        }
    ck_attention_f32_args a = {.q = q, .k = k, .v = v, .out = all, .queries = 1, .keys = KEYS, .head_dim = DIM,
                               .stride_q = DIM, .stride_k = DIM, .stride_v = DIM, .stride_out = DIM, .scale = 0.2f};
    t->k->attention_f32(&a);
    bias[KEYS - SAME] = ck_log((float)SAME);
    a.key_bias = bias;
    a.keys = KEYS - SAME + 1;
    a.out = few;
    t->k->attention_f32(&a);
    for (int d = 0; d < DIM; d++)
        expect(t, fabsf(all[d] - few[d]) < 1e-5f, "collapsed keys give %g, not %g", (double)few[d], (double)all[d]);
}

void test_attention(test *t) {
    rng r = rng_seeded(t, 4);
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t keys = 0; keys <= 200; keys += keys < 70 ? 1 : 13)
            attention_case(t, &r, 1 + keys % 6, keys, 16 * (1 + keys % 5), (bias_kind)(keys % 3), 3.0f, at_end);
        for (int32_t queries = 1; queries <= 33; queries += 1 + queries / 8)
            attention_case(t, &r, queries, 130, 64, NO_BIAS, 30.0f, at_end);
        attention_case(t, &r, 5, 65, 256, SOME_BIAS, 300.0f, at_end);
        attention_case(t, &r, 5, 70, 144, ALL_MASKED, 1.0f, at_end);
        attention_case(t, &r, 7, 193, 128, MASKED, 10.0f, at_end);
    }
    collapsed(t);
}
