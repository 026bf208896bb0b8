#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static size_t padded_to(int32_t n, int32_t multiple) { return (size_t)((n + multiple - 1) / multiple * multiple); }

static size_t panel_bytes(const ck_kernels *k, int32_t in) {
    return padded_to(in, 16) / 8 * (size_t)(k->panel.rows * k->panel.unit);
}

static size_t panels_bytes(const ck_kernels *k, int32_t rows, int32_t in) {
    return padded_to(rows, k->panel.rows) / (size_t)k->panel.rows * panel_bytes(k, in);
}

/// Where input i of a row stands in the panels of a level, the first time.
static int8_t *in_panels(const ck_kernels *k, int8_t *panels, int32_t in, int32_t row, size_t i) {
    const ck_panel p = k->panel;
    return panels + (size_t)(row / p.rows) * panel_bytes(k, in) + i / 8 * (size_t)(p.rows * p.unit) +
           (size_t)(row % p.rows * p.unit) + i % 8;
}

/// The panels' rows, one after the other; fails when a repeated input differs.
static void unpack(test *t, const ck_kernels *k, int8_t *panels, int32_t rows, int32_t in, int8_t *q) {
    const size_t padded = padded_to(in, 16);
    for (int32_t r = 0; r < rows; r++)
        for (size_t i = 0; i < padded; i++) {
            const int8_t *at = in_panels(k, panels, in, r, i);
            q[(size_t)r * padded + i] = (int8_t)(*at ^ k->panel.flip);
            for (int32_t u = 8; u < k->panel.unit; u += 8) expect(t, at[u] == *at, "row %d input %zu differs", r, i);
        }
}

static void pack(const ck_kernels *k, const int8_t *q, int32_t rows, int32_t in, int8_t *panels) {
    const size_t padded = padded_to(in, 16);
    for (int32_t r = 0; r < rows; r++)
        for (size_t i = 0; i < padded; i++)
            for (int32_t u = 0; u < k->panel.unit; u += 8)
                in_panels(k, panels, in, r, i)[u] = (int8_t)(q[(size_t)r * padded + i] ^ k->panel.flip);
}

/// Rows of six kinds; `tame` leaves out what is not finite, so that neighbours can be rounded together.
static void fill_rows(rng *r, float *x, int32_t rows, int32_t in, size_t stride, int tame) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-42f, 3.4e38f, -3.4e38f, 1e-37f, 0.5f};
    rng_fill(r, x, (size_t)(rows - 1) * stride + (size_t)in);
    for (int32_t row = 0; row < rows; row++) {
        float *values = x + (size_t)row * stride;
        int kind = (row + rows) % 6;
        if (tame && (kind == 1 || kind == 5)) kind = 0;
        for (int32_t i = 0; i < in; i++) {
            if (kind == 1 && rng_below(r, 4) == 0) values[i] = special[rng_below(r, 10)];
            if (kind == 2) values[i] = 0.0f;
            if (kind == 3) values[i] = values[i] * 1e-38f;
            if (kind == 4) values[i] = (float)(rng_below(r, 509) - 254) * 0.5f;  // halves: ties
            if (kind == 5) values[i] = rng_below(r, 2) ? NAN : values[i] * 1e38f;
        }
        if (kind == 4) values[rng_below(r, in)] = 127.0f;
    }
}

enum { PLAIN, NORM, NORM_GIVEN, HADAMARD, NORM_HADAMARD };

/// Arguments of that kind over x; vectors in guarded buffers, `index` chooses one of three for a row.
static ck_quantize_args quantize_args(rng *r, const float *x, size_t stride, int32_t rows, int32_t in, int kind,
                                      int at_end) {
    ck_quantize_args a = {.x = x, .stride = stride, .in = in, .hadamard = kind == HADAMARD || kind == NORM_HADAMARD};
    if (kind == PLAIN || kind == HADAMARD) return a;
    a.normalize = 1;
    a.eps = 1e-6f;
    const size_t n = (size_t)in;
    float *vectors = guarded(8 * n * sizeof(float), at_end);
    int32_t *index = guarded((size_t)rows * sizeof(int32_t), at_end);
    rng_fill(r, vectors, 8 * n);
    for (int32_t i = 0; i < rows; i++) index[i] = rng_below(r, 3);
    a.scale = (ck_row_vectors){vectors + 2 * n, n, index};
    a.shift = (ck_row_vectors){vectors + 5 * n, n, index};
    if (kind == NORM_GIVEN) {
        a.gamma = vectors;
        a.beta = vectors + n;
        a.scale.index = NULL;
        a.shift = (ck_row_vectors){0};
    }
    return a;
}

