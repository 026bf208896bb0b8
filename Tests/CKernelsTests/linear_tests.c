#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static size_t padded_to(int32_t n, int32_t multiple) { return (size_t)((n + multiple - 1) / multiple * multiple); }

static void quantize_case(test *t, rng *r, int32_t rows, int32_t in, size_t stride, int at_end) {
    const size_t padded = padded_to(in, 16), used = (size_t)(rows - 1) * stride + (size_t)in;
    float *x = guarded(used * 4, at_end);
    int8_t *got = guarded((size_t)rows * padded, at_end), *want = guarded((size_t)rows * padded, at_end);
    float *got_scale = guarded((size_t)rows * 4, at_end), *want_scale = guarded((size_t)rows * 4, at_end);
    rng_fill(r, x, used);
    static const float special[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-42f, 3.4e38f, -3.4e38f, 1e-37f, 0.5f};
    for (int32_t row = 0; row < rows; row++) {
        float *values = x + (size_t)row * stride;
        const int kind = (row + rows) % 6;
        for (int32_t i = 0; i < in; i++) {
            if (kind == 1 && rng_below(r, 4) == 0) values[i] = special[rng_below(r, 10)];
            if (kind == 2) values[i] = 0.0f;
            if (kind == 3) values[i] = values[i] * 1e-38f;
            if (kind == 4) values[i] = (float)(rng_below(r, 509) - 254) * 0.5f;  // halves: ties
            if (kind == 5) values[i] = rng_below(r, 2) ? NAN : values[i] * 1e38f;
        }
        if (kind == 4) values[rng_below(r, in)] = 127.0f;
    }
    t->k->quantize_rows(x, stride, rows, in, got, got_scale);
    t->reference->quantize_rows(x, stride, rows, in, want, want_scale);
    char what[96];
    snprintf(what, sizeof what, "quantize_rows rows %d in %d stride %zu", rows, in, stride);
    compare_bytes(t, got, want, (size_t)rows * padded, what);
    compare(t, got_scale, want_scale, (size_t)rows, what);
    for (int32_t row = 0; row < rows; row++) {
        double largest = 0;
        const float *values = x + (size_t)row * stride;
        const int8_t *q = got + (size_t)row * padded;
        for (int32_t i = 0; i < in; i++)
            if (fabs((double)values[i]) > largest) largest = fabs((double)values[i]);
        for (int32_t i = 0; i < (int32_t)padded; i++) {
            double exact = i < in && largest > 1e-36 && values[i] == values[i] ? (double)values[i] * 127 / largest : 0;
            if (i < in && isinf(largest)) exact = isinf(values[i]) ? copysign(127, (double)values[i]) : q[i];
            expect(t, fabs(exact - q[i]) <= 0.5001, "%s: row %d, input %d: %d for %g", what, row, i, q[i], exact);
        }
    }
    guarded_free_all();
}

void test_quantize(test *t) {
    rng r = rng_seeded(t, 1);
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t in = 1; in <= 70; in++) quantize_case(t, &r, 1 + in % 7, in, (size_t)in, at_end);
        for (int32_t rows = 1; rows <= 33; rows++) quantize_case(t, &r, rows, 100, 131, at_end);
        quantize_case(t, &r, 7, 1536, 1536, at_end);
    }
}

typedef enum filling { RANDOM, ALL_MOST, ALL_LEAST, OPPOSITE, WITH_MINUS_128 } filling;

