#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

typedef enum filling { RANDOM, MOST, OPPOSITE, TIES, NOT_FINITE } filling;
typedef enum residual { NO_RESIDUAL, BYTES, FLOATS } residual;

typedef struct shape {
    int32_t height, width, in, in2, out, kernel, stride, enlarge;
    int32_t gap;  // bytes between the pixels of input
    int32_t zero;
    int bias, residual, relu, bytes;
    filling fill;
} shape;

static int32_t up(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// The sum by its definition, from weights in torch's order [out][in + in2][kernel][kernel].
static int64_t exact_sum(shape s, const uint8_t *input, const uint8_t *input2, const int8_t *plain, int32_t oy,
                         int32_t ox, int32_t o) {
    int64_t sum = 0;
    const int32_t all = s.in + s.in2, small = s.width / s.enlarge;
    for (int32_t c = 0; c < all; c++)
        for (int32_t ky = 0; ky < s.kernel; ky++)
            for (int32_t kx = 0; kx < s.kernel; kx++) {
                const int32_t y = oy * s.stride + ky - s.kernel / 2, x = ox * s.stride + kx - s.kernel / 2;
                if (y < 0 || x < 0 || y >= s.height || x >= s.width) continue;
                const size_t p = (size_t)(y / s.enlarge) * (size_t)small + (size_t)(x / s.enlarge);
                const uint8_t byte = c < s.in ? input[p * (size_t)(s.in + s.gap) + (size_t)c]
                                              : input2[p * (size_t)s.in2 + (size_t)(c - s.in)];
                sum += (byte - s.zero) *
                       plain[(((size_t)o * (size_t)all + (size_t)c) * (size_t)s.kernel + (size_t)ky) * (size_t)s.kernel +
                             (size_t)kx];
            }
    return sum;
}

static void convolution_i8_case(test *t, rng *r, shape s, int32_t row_begin, int32_t row_end, int at_end) {
    const int32_t out_h = (s.height + s.stride - 1) / s.stride, out_w = (s.width + s.stride - 1) / s.stride;
    const int32_t all = s.in + s.in2, in16 = up(s.in, 16), blocks = (in16 + up(s.in2, 16)) / 8, outs = up(s.out, 16);
    const int32_t taps = s.kernel * s.kernel;
    const size_t pixels = (size_t)(s.height / s.enlarge) * (size_t)(s.width / s.enlarge);
    const size_t used = (pixels - 1) * (size_t)(s.in + s.gap) + (size_t)s.in;
    const size_t weights = (size_t)outs * (size_t)taps * (size_t)blocks * 8;
    const size_t outputs = (size_t)out_h * (size_t)out_w * (size_t)s.out;
    uint8_t *input = guarded(used, at_end), *input2 = guarded(pixels * (size_t)s.in2, at_end);
    int8_t *weight = guarded(weights, at_end), *plain = guarded((size_t)s.out * (size_t)all * (size_t)taps, at_end);
    float *scale = guarded((size_t)outs * 4, at_end), *bias = guarded((size_t)outs * 4, at_end);
    int32_t *sum = guarded((size_t)outs * 4, at_end);
    uint8_t *residual = guarded(outputs, at_end);
    float *residual_f32 = guarded(outputs * 4, at_end);
    uint8_t *got = guarded(outputs, at_end), *want = guarded(outputs, at_end);
    float *got_f32 = guarded(outputs * 4, at_end), *want_f32 = guarded(outputs * 4, at_end);

    for (size_t i = 0; i < used; i++) input[i] = (uint8_t)rng_next(r);
    for (size_t i = 0; i < pixels * (size_t)s.in2; i++) input2[i] = (uint8_t)rng_next(r);
    if (s.fill == MOST || s.fill == OPPOSITE) {
        memset(input, s.zero == 255 ? 0 : 255, used);
        memset(input2, s.zero == 255 ? 0 : 255, pixels * (size_t)s.in2);
    }
    memset(weight, 0, weights);
    for (int32_t o = 0; o < outs; o++) {
        scale[o] = s.fill == TIES ? 0.125f : 1e-4f * (float)(1 + rng_below(r, 100));
        bias[o] = s.fill == TIES ? 0.5f * (float)(rng_below(r, 9) - 4) : rng_float(r);
        sum[o] = 0;
        for (int32_t i = 0; i < all * taps && o < s.out; i++) {
            int32_t w = rng_below(r, 255) - 127;
            if (s.fill == MOST) w = 127;
            if (s.fill == OPPOSITE) w = -127;
            if (s.fill == TIES) w = rng_below(r, 3) - 1;
            plain[(size_t)o * (size_t)(all * taps) + (size_t)i] = (int8_t)w;
            const int32_t c = i / taps, at = c < s.in ? c : in16 + c - s.in;
            weight[(((size_t)(o / 8) * (size_t)taps + (size_t)(i % taps)) * (size_t)blocks + (size_t)(at / 8)) * 64 +
                   (size_t)(o % 8 * 8 + at % 8)] = (int8_t)w;
            sum[o] += w;
        }
    }
    for (size_t i = 0; i < outputs; i++) {
        static const float odd[] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 0.0f, -0.0f};
        residual[i] = (uint8_t)rng_next(r);
        residual_f32[i] = s.fill == NOT_FINITE && rng_below(r, 3) == 0 ? odd[rng_below(r, 7)] : rng_float(r);
    }
    const float out_scale = s.fill == TIES ? 0.25f : 0.003f * sqrtf((float)(all * taps));
    ck_convolution_i8_args a = {.input = input, .input2 = s.in2 > 0 ? input2 : NULL, .weight = weight, .scale = scale,
                                .sum = sum, .bias = s.bias ? bias : NULL, .output = s.bytes ? got : NULL,
                                .output_f32 = s.bytes ? NULL : got_f32,
                                .residual = s.residual == BYTES ? residual : NULL,
                                .residual_f32 = s.residual == FLOATS ? residual_f32 : NULL,
                                .quantization_in = {s.fill == TIES ? 1.0f : 0.01f, s.zero},
                                .quantization_residual = {s.fill == TIES ? 0.125f : 0.02f, 255 - s.zero},
                                .quantization_out = {out_scale, s.relu ? 0 : 100 + s.zero % 100},
                                .height = s.height, .width = s.width, .in = s.in, .in2 = s.in2, .out = s.out,
                                .stride_in = s.in + s.gap, .enlarge = s.enlarge, .kernel = s.kernel,
                                .stride = s.stride, .activation = s.relu ? CK_ACTIVATION_RELU : CK_ACTIVATION_NONE};
    t->k->convolution_i8(&a, row_begin, row_end);
    if (s.bytes)
        a.output = want;
    else
        a.output_f32 = want_f32;
    t->reference->convolution_i8(&a, row_begin, row_end);
    char what[224];
    snprintf(what, sizeof what,
             "convolution_i8 %dx%d in %d+%d (gap %d, zero %d) out %d kernel %d stride %d enlarge %d rows %d..<%d bias %d "
             "residual %d relu %d bytes %d filling %d guard %s",
             s.width, s.height, s.in, s.in2, s.gap, s.zero, s.out, s.kernel, s.stride, s.enlarge, row_begin, row_end,
             s.bias, s.residual, s.relu, s.bytes, s.fill, at_end ? "after" : "before");
    if (s.bytes)
        compare_bytes(t, (int8_t *)got, (int8_t *)want, outputs, what);
    else
        compare(t, got_f32, want_f32, outputs, what);

    // a sample against the definition
    for (int32_t oy = row_begin; oy < row_end; oy++)
        for (int sample = 0; sample < 8; sample++) {
            const int32_t ox = sample == 0 ? 0 : sample == 1 ? out_w - 1 : rng_below(r, out_w), o = rng_below(r, s.out);
            const size_t at = ((size_t)oy * (size_t)out_w + (size_t)ox) * (size_t)s.out + (size_t)o;
            const int64_t exact = exact_sum(s, input, input2, plain, oy, ox, o);
            double v = (double)exact * (double)a.quantization_in.scale * (double)scale[o];
            if (s.bias) v += (double)bias[o];
            if (s.residual == BYTES) v += (residual[at] - (255 - s.zero)) * (double)a.quantization_residual.scale;
            if (s.residual == FLOATS) v += (double)residual_f32[at];
            if (s.relu && !(v > 0)) v = 0;
            if (!s.bytes && !s.bias && s.residual == NO_RESIDUAL && !s.relu)
                expect(t, got_f32[at] == (float)exact * (a.quantization_in.scale * scale[o]),
                       "%s: pixel %d,%d output %d is not the exact sum", what, ox, oy, o);
            if (!s.bytes && isfinite(v) && fabs(v) < 1e38) {
                expect(t, fabs((double)got_f32[at] - v) <= 1e-5 * (1 + fabs(v)),
                       "%s: pixel %d,%d output %d is %g, not %g", what, ox, oy, o, (double)got_f32[at], v);
            } else if (s.bytes) {
                double byte = v / (double)out_scale + a.quantization_out.zero;
                const double low = s.relu ? a.quantization_out.zero : 0;
                byte = !(byte > low) ? low : byte > 255 ? 255 : byte;
                expect(t, fabs(got[at] - byte) <= 0.5 + 1e-4, "%s: pixel %d,%d output %d is %d for %.4f", what, ox, oy, o,
                       got[at], byte);
                if (s.fill == TIES && byte - floor(byte) == 0.5)
                    expect(t, got[at] % 2 == 0, "%s: the tie %.1f became %d", what, byte, got[at]);
            }
        }
    guarded_free_all();
}