static void quantize_case_with(test *t, rng *r, int32_t rows, int32_t in, size_t stride, int kind, int at_end,
                               int32_t lone) {
    const size_t padded = padded_to(in, 16), used = (size_t)(rows - 1) * stride + (size_t)in;
    float *x = guarded(used * 4, at_end);
    int8_t *panels = guarded(panels_bytes(t->k, rows, in), 0);
    int8_t *got = guarded((size_t)rows * padded, at_end), *want = guarded((size_t)rows * padded, at_end);
    float *got_scale = guarded((size_t)rows * 4, at_end), *want_scale = guarded((size_t)rows * 4, at_end);
    static const float not_finite[] = {NAN, INFINITY, -INFINITY};
    fill_rows(r, x, rows, in, stride, lone >= 0 || ((rows ^ in) & 1));
    if (lone >= 0 && lone % 4 == 3)  // finite, but what a product of both is not
        x[(size_t)lone] = x[(size_t)lone + 16] = 1e30f;
    else if (lone >= 0)
        x[(size_t)rng_below(r, rows) * stride + (size_t)lone] = not_finite[rng_below(r, 3)];
    const ck_quantize_args a = quantize_args(r, x, stride, rows, in, kind, at_end);
    // in two portions, where there are two panels
    const int32_t middle = rows / 2 / t->k->panel.rows * t->k->panel.rows;
    t->k->quantize_panels(&a, 0, middle, panels, got_scale);
    t->k->quantize_panels(&a, middle, rows, panels, got_scale);
    t->reference->quantize_panels(&a, 0, rows, want, want_scale);
    char what[96];
    snprintf(what, sizeof what, "quantize_panels rows %d in %d stride %zu kind %d", rows, in, stride, kind);
    unpack(t, t->k, panels, rows, in, got);
    compare_bytes(t, got, want, (size_t)rows * padded, what);
    compare(t, got_scale, want_scale, (size_t)rows, what);
    float *row = guarded((size_t)in * 4, at_end);
    for (int32_t i = 0; i < rows; i++) {
        memcpy(row, x + (size_t)i * stride, (size_t)in * 4);
        if (a.normalize) {
            const int32_t chosen = a.scale.index != NULL ? a.scale.index[i] : 0;
            const float *shift = a.shift.base != NULL ? a.shift.base + (size_t)chosen * a.shift.stride : NULL;
            t->reference->layer_norm(row, in, a.eps, a.gamma, a.beta, a.scale.base + (size_t)chosen * a.scale.stride,
                                     shift, row);
        }
        if (a.hadamard) {  // from its definition: signs by the parity of the common bits
            int finite = 1;
            for (int32_t j = 0; j < in; j++) finite = finite && fabs((double)row[j]) < 1e37;
            if (!finite) continue;
            float *out = guarded((size_t)in * 4, at_end);
            for (int32_t j = 0; j < in; j++) {
                double sum = 0;
                for (int32_t c = 0; c < 128; c++)
                    sum += (__builtin_parity((unsigned)(c & j % 128)) ? -1.0 : 1.0) * (double)row[j / 128 * 128 + c];
                out[j] = (float)(sum / sqrt(128.0));
            }
            memcpy(row, out, (size_t)in * 4);
        }
        double largest = 0;
        for (int32_t j = 0; j < in; j++)
            if (fabs((double)row[j]) > largest) largest = fabs((double)row[j]);
        for (int32_t j = 0; j < (int32_t)padded; j++) {
            const int8_t q = got[(size_t)i * padded + (size_t)j];
            double exact = j < in && largest > 1e-36 && row[j] == row[j] ? (double)row[j] * 127 / largest : 0;
            if (j < in && isinf(largest)) exact = isinf(row[j]) ? copysign(127, (double)row[j]) : q;
            expect(t, fabs(exact - q) <= (a.hadamard ? 0.502 : 0.5001), "%s: row %d, input %d: %d for %g", what, i, j,
                   q, exact);
        }
    }
    guarded_free_all();
}