static void linear_i8_case(test *t, rng *r, int32_t rows, int32_t in, int32_t out, int32_t begin, int32_t end,
                           ck_activation activation, int has_bias, filling fill, int at_end) {
    const size_t padded = padded_to(in, 16), outs = padded_to(out, 8), blocks = padded / 8;
    const size_t stride = (size_t)out + (size_t)(rows % 3), used = (size_t)(rows - 1) * stride + (size_t)out;
    int8_t *q = guarded((size_t)rows * padded, at_end), *weight = guarded(outs * padded + 64, at_end);
    int8_t *plain = guarded(outs * padded, at_end);
    float *scale_x = guarded((size_t)rows * 4, at_end), *scale = guarded(outs * 4, at_end);
    float *bias = guarded(outs * 4, at_end);
    int32_t *sum = guarded(outs * 4, at_end);
    float *got = guarded(used * 4, at_end), *want = guarded(used * 4, at_end);
    for (size_t i = 0; i < (size_t)rows * padded; i++) {
        q[i] = (int8_t)(rng_below(r, 255) - 127);
        if (fill == ALL_MOST) q[i] = 127;
        if (fill == ALL_LEAST || fill == OPPOSITE) q[i] = -127;
        if ((int32_t)(i % padded) >= in) q[i] = 0;
    }
    for (int32_t i = 0; i < rows; i++) scale_x[i] = 0.01f + 0.001f * (float)rng_below(r, 100);
    for (size_t o = 0; o < outs; o++) {
        scale[o] = 0.001f * (float)(1 + rng_below(r, 100));
        bias[o] = rng_float(r);
        sum[o] = 0;
        for (size_t i = 0; i < padded; i++) {
            int32_t w = rng_below(r, 255) - 127;
            if (fill == ALL_MOST || fill == OPPOSITE) w = 127;
            if (fill == ALL_LEAST) w = -127;
            if (fill == WITH_MINUS_128 && rng_below(r, 2) == 0) w = -128;
            if ((int32_t)i >= in || (int32_t)o >= out) w = 0;
            plain[o * padded + i] = (int8_t)w;
            weight[((o / 8 * blocks + i / 8) * 8 + o % 8) * 8 + i % 8] = (int8_t)w;
            sum[o] += w;
        }
    }
    const ck_matrix_i8 w = {weight, scale, sum, has_bias ? bias : NULL, in, out};
    t->k->linear_i8(q, scale_x, rows, &w, begin, end, activation, got, stride);
    t->reference->linear_i8(q, scale_x, rows, &w, begin, end, activation, want, stride);
    char what[160];
    snprintf(what, sizeof what,
             "linear_i8 rows %d in %d out %d portion %d..<%d activation %d bias %d filling %d guard %s", rows, in, out,
             begin, end, activation, has_bias, fill, at_end ? "after" : "before");
    compare(t, got, want, used, what);
    for (int32_t row = 0; row < rows && activation == CK_ACTIVATION_NONE; row++)
        for (int32_t o = begin; o < end; o++) {
            int32_t exact = 0;
            for (int32_t i = 0; i < in; i++)
                exact += q[(size_t)row * padded + (size_t)i] * plain[(size_t)o * padded + (size_t)i];
            float v = (float)exact * (scale_x[row] * scale[o]);
            if (has_bias) v = v + bias[o];
            expect(t, got[(size_t)row * stride + (size_t)o] == v, "%s: row %d output %d is not the exact sum", what,
                   row, o);
        }
    guarded_free_all();
}

void test_linear_i8(test *t) {
    rng r = rng_seeded(t, 2);
    static const int32_t ins[] = {1, 7, 8, 9, 16, 17, 31, 48, 100, 257};
    static const int32_t outs[] = {1, 5, 8, 12, 16, 24, 31, 40, 72, 104};
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int i = 0; i < 10; i++)
            for (int o = 0; o < 10; o++)
                linear_i8_case(t, &r, 1 + (i * 7 + o * 3) % 14, ins[i], outs[o], 0, outs[o],
                               (ck_activation)((i + o) % 5), (i ^ o) & 1, RANDOM, at_end);
        for (int32_t rows = 1; rows <= 33; rows++)
            linear_i8_case(t, &r, rows, 64, 40, 0, 40, CK_ACTIVATION_NONE, 1, RANDOM, at_end);
        for (int32_t begin = 0; begin < 75; begin += 8)
            for (int32_t end = begin + 8; end < 75 + 8; end += 8)
                linear_i8_case(t, &r, 7, 40, 75, begin, end < 75 ? end : 75, CK_ACTIVATION_NONE, 1, RANDOM, at_end);
        for (int fill = ALL_MOST; fill <= WITH_MINUS_128; fill++) {
            linear_i8_case(t, &r, 7, 384, 48, 0, 48, CK_ACTIVATION_NONE, 1, (filling)fill, at_end);
            linear_i8_case(t, &r, 8, 2049, 24, 0, 24, CK_ACTIVATION_NONE, 0, (filling)fill, at_end);
        }
        // too long for the panels of rearranged activations, and more weights than one pass keeps in the cache
        linear_i8_case(t, &r, 7, 5000, 21, 0, 21, CK_ACTIVATION_NONE, 1, OPPOSITE, at_end);
        linear_i8_case(t, &r, 7, 9600, 40, 0, 40, CK_ACTIVATION_NONE, 1, WITH_MINUS_128, at_end);
        linear_i8_case(t, &r, 3, 65536, 8, 0, 8, CK_ACTIVATION_NONE, 1, ALL_MOST, at_end);
        linear_i8_case(t, &r, 9, 3000, 200, 8, 184, CK_ACTIVATION_NONE, 1, RANDOM, at_end);
    }
}

