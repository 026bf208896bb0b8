#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test.h"

static double now(void) {
    struct timespec s;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &s);
    return (double)s.tv_sec + 1e-9 * (double)s.tv_nsec;
}

static float *floats(size_t n) {
    test t = {.seed = 1};
    rng r = rng_seeded(&t, n);
    float *x = malloc(n * sizeof(float));
    if (x == NULL) exit(2);
    rng_fill(&r, x, n);
    return x;
}

/// The best of several runs of BODY, in operations (a product and a sum are two) per nanosecond.
#define TIME(name, operations, BODY) \
    do { \
        double best = 1e30, spent = 0; \
        while (spent < 0.3) { \
            const double start = now(); \
            BODY; \
            const double took = now() - start; \
            if (took < best) best = took; \
            spent += took; \
        } \
        printf("  %-34s %8.2f GOPS\n", name, (operations) / best / 1e9); \
    } while (0)

static void time_linear(const ck_kernels *k, int32_t rows, int32_t in, int32_t out) {
    float *x = floats((size_t)rows * (size_t)in), *y = floats((size_t)rows * (size_t)out);
    float *scale = floats((size_t)out), *bias = floats((size_t)out), *scale_x = floats((size_t)rows);
    const size_t panels = (size_t)(rows / k->panel.rows + 1) * (size_t)(k->panel.rows * k->panel.unit) *
                          (size_t)((in + 15) / 16 * 2);
    int8_t *q = aligned_alloc(64, (panels + 63) / 64 * 64), *weight = calloc((size_t)out * (size_t)in + 64, 1);
    int32_t *sum = calloc((size_t)out, 4);
    if (q == NULL || weight == NULL || sum == NULL) exit(2);
    memset(weight, 3, (size_t)out * (size_t)in);
    const ck_matrix_i8 w = {weight, scale, sum, bias, in, out};
    const ck_quantize_args source = {.x = x, .stride = (size_t)in, .in = in};
    const ck_linear_i8_args a = {.source = &source, .panels = q, .scale_x = scale_x, .w = &w, .y = y,
                                 .stride_y = (size_t)out};
    char name[64];
    snprintf(name, sizeof name, "linear_i8 %d x %d, %d rows", in, out, rows);
    TIME(name, 2.0 * rows * in * out, k->linear_i8(&a, 0, rows, 0, out));
    snprintf(name, sizeof name, "quantize %d x %d (values)", rows, in);
    TIME(name, (double)rows * in, k->quantize_panels(&source, 0, rows, q, scale_x));
    free(x), free(y), free(scale), free(bias), free(scale_x), free(q), free(weight), free(sum);
}

/// A convolution of `in` channels, twice with a past, from bytes to bytes.
static void time_convolution_i8(const ck_kernels *k, int32_t size, int32_t in, int past, int32_t out, int32_t kernel) {
    const size_t pixels = (size_t)size * (size_t)size, outs = (size_t)(out + 15) / 16 * 16;
    const size_t all = (size_t)(in + 15) / 16 * 16 * (size_t)(1 + past);
    uint8_t *input = calloc(pixels, (size_t)in), *output = calloc(pixels, (size_t)out);
    int8_t *weight = calloc(outs * all, (size_t)(kernel * kernel));
    int32_t *sum = calloc(outs, 4);
    float *scale = floats(outs), *bias = floats(outs);
    if (input == NULL || output == NULL || weight == NULL || sum == NULL) exit(2);
    memset(input, 9, pixels * (size_t)in);
    memset(weight, 3, outs * all * (size_t)(kernel * kernel));
    const ck_convolution_i8_args a = {.input = input, .input2 = past ? input : NULL, .weight = weight, .scale = scale,
                                      .sum = sum, .bias = bias, .output = output, .quantization_in = {0.01f, 0},
                                      .quantization_out = {0.1f, 0}, .height = size, .width = size, .in = in,
                                      .in2 = in, .out = out, .stride_in = in, .enlarge = 1, .kernel = kernel,
                                      .stride = 1, .activation = CK_ACTIVATION_RELU};
    char name[64];
    snprintf(name, sizeof name, "convolution_i8 %dx%d %d%s to %d, %dx%d", kernel, kernel, in, past ? " twice" : "", out,
             size, size);
    TIME(name, 2.0 * kernel * kernel * (double)pixels * in * (1 + past) * out, k->convolution_i8(&a, 0, size));
    free(input), free(output), free(weight), free(sum), free(scale), free(bias);
}