static void quantize_case(test *t, rng *r, int32_t rows, int32_t in, size_t stride, int kind, int at_end) {
    quantize_case_with(t, r, rows, in, stride, kind, at_end, -1);
}

void test_quantize(test *t) {
    rng r = rng_seeded(t, 1);
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t in = 1; in <= 70; in++)
            for (int kind = PLAIN; kind <= NORM_GIVEN; kind++)
                quantize_case(t, &r, 1 + in % 7, in, (size_t)in, kind, at_end);
        for (int32_t rows = 1; rows <= 33; rows++) quantize_case(t, &r, rows, 100, 131, rows % 3, at_end);
        for (int kind = PLAIN; kind <= NORM_GIVEN; kind++)
            for (int32_t rows = 12; rows <= 13; rows++) {  // hard rows among them, and none
                quantize_case(t, &r, rows, 64, 64, kind, at_end);
                quantize_case(t, &r, rows, 200, 207, kind, at_end);
                quantize_case(t, &r, rows, 768, 768, kind, at_end);
            }
        // one value that is not finite among finite ones, at every place
        for (int32_t lone = 0; lone < 150; lone++) quantize_case_with(t, &r, 12 + lone % 2, 150, 150, PLAIN, at_end, lone);
        for (int32_t rows = 7; rows <= 8; rows++) {
            quantize_case(t, &r, rows, 1536, 1536, PLAIN, at_end);
            quantize_case(t, &r, rows, 2410, 2410, PLAIN, at_end);
        }
        for (int kind = HADAMARD; kind <= NORM_HADAMARD; kind++) {
            quantize_case(t, &r, 7, 128, 128, kind, at_end);
            quantize_case(t, &r, 14, 384, 390, kind, at_end);
        }
    }
}

typedef enum filling { RANDOM, ALL_MOST, ALL_LEAST, OPPOSITE, WITH_MINUS_128 } filling;

typedef struct linear_case {
    int32_t rows, in, out, row_begin, begin, end;
    ck_activation activation;
    int bias, fill, at_end;
    int residual;  // 1: another buffer, 2: y itself
    int gate;      // 1: one for all rows, 2: by index
    int partial;   // of its own
    int source;    // quantized by the linear
    int ahead;     // its second half of rows by the call for the first
} linear_case;

