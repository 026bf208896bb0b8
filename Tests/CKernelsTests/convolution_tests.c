#include <stdio.h>
#include <stdlib.h>

#include "test.h"

typedef struct shape {
    int32_t height, width, in, in2, out, kernel, stride;
    int bias, residual, relu;
} shape;

static void convolution_case(test *t, rng *r, shape s, int32_t row_begin, int32_t row_end, int at_end) {
    const int32_t out_h = (s.height + s.stride - 1) / s.stride, out_w = (s.width + s.stride - 1) / s.stride;
    const int32_t all = s.in + s.in2;
    const size_t padded = (size_t)((s.out + 15) / 16 * 16), pixels = (size_t)s.height * (size_t)s.width;
    const size_t outputs = (size_t)out_h * (size_t)out_w * (size_t)s.out;
    const size_t taps = (size_t)s.kernel * (size_t)s.kernel * (size_t)all;
    float *input = guarded(pixels * (size_t)s.in * 4, at_end), *input2 = guarded(pixels * (size_t)s.in2 * 4, at_end);
    float *weight = guarded(taps * padded * 4, at_end), *bias = guarded(padded * 4, at_end);
    float *residual = guarded(outputs * 4, at_end);
    float *got = guarded(outputs * 4, at_end), *want = guarded(outputs * 4, at_end);
    rng_fill(r, input, pixels * (size_t)s.in);
    rng_fill(r, input2, pixels * (size_t)s.in2);
    rng_fill(r, weight, taps * padded);
    rng_fill(r, bias, padded);
    rng_fill(r, residual, outputs);
    ck_convolution_f32_args a = {.input = input, .input2 = s.in2 > 0 ? input2 : NULL, .weight = weight,
                                 .bias = s.bias ? bias : NULL, .output = got, .height = s.height, .width = s.width,
                                 .in = s.in, .in2 = s.in2, .out = s.out, .kernel = s.kernel, .stride = s.stride,
                                 .residual = s.residual ? residual : NULL,
                                 .activation = s.relu ? CK_ACTIVATION_RELU : CK_ACTIVATION_NONE};
    t->k->convolution_f32(&a, row_begin, row_end);
    a.output = want;
    t->reference->convolution_f32(&a, row_begin, row_end);
    char what[192];
    snprintf(what, sizeof what,
             "convolution %dx%d in %d+%d out %d kernel %d stride %d rows %d..<%d bias %d residual %d relu %d guard %s",
             s.width, s.height, s.in, s.in2, s.out, s.kernel, s.stride, row_begin, row_end, s.bias, s.residual, s.relu,
             at_end ? "after" : "before");
    compare(t, got, want, outputs, what);
    // a sample against the definition, in double
    for (int32_t oy = row_begin; oy < row_end; oy++)
        for (int sample = 0; sample < 8; sample++) {
            const int32_t ox = sample == 0 ? 0 : sample == 1 ? out_w - 1 : rng_below(r, out_w), o = rng_below(r, s.out);
            const size_t at = ((size_t)oy * (size_t)out_w + (size_t)ox) * (size_t)s.out + (size_t)o;
            double exact = s.bias ? (double)bias[o] : 0;
            for (int32_t c = 0; c < all; c++)
                for (int32_t ky = 0; ky < s.kernel; ky++)
                    for (int32_t kx = 0; kx < s.kernel; kx++) {
                        const int32_t y = oy * s.stride + ky - s.kernel / 2, x = ox * s.stride + kx - s.kernel / 2;
                        if (y < 0 || x < 0 || y >= s.height || x >= s.width) continue;
                        const size_t p = (size_t)y * (size_t)s.width + (size_t)x;
                        const float v = c < s.in ? input[p * (size_t)s.in + (size_t)c]
                                                 : input2[p * (size_t)s.in2 + (size_t)(c - s.in)];
                        const size_t tap = (size_t)(ky * s.kernel + kx) * (size_t)all + (size_t)c;
                        exact += (double)v * (double)weight[tap * padded + (size_t)o];
                    }
            if (s.residual) exact += (double)residual[at];
            if (s.relu && exact < 0) exact = 0;
            expect(t, fabs((double)got[at] - exact) < 1e-6 * (double)(taps + 10),
                   "%s: pixel %d,%d output %d is %g, not %g", what, ox, oy, o, (double)got[at], exact);
        }
    guarded_free_all();
}

void test_convolution(test *t) {
    rng r = rng_seeded(t, 6);
    static const int32_t outs[] = {1, 12, 16, 17, 32, 33, 48, 64};
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int32_t width = 1; width <= 21; width++)
            for (int mode = 0; mode < 4; mode++) {
                const shape s = {.height = 1 + (width * 3 + mode) % 5, .width = width, .in = 1 + (width + mode) % 6,
                                 .in2 = width % 3 == 0 ? 1 + width % 4 : 0, .out = outs[(width + mode * 3) % 8],
                                 .kernel = mode % 2 == 0 ? 3 : 1, .stride = 1 + mode / 2, .bias = width % 2,
                                 .residual = width % 4 == 1, .relu = width % 5 == 2};
                const int32_t rows = (s.height + s.stride - 1) / s.stride;
                convolution_case(t, &r, s, 0, rows, at_end);
                if (rows > 1) convolution_case(t, &r, s, 1, rows - (rows > 2), at_end);
            }
        const shape block = {7, 16, 20, 20, 36, 3, 1, 1, 1, 1};
        convolution_case(t, &r, block, 0, 7, at_end);
        convolution_case(t, &r, block, 3, 3, at_end);
    }
}