void time_level(const ck_kernels *k) {
    printf("level %s (one thread, indicative)\n", ck_level_name(k->level));
    const int slow = k->level == CK_LEVEL_REFERENCE;
    time_linear(k, slow ? 8 : 64, 192, 768);
    if (!slow) {
        time_linear(k, 64, 384, 1536);
        time_linear(k, 256, 1536, 1536);
        time_linear(k, 64, 8960, 1536);
    }
    {
        float *x = floats(64 * 384), *w = floats(384 * 384), *y = floats(64 * 384);
        TIME("linear_f32 384 x 384, 64 rows", 2.0 * 64 * 384 * 384,
             k->linear_f32(x, 384, 64, w, NULL, 384, 0, 384, CK_ACTIVATION_NONE, y, 384));
        free(x), free(w), free(y);
    }
    {
        float *q = floats(320 * 192), *keys = floats(320 * 192), *v = floats(320 * 192), *out = floats(320 * 192);
        const ck_attention_f32_args a = {.q = q, .k = keys, .v = v, .out = out, .queries = 320, .keys = 320,
                                         .head_dim = 64, .stride_q = 192, .stride_k = 192, .stride_v = 192,
                                         .stride_out = 192, .scale = 0.125f};
        TIME("attention 320 x 320, head_dim 64", 4.0 * 320 * 320 * 64, k->attention_f32(&a));
        free(q), free(keys), free(v), free(out);
    }
    static const int32_t attentions[][3] = {{320, 320, 64}, {80, 80, 64}, {320, 24, 64}, {192, 4000, 128}};
    for (size_t i = 0; i < (slow ? 2 : sizeof attentions / sizeof *attentions); i++) {
        const int32_t queries = attentions[i][0], keys = attentions[i][1], dim = attentions[i][2];
        float *q = floats((size_t)(queries * dim)), *k_ = floats((size_t)(keys * dim));
        float *v = floats((size_t)(keys * dim) + 1), *out = floats((size_t)(queries * dim));
        void *prepared = aligned_alloc(64, ck_attention_i8_bytes(keys, dim));
        if (prepared == NULL) exit(2);
        const ck_attention_i8_keys a = {.k = k_, .v = v, .prepared = prepared, .keys = keys, .head_dim = dim,
                                        .stride_k = dim, .stride_v = dim};
        const ck_attention_i8_args b = {.q = q, .out = out, .prepared = prepared, .queries = queries, .keys = keys,
                                        .head_dim = dim, .stride_q = dim, .stride_out = dim, .scale = 0.125f};
        const ck_attention_f32_args c = {.q = q, .k = k_, .v = v, .out = out, .queries = queries, .keys = keys,
                                         .head_dim = dim, .stride_q = dim, .stride_k = dim, .stride_v = dim,
                                         .stride_out = dim, .scale = 0.125f};
        const double operations = 4.0 * queries * keys * dim;
        const int32_t blocks = (keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK;
        printf(" %d queries, %d keys, head_dim %d\n", queries, keys, dim);
        TIME("attention_f32", operations, k->attention_f32(&c));
        TIME("attention_i8 preparation (bytes)", 8.0 * keys * dim,
             (k->attention_i8_center(&a), k->attention_i8_pack(&a, 0, blocks)));
        TIME("attention_i8", operations, k->attention_i8(&b));
        free(q), free(k_), free(v), free(out), free(prepared);
    }
    static const int32_t convolutions[][4] = {{16, 96, 96, 0}, {32, 64, 64, 0}, {32, 64, 32, 32}, {64, 32, 32, 0},
                                              {64, 32, 12, 0}};  // size, in, out, in2
    for (size_t i = 0; i < (slow ? 1 : sizeof convolutions / sizeof *convolutions); i++) {
        const int32_t size = convolutions[i][0], in = convolutions[i][1], out = convolutions[i][2],
                      in2 = convolutions[i][3];
        const size_t pixels = (size_t)size * (size_t)size, padded = (size_t)(out + 15) / 16 * 16;
        float *input = floats(pixels * (size_t)in), *input2 = floats(pixels * (size_t)in2 + 1);
        float *weight = floats(9 * (size_t)(in + in2) * padded), *output = floats(pixels * (size_t)out);
        const ck_convolution_f32_args a = {.input = input, .input2 = in2 > 0 ? input2 : NULL, .weight = weight,
                                           .output = output, .height = size, .width = size, .in = in, .in2 = in2,
                                           .out = out, .kernel = 3, .stride = 1, .activation = CK_ACTIVATION_RELU};
        char name[64];
        snprintf(name, sizeof name, "convolution %d+%d to %d, %d x %d", in, in2, out, size, size);
        TIME(name, 2.0 * 9 * (double)pixels * (in + in2) * out, k->convolution_f32(&a, 0, size));
        free(input), free(input2), free(weight), free(output);
    }
    time_convolution_i8(k, slow ? 8 : 64, 64, 0, 64, 3);
    if (!slow) {
        time_convolution_i8(k, 64, 64, 1, 64, 3);
        time_convolution_i8(k, 32, 128, 1, 128, 3);
        time_convolution_i8(k, 32, 256, 1, 256, 3);
        time_convolution_i8(k, 16, 96, 1, 96, 3);
        time_convolution_i8(k, 16, 96, 0, 48, 3);
        time_convolution_i8(k, 64, 64, 0, 12, 3);
        time_convolution_i8(k, 64, 64, 0, 128, 1);
    }
    {
        float *x = floats(65536), *y = floats(65536);
        TIME("gelu_tanh (values)", 65536.0, k->activate(x, y, 65536, CK_ACTIVATION_GELU_TANH));
        free(x), free(y);
    }
}