static void linear_f32_case(test *t, rng *r, int32_t rows, int32_t in, int32_t out, int32_t begin, int32_t end,
                            ck_activation activation, int has_bias, int at_end) {
    const size_t stride_x = (size_t)in + (size_t)(out % 2) * 5, stride_y = (size_t)out + (size_t)(in % 2) * 3;
    const size_t used_x = (size_t)(rows - 1) * stride_x + (size_t)in;
    const size_t used_y = (size_t)(rows - 1) * stride_y + (size_t)out;
    float *x = guarded(used_x * 4, at_end), *w = guarded((size_t)in * (size_t)out * 4, at_end);
    float *bias = guarded((size_t)out * 4, at_end);
    float *got = guarded(used_y * 4, at_end), *want = guarded(used_y * 4, at_end);
    rng_fill(r, x, used_x);
    rng_fill(r, w, (size_t)in * (size_t)out);
    rng_fill(r, bias, (size_t)out);
    const float *b = has_bias ? bias : NULL;
    t->k->linear_f32(x, stride_x, rows, w, b, in, begin, end, activation, got, stride_y);
    t->reference->linear_f32(x, stride_x, rows, w, b, in, begin, end, activation, want, stride_y);
    char what[128];
    snprintf(what, sizeof what, "linear_f32 rows %d in %d out %d portion %d..<%d activation %d bias %d", rows, in, out,
             begin, end, activation, has_bias);
    compare(t, got, want, used_y, what);
    for (int32_t row = 0; row < rows && activation == CK_ACTIVATION_NONE; row++)
        for (int32_t o = begin; o < end; o++) {
            double exact = has_bias ? (double)bias[o] : 0;
            for (int32_t i = 0; i < in; i++)
                exact += (double)x[(size_t)row * stride_x + (size_t)i] * (double)w[(size_t)o * (size_t)in + (size_t)i];
            const double v = (double)got[(size_t)row * stride_y + (size_t)o];
            expect(t, fabs(v - exact) < 1e-6 * (2 + in), "%s: row %d output %d is %g, not %g", what, row, o, v, exact);
        }
    guarded_free_all();
}

void test_linear_f32(test *t) {
    rng r = rng_seeded(t, 3);
    static const int32_t ins[] = {1, 3, 15, 16, 17, 33, 64, 100}, outs[] = {1, 2, 3, 5, 8, 9, 16, 31};
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int i = 0; i < 8; i++)
            for (int o = 0; o < 8; o++)
                linear_f32_case(t, &r, 1 + (i * 5 + o * 3) % 9, ins[i], outs[o], 0, outs[o],
                                (ck_activation)((i + o) % 5), (i ^ o) & 1, at_end);
        for (int32_t rows = 1; rows <= 33; rows++)
            linear_f32_case(t, &r, rows, 40, 10, 0, 10, CK_ACTIVATION_NONE, 1, at_end);
        for (int32_t begin = 0; begin < 21; begin++)
            for (int32_t end = begin + 1; end <= 21; end += 1 + begin % 3)
                linear_f32_case(t, &r, 5, 20, 21, begin, end, CK_ACTIVATION_NONE, 1, at_end);
    }
}