static void linear_i8_case(test *t, rng *r, const linear_case *c) {
    const int32_t rows = c->rows, in = c->in, out = c->out, at_end = c->at_end;
    const size_t padded = padded_to(in, 16), outs = padded_to(out, 8), blocks = padded / 8;
    const size_t stride = (size_t)out + (size_t)(rows % 3), used = (size_t)(rows - 1) * stride + (size_t)out;
    int8_t *q = guarded((size_t)rows * padded, at_end), *weight = guarded(outs * padded + 64, at_end);
    int8_t *plain = guarded(outs * padded, at_end), *panels = guarded(panels_bytes(t->k, rows, in), 0);
    float *scale_x = guarded((size_t)rows * 4, at_end), *want_scale_x = guarded((size_t)rows * 4, at_end);
    float *scale = guarded(outs * 4, at_end);
    float *bias = guarded(outs * 4, at_end);
    int32_t *sum = guarded(outs * 4, at_end);
    float *got = guarded(used * 4, at_end), *want = guarded(used * 4, at_end);
    float *residual = guarded(used * 4, at_end), *gates = guarded(outs * 3 * 4, at_end);
    int32_t *index = guarded((size_t)rows * 4, at_end), *partial = guarded(used * 4, at_end);
    float *x = guarded((size_t)rows * (size_t)in * 4, at_end);
    ck_quantize_args source = {.x = x, .stride = (size_t)in, .in = in};
    if (c->source) {
        fill_rows(r, x, rows, in, (size_t)in, (rows ^ in) & 1);
        t->reference->quantize_panels(&source, 0, rows, q, want_scale_x);
        for (int32_t i = 0; i < rows; i++) scale_x[i] = NAN;  // must be written
    } else {
        for (size_t i = 0; i < (size_t)rows * padded; i++) {
            q[i] = (int8_t)(rng_below(r, 255) - 127);
            if (c->fill == ALL_MOST) q[i] = 127;
            if (c->fill == ALL_LEAST || c->fill == OPPOSITE) q[i] = -127;
            if ((int32_t)(i % padded) >= in) q[i] = 0;
        }
        for (int32_t i = 0; i < rows; i++) want_scale_x[i] = scale_x[i] = 0.01f + 0.001f * (float)rng_below(r, 100);
        pack(t->k, q, rows, in, panels);
    }
    for (size_t o = 0; o < outs; o++) {
        scale[o] = 0.001f * (float)(1 + rng_below(r, 100));
        bias[o] = rng_float(r);
        sum[o] = 0;
        for (size_t i = 0; i < padded; i++) {
            int32_t w = rng_below(r, 255) - 127;
            if (c->fill == ALL_MOST || c->fill == OPPOSITE) w = 127;
            if (c->fill == ALL_LEAST) w = -127;
            if (c->fill == WITH_MINUS_128 && rng_below(r, 2) == 0) w = -128;
            if ((int32_t)i >= in || (int32_t)o >= out) w = 0;
            plain[o * padded + i] = (int8_t)w;
            weight[((o / 8 * blocks + i / 8) * 8 + o % 8) * 8 + i % 8] = (int8_t)w;
            sum[o] += w;
        }
    }
    rng_fill(r, residual, used);
    rng_fill(r, gates, outs * 3);
    for (int32_t i = 0; i < rows; i++) index[i] = rng_below(r, 3);
    if (c->residual == 2) {
        memcpy(got, residual, used * 4);
        memcpy(want, residual, used * 4);
    }
    const ck_matrix_i8 w = {weight, scale, sum, c->bias ? bias : NULL, in, out};
    ck_linear_i8_args a = {.source = c->source ? &source : NULL,
                           .panels = panels,
                           .scale_x = scale_x,
                           .w = &w,
                           .activation = c->activation,
                           .residual = c->residual == 1 ? residual : c->residual == 2 ? got : NULL,
                           .stride_residual = stride,
                           .y = got,
                           .stride_y = stride,
                           .partial = c->partial ? partial : NULL,
                           .stride_partial = stride};
    if (c->gate) a.gate = (ck_row_vectors){gates, outs, c->gate == 2 ? index : NULL};
    const int32_t row_begin = c->row_begin / t->k->panel.rows * t->k->panel.rows;
    if (c->ahead) {
        const int32_t middle = c->begin + (c->end - c->begin) / 16 * 8, half = (rows - row_begin) / 2 / t->k->panel.rows;
        a.ahead_begin = row_begin;
        a.ahead_end = row_begin + half * t->k->panel.rows;
        t->k->linear_i8(&a, 0, row_begin, c->begin, middle);
        a.quantized = 1;
        a.ahead_begin = a.ahead_end;
        a.ahead_end = rows;
        t->k->linear_i8(&a, 0, row_begin, middle, c->end);
        a.ahead_begin = rows;
        t->k->linear_i8(&a, row_begin, rows, c->begin, c->end);
    } else {
        t->k->linear_i8(&a, row_begin, rows, c->begin, c->end);
        if (row_begin > 0) t->k->linear_i8(&a, 0, row_begin, c->begin, c->end);
    }
    a.panels = q;
    a.scale_x = want_scale_x;
    a.source = NULL;
    a.y = want;
    if (c->residual == 2) a.residual = want;
    t->reference->linear_i8(&a, 0, rows, c->begin, c->end);
    char what[256];
    snprintf(what, sizeof what,
             "linear_i8 rows %d in %d out %d portion %d..<%d activation %d bias %d filling %d guard %s residual %d "
             "gate %d partial %d source %d ahead %d",
             rows, in, out, c->begin, c->end, c->activation, c->bias, c->fill, at_end ? "after" : "before",
             c->residual, c->gate, c->partial, c->source, c->ahead);
    compare(t, got, want, used, what);
    for (int32_t row = 0; row < rows && c->activation == CK_ACTIVATION_NONE && !c->source; row++)
        for (int32_t o = c->begin; o < c->end; o++) {
            int32_t exact = 0;
            for (int32_t i = 0; i < in; i++)
                exact += q[(size_t)row * padded + (size_t)i] * plain[(size_t)o * padded + (size_t)i];
            const float unit = scale_x[row] * scale[o];
            float v = c->bias ? __builtin_fmaf((float)exact, unit, bias[o]) : (float)exact * unit;
            if (c->gate) v = v * gates[(c->gate == 2 ? (size_t)index[row] * outs : 0) + (size_t)o];
            if (c->residual) v = residual[(size_t)row * stride + (size_t)o] + v;
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
                linear_i8_case(t, &r, &(linear_case){.rows = 1 + (i * 7 + o * 3) % 14, .in = ins[i], .out = outs[o],
                                                     .end = outs[o], .activation = (ck_activation)((i + o) % 5),
                                                     .bias = (i ^ o) & 1, .residual = (i + 2 * o) % 3,
                                                     .gate = (i + 2 * o) % 3 > 0 ? (2 * i + o) % 3 : 0,
                                                     .source = o % 2, .at_end = at_end});
        for (int32_t rows = 1; rows <= 33; rows++)
            linear_i8_case(t, &r, &(linear_case){.rows = rows, .in = 64, .out = 40, .row_begin = rows / 2, .end = 40,
                                                 .bias = 1, .source = rows % 2, .at_end = at_end});
        for (int32_t begin = 0; begin < 75; begin += 8)
            for (int32_t end = begin + 8; end < 75 + 8; end += 8)
                linear_i8_case(t, &r, &(linear_case){.rows = 7, .in = 40, .out = 75, .begin = begin,
                                                     .end = end < 75 ? end : 75, .bias = 1, .at_end = at_end});
        for (int fill = ALL_MOST; fill <= WITH_MINUS_128; fill++) {
            linear_i8_case(t, &r, &(linear_case){.rows = 7, .in = 384, .out = 48, .end = 48, .bias = 1, .fill = fill,
                                                 .at_end = at_end});
            linear_i8_case(t, &r, &(linear_case){.rows = 8, .in = 2049, .out = 24, .end = 24, .fill = fill,
                                                 .at_end = at_end});
        }
        // rows so long that they are cut, with the unfinished sums in y or beside it, and not cut
        for (int partial = 0; partial < 2; partial++)
            linear_i8_case(t, &r, &(linear_case){.rows = 97, .in = 2500, .out = 45, .end = 45, .bias = 1,
                                                 .activation = CK_ACTIVATION_GELU_TANH, .partial = partial,
                                                 .residual = partial ? 2 : 1, .gate = 2, .source = 1,
                                                 .at_end = at_end});
        // rows that a call before quantized on its way: cut, not cut, more and fewer than it has panels
        for (int32_t first = 1; first < 4; first++)
            linear_i8_case(t, &r, &(linear_case){.rows = 200, .in = first < 3 ? 2500 : 70, .row_begin = 50 * first,
                                                 .out = 45, .end = 45, .bias = 1, .source = 1, .ahead = 1,
                                                 .at_end = at_end});
        linear_i8_case(t, &r, &(linear_case){.rows = 96, .in = 3600, .out = 24, .end = 24, .fill = WITH_MINUS_128,
                                             .at_end = at_end});
        linear_i8_case(t, &r, &(linear_case){.rows = 7, .in = 5000, .out = 21, .end = 21, .bias = 1, .fill = OPPOSITE,
                                             .at_end = at_end});
        linear_i8_case(t, &r, &(linear_case){.rows = 3, .in = 65536, .out = 8, .end = 8, .bias = 1, .fill = ALL_MOST,
                                             .at_end = at_end});
        // more weights than one pass keeps in the cache, of rows that are rounded on the way
        linear_i8_case(t, &r, &(linear_case){.rows = 29, .in = 340, .out = 1300, .begin = 8, .end = 1300, .bias = 1,
                                             .source = 1, .at_end = at_end});
        linear_i8_case(t, &r, &(linear_case){.rows = 9, .in = 3000, .out = 200, .begin = 8, .end = 184, .bias = 1,
                                             .at_end = at_end});
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