static void bytes_case(test *t, rng *r, int32_t n, ck_quantization q, int at_end) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-42f, 3.4e38f, -3.4e38f};
    float *x = guarded((size_t)n * 4, at_end), *back = guarded((size_t)n * 4, at_end);
    float *want_back = guarded((size_t)n * 4, at_end);
    uint8_t *got = guarded((size_t)n, at_end), *want = guarded((size_t)n, at_end);
    for (int32_t i = 0; i < n; i++) {
        x[i] = 200 * rng_float(r) * q.scale;
        if (rng_below(r, 8) == 0) x[i] = special[rng_below(r, 8)];
        if (rng_below(r, 8) == 0) x[i] = ((float)rng_below(r, 400) - 199.5f) * q.scale;
    }
    char what[96];
    snprintf(what, sizeof what, "quantize_u8 of %d, zero %d, guard %s", n, q.zero, at_end ? "after" : "before");
    t->k->quantize_u8(x, n, q, got);
    t->reference->quantize_u8(x, n, q, want);
    compare_bytes(t, (int8_t *)got, (int8_t *)want, (size_t)n, what);
    for (int32_t i = 0; i < n; i++) {
        double exact = (double)x[i] / (double)q.scale + q.zero;
        exact = !(exact > 0) ? 0 : exact > 255 ? 255 : exact;
        expect(t, fabs(exact - got[i]) <= 0.5001, "%s: %g became %d, not %g", what, (double)x[i], got[i], exact);
    }
    t->k->dequantize_u8(got, n, q, back);
    t->reference->dequantize_u8(got, n, q, want_back);
    compare(t, back, want_back, (size_t)n, what);
    for (int32_t i = 0; i < n; i++)
        expect(t, back[i] == (float)(got[i] - q.zero) * q.scale, "%s: byte %d came back as %g", what, got[i],
               (double)back[i]);
    guarded_free_all();
}

