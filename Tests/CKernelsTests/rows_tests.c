#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static void fill_hard(rng *r, float *x, int32_t n, int hard) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-42f, 3e38f, -3e38f};
    rng_fill(r, x, (size_t)n);
    for (int32_t i = 0; i < n; i++)
        if (hard && rng_below(r, 8) == 0) x[i] = special[rng_below(r, 8)];
}

static void rows_case(test *t, rng *r, int32_t n, int hard, int at_end) {
    const size_t bytes = (size_t)n * 4;
    float *x = guarded(bytes, at_end), *got = guarded(bytes, at_end), *want = guarded(bytes, at_end);
    float *vectors[4];
    for (int i = 0; i < 4; i++) {
        vectors[i] = guarded(bytes, at_end);
        rng_fill(r, vectors[i], (size_t)n);
    }
    fill_hard(r, x, n, hard);
    char what[96];
    for (int given = 0; given < 16; given++) {
        const float *p[4];
        for (int i = 0; i < 4; i++) p[i] = (given >> i & 1) != 0 ? vectors[i] : NULL;
        snprintf(what, sizeof what, "layer_norm n %d given %x hard %d", n, given, hard);
        t->k->layer_norm(x, n, 1e-6f, p[0], p[1], p[2], p[3], got);
        t->reference->layer_norm(x, n, 1e-6f, p[0], p[1], p[2], p[3], want);
        compare(t, got, want, (size_t)n, what);
    }
    for (int given = 0; given < 2; given++) {
        snprintf(what, sizeof what, "rms_norm n %d gamma %d hard %d", n, given, hard);
        t->k->rms_norm(x, n, 1e-6f, given ? vectors[0] : NULL, got);
        t->reference->rms_norm(x, n, 1e-6f, given ? vectors[0] : NULL, want);
        compare(t, got, want, (size_t)n, what);
        snprintf(what, sizeof what, "add_gated n %d gate %d hard %d", n, given, hard);
        memcpy(got, vectors[1], bytes);
        memcpy(want, vectors[1], bytes);
        t->k->add_gated(got, x, given ? vectors[0] : NULL, n);
        t->reference->add_gated(want, x, given ? vectors[0] : NULL, n);
        compare(t, got, want, (size_t)n, what);
    }
    snprintf(what, sizeof what, "axpby n %d hard %d", n, hard);
    memcpy(got, vectors[1], bytes);
    memcpy(want, vectors[1], bytes);
    t->k->axpby(1.7f, x, -0.3f, got, n);
    t->reference->axpby(1.7f, x, -0.3f, want, n);
    compare(t, got, want, (size_t)n, what);
    snprintf(what, sizeof what, "soft_clamp n %d hard %d", n, hard);
    t->k->soft_clamp(x, got, n);
    t->reference->soft_clamp(x, want, n);
    compare(t, got, want, (size_t)n, what);
    for (int a = 0; a <= CK_ACTIVATION_RELU; a++) {  // in place
        snprintf(what, sizeof what, "activate %d n %d hard %d", a, n, hard);
        memcpy(got, x, bytes);
        t->k->activate(got, got, n, (ck_activation)a);
        t->reference->activate(x, want, n, (ck_activation)a);
        compare(t, got, want, (size_t)n, what);
    }
    guarded_free_all();
}

static void rotary_case(test *t, rng *r, int32_t heads, int32_t head_dim, int at_end) {
    const size_t n = (size_t)heads * (size_t)head_dim, pairs = (size_t)head_dim / 2;
    float *got = guarded(n * 4, at_end), *want = guarded(n * 4, at_end);
    float *cosine = guarded(pairs * 4, at_end), *sine = guarded(pairs * 4, at_end);
    rng_fill(r, got, n);
    memcpy(want, got, n * 4);
    for (size_t i = 0; i < pairs; i++) {
        const float angle = 100.0f * rng_float(r);
        cosine[i] = ck_cos(angle);
        sine[i] = ck_sin(angle);
    }
    double before = 0, after = 0;
    for (size_t i = 0; i < n; i++) before += (double)got[i] * (double)got[i];
    t->k->rotary(got, heads, head_dim, cosine, sine);
    t->reference->rotary(want, heads, head_dim, cosine, sine);
    char what[64];
    snprintf(what, sizeof what, "rotary heads %d head_dim %d", heads, head_dim);
    compare(t, got, want, n, what);
    for (size_t i = 0; i < n; i++) after += (double)got[i] * (double)got[i];
    expect(t, fabs(after - before) < 1e-5 * before, "%s: the length changed from %g to %g", what, before, after);
    guarded_free_all();
}

/// What the definitions say, on numbers one can check by head.
static void known_values(test *t) {
    const float x[4] = {1, 2, 3, 4}, two[4] = {2, 2, 2, 2}, one[4] = {1, 1, 1, 1};
    float y[4];
    t->k->layer_norm(x, 4, 0, NULL, NULL, NULL, NULL, y);
    expect(t, fabsf(y[0] + 1.3416408f) < 1e-6f && fabsf(y[3] - 1.3416408f) < 1e-6f, "layer_norm of 1 2 3 4");
    t->k->layer_norm(x, 4, 0, two, one, one, two, y);
    expect(t, fabsf(y[3] - ((1.3416408f * 2 + 1) * 2 + 2)) < 1e-5f, "layer_norm with all its parameters");
    t->k->rms_norm(x, 4, 0, two, y);
    expect(t, fabsf(y[1] - 4.0f / sqrtf(7.5f)) < 1e-6f, "rms_norm of 1 2 3 4");
    float pair[4] = {1, 0, 0, 1};
    const float c[2] = {0, 0}, s[2] = {1, 1};
    t->k->rotary(pair, 1, 4, c, s);
    expect(t, pair[0] == 0 && pair[1] == 1 && pair[2] == -1 && pair[3] == 0, "rotary by a quarter");
}

void test_rows(test *t) {
    rng r = rng_seeded(t, 7);
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t n = 1; n <= 70; n++) rows_case(t, &r, n, n % 3 == 0, at_end);
        rows_case(t, &r, 1536, 0, at_end);
        rows_case(t, &r, 1000, 1, at_end);
        for (int32_t head_dim = 2; head_dim <= 130; head_dim += 2)
            rotary_case(t, &r, 1 + head_dim % 5, head_dim, at_end);
    }
    known_values(t);
}
