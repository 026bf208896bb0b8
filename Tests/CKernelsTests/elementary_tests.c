#include <float.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

void test_levels(test *t) {
    for (int level = -1; level <= CK_LEVEL_COUNT; level++) {
        const char *name = ck_level_name((ck_level)level);
        const int known = level >= 0 && level < CK_LEVEL_COUNT;
        expect(t, (name != NULL) == known, "name of level %d", level);
        if (known) expect(t, ck_level_named(name) == level, "level named %s", name);
        const ck_kernels *table = ck_kernels_at((ck_level)level);
        expect(t, (table != NULL) == (ck_level_supported((ck_level)level) != 0), "table of level %d", level);
        if (table != NULL) expect(t, (int)table->level == level, "the table of level %d says %d", level, table->level);
    }
    expect(t, ck_level_named("") == -1 && ck_level_named("sse9") == -1 && ck_level_named(NULL) == -1, "unknown names");
    expect(t, ck_level_supported(ck_level_best()), "the best level is not supported");
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static double ulp_of(double exact) {
    int exponent;
    frexp(exact, &exponent);
    return ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
}

/// The largest error in units in the last place over floats evenly spread over all bit patterns within ±limit.
static void bound(test *t, const char *name, float (*f)(float), double (*exact)(double), float low, float high,
                  double limit) {
    double worst = 0;
    float at = 0;
    for (uint64_t b = 0; b < 0x100000000ull; b += 40009) {
        const float x = float_of((uint32_t)b);
        if (!(x >= low && x <= high)) continue;
        const float got = f(x);
        compare(t, &got, &got, 1, name);
        const double want = exact((double)x);
        const double error = fabs((double)got - want) / ulp_of(want);
        if (!(error <= worst)) {
            worst = error;
            at = x;
        }
    }
    // where the bits of a float are spread thin
    for (int i = 0; i <= 100000; i++) {
        const float x = (float)((double)low + ((double)high - (double)low) * (double)i * 1e-5);
        const double want = exact((double)x), error = fabs((double)f(x) - want) / ulp_of(want);
        if (!(error <= worst)) {
            worst = error;
            at = x;
        }
    }
    expect(t, worst <= limit, "%s is off by %.3f ulp at %.9g, limit %.3f", name, worst, (double)at, limit);
}

void test_elementary(test *t) {
    bound(t, "exp", ck_exp, exp, -87.3365f, 88.722f, 1.1);
    bound(t, "tanh", ck_tanh, tanh, -20.0f, 20.0f, 2.0);
    bound(t, "erf", ck_erf, erf, -6.0f, 6.0f, 2.0);
    bound(t, "log", ck_log, log, 1e-45f, FLT_MAX, 0.51);
    bound(t, "log", ck_log, log, 0.5f, 2.0f, 0.51);
    bound(t, "sin", ck_sin, sin, -1048576.0f, 1048576.0f, 0.51);
    bound(t, "sin", ck_sin, sin, -7.0f, 7.0f, 0.51);
    bound(t, "cos", ck_cos, cos, -1048576.0f, 1048576.0f, 0.51);
    bound(t, "cos", ck_cos, cos, -7.0f, 7.0f, 0.51);
    expect(t, ck_exp(0.0f) == 1.0f && ck_exp(-INFINITY) == 0.0f && ck_exp(INFINITY) == INFINITY, "exp at its ends");
    expect(t, ck_exp(-88.0f) == 0.0f && ck_exp(89.0f) == INFINITY && isnan(ck_exp(NAN)), "exp out of range");
    expect(t, ck_tanh(INFINITY) == 1.0f && ck_tanh(-INFINITY) == -1.0f && isnan(ck_tanh(NAN)), "tanh at its ends");
    expect(t, ck_erf(INFINITY) == 1.0f && ck_erf(-INFINITY) == -1.0f && isnan(ck_erf(NAN)), "erf at its ends");
    expect(t, ck_log(0.0f) == -INFINITY && ck_log(INFINITY) == INFINITY && ck_log(1.0f) == 0.0f, "log at its ends");
    expect(t, isnan(ck_log(-1.0f)) && isnan(ck_log(NAN)), "log out of range");
    expect(t, ck_sin(0.0f) == 0.0f && signbit(ck_sin(-0.0f)) && ck_cos(0.0f) == 1.0f, "sin and cos at 0");
    expect(t, isnan(ck_sin(INFINITY)) && isnan(ck_cos(NAN)) && isnan(ck_sin(1048577.0f)), "sin and cos out of range");

    // The vector forms against the scalar ones: the reference's activations are made of ck_exp, ck_tanh and ck_erf.
    enum { CHUNK = 1009 };
    float x[CHUNK], got[CHUNK], want[CHUNK];
    for (int a = CK_ACTIVATION_NONE; a <= CK_ACTIVATION_RELU + 1; a++) {
        uint32_t bits = 0;
        for (int chunk = 0; chunk < 160; chunk++) {
            for (int i = 0; i < CHUNK; i++) {
                // half over all bit patterns, half over the range where something happens
                x[i] = chunk % 2 == 0 ? float_of(bits) : (float)((int32_t)(bits % 400000u) - 200000) * 1e-4f;
                // Compilers are free with signalling NaNs, which no arithmetic gives.
                if (x[i] != x[i]) x[i] = NAN;
                bits += 0x9E3779B9u;
            }
            if (a <= CK_ACTIVATION_RELU) {
                t->k->activate(x, got, CHUNK, (ck_activation)a);
                t->reference->activate(x, want, CHUNK, (ck_activation)a);
            } else {
                t->k->soft_clamp(x, got, CHUNK);
                t->reference->soft_clamp(x, want, CHUNK);
            }
            char what[64];
            snprintf(what, sizeof what, "activation %d", a);
            compare(t, got, want, CHUNK, what);
        }
    }
}

void test_philox(test *t) {
    // The vectors published with Random123 (kat_vectors, philox4x32 10).
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        ck_philox(known[i].counter, known[i].key, out);
        expect(t, memcmp(out, known[i].out, sizeof out) == 0, "philox vector %d gives %08x %08x %08x %08x", i, out[0],
               out[1], out[2], out[3]);
    }
    enum { N = 200000 };
    static float x[N];
    double sum = 0, square = 0, cube = 0, fourth = 0, product = 0;
    ck_normal(t->seed, 0, 0, x, N);
    compare(t, x, x, N, "normal");
    for (int i = 0; i < N; i++) {
        const double v = (double)x[i];
        sum += v;
        square += v * v;
        cube += v * v * v;
        fourth += v * v * v * v;
        if (i > 0) product += v * (double)x[i - 1];
    }
    // five standard deviations of each estimate
    const double s = 5.0 / sqrt((double)N);
    expect(t, fabs(sum / N) < s, "mean of normals %g", sum / N);
    expect(t, fabs(square / N - 1) < s * sqrt(2.0), "variance of normals %g", square / N);
    expect(t, fabs(cube / N) < s * sqrt(15.0), "third moment of normals %g", cube / N);
    expect(t, fabs(fourth / N - 3) < s * sqrt(96.0), "fourth moment of normals %g", fourth / N);
    expect(t, fabs(product / N) < s, "neighbouring normals correlate: %g", product / N);
    float part[40];
    for (size_t first = 0; first < 9; first++)
        for (size_t n = 0; n < 30; n++) {
            part[n] = 123.0f;
            ck_normal(t->seed, 0, first, part, n);
            expect(t, memcmp(part, x + first, n * sizeof(float)) == 0 && part[n] == 123.0f,
                   "normals from %zu, %zu of them, are others", first, n);
        }
    ck_normal(t->seed, 1, 0, part, 4);
    expect(t, part[0] != x[0] && part[3] != x[3], "streams are equal");
}