void test_convolution_i8(test *t) {
    rng r = rng_seeded(t, 8);
    static const int32_t outs[] = {1, 12, 16, 17, 32, 33, 48, 64, 80};
    static const int32_t zeros[] = {0, 128, 37, 255};
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t width = 1; width <= 29; width++)
            for (int mode = 0; mode < 6; mode++) {
                const int32_t enlarge = 1 + (mode == 4 || mode == 5);
                const shape s = {.height = enlarge * (1 + (width * 3 + mode) % 5), .width = enlarge * width,
                                 .in = width % 5 == 0 ? 16 : 1 + (width * 7 + mode * 5) % 37,
                                 .in2 = width % 3 == 0 ? 1 + width % 20 : 0, .out = outs[(width + mode * 3) % 9],
                                 .kernel = mode % 2 == 0 ? 3 : 1, .stride = 1 + (mode == 2 || mode == 3),
                                 .enlarge = enlarge, .gap = width % 4 == 2 ? 3 : 0, .zero = zeros[(width + mode) % 4],
                                 .bias = width % 2, .residual = (width + mode) % 3, .relu = width % 5 < 2,
                                 .bytes = (width / 2 + mode) % 2, .fill = RANDOM};
                const int32_t rows = (s.height + s.stride - 1) / s.stride;
                convolution_i8_case(t, &r, s, 0, rows, at_end);
                if (rows > 1) convolution_i8_case(t, &r, s, 1, rows - (rows > 2), at_end);
            }
        for (int fill = MOST; fill <= NOT_FINITE; fill++)
            for (int bytes = 0; bytes < 3; bytes++) {
                const shape s = {.height = 4, .width = 9, .in = 32, .in2 = 20, .out = 36, .kernel = 3, .stride = 1,
                                 .enlarge = 1, .zero = fill == TIES ? 2 : bytes == 2 ? 255 : 128 * bytes, .bias = fill == TIES,
                                 .residual = fill == NOT_FINITE ? FLOATS : fill == TIES ? BYTES : NO_RESIDUAL,
                                 .relu = fill == NOT_FINITE && !bytes, .bytes = bytes == 1, .fill = (filling)fill};
                convolution_i8_case(t, &r, s, 0, 4, at_end);
            }
        // a memory block's three convolutions, a row at a time
        for (int32_t row = 0; row < 3; row++) {
            const shape block = {3, 26, 64, 64, 64, 3, 1, 1, 0, 0, 1, BYTES, 1, 1, RANDOM};
            convolution_i8_case(t, &r, block, row, row + 1, at_end);
        }
        convolution_i8_case(t, &r, (shape){5, 16, 48, 0, 40, 3, 1, 1, 0, 0, 1, 0, 1, 1, RANDOM}, 3, 3, at_end);
        // the most inputs, the largest sums, more weights than one pass keeps in the cache
        convolution_i8_case(t, &r, (shape){2, 3, 2048, 2048, 3, 3, 1, 1, 0, 0, 0, 0, 0, 0, OPPOSITE}, 0, 2, at_end);
        convolution_i8_case(t, &r, (shape){3, 3, 4096, 0, 2, 3, 2, 1, 0, 255, 0, 0, 0, 0, RANDOM}, 0, 2, at_end);
        convolution_i8_case(t, &r, (shape){2, 7, 512, 512, 80, 3, 1, 1, 0, 128, 1, 0, 1, 1, RANDOM}, 0, 2, at_end);
        for (int32_t n = 1; n <= 70; n++)
            bytes_case(t, &r, n, (ck_quantization){0.001f * (float)(1 + rng_below(&r, 50)), zeros[n % 4]}, at_end);
        bytes_case(t, &r, 500, (ck_quantization){0.25f, 64}, at_end);
    }
}
