// Runs every case of a list on every kernel level of this CPU, once each, between count_begin and count_end, which
// plugin.c looks for. Prints "LEVEL OPERATION NUMBERS... PRODUCTS" in the order in which they ran.
// usage: program CASES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

__attribute__((noinline)) void count_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void count_end(void) { __asm__ volatile("" ::: "memory"); }

enum { NUMBERS = 8 };

static size_t rounded(int64_t n, int64_t multiple) { return (size_t)((n + multiple - 1) / multiple * multiple); }

static void *memory(size_t bytes) {
    void *p = aligned_alloc(64, rounded((int64_t)bytes + 64, 64));
    if (p == NULL) exit(2);
    memset(p, 0, rounded((int64_t)bytes + 64, 64));
    return p;
}

static uint32_t state = 1;

static uint32_t next(void) { return state = state * 1664525u + 1013904223u; }

static float *floats(size_t n) {
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)(int32_t)next() * 0x1p-31f;
    return x;
}

static int8_t *bytes(size_t n) {
    int8_t *x = memory(n);
    for (size_t i = 0; i < n; i++) x[i] = (int8_t)((int)(next() >> 24) % 127);
    return x;
}

// Each operation returns how many products it takes, 0 where that says nothing.
typedef int64_t operation(const ck_kernels *k, const int32_t *n);

static int8_t *panels(const ck_kernels *k, int32_t rows, int32_t in) {
    return bytes(rounded(rows, k->panel.rows) * rounded(in, 16) / 8 * (size_t)k->panel.unit);
}

static int64_t run_linear_i8(const ck_kernels *k, const int32_t *n) {
    const int32_t rows = n[0], in = n[1], out = n[2];
    const size_t wide = rounded(in, 16), tall = rounded(out, 8);
    const ck_matrix_i8 w = {bytes(wide * tall + 64), floats(tall), memory(tall * 4), floats(tall), in, out};
    const ck_linear_i8_args a = {.panels = panels(k, rows, in), .scale_x = floats((size_t)rows), .w = &w,
                                 .y = floats((size_t)rows * tall), .stride_y = tall};
    count_begin();
    k->linear_i8(&a, 0, rows, 0, out);
    count_end();
    return (int64_t)rows * in * out;
}

static int64_t run_quantize_panels(const ck_kernels *k, const int32_t *n) {
    const ck_quantize_args a = {.x = floats((size_t)n[0] * (size_t)n[1]), .stride = (size_t)n[1], .in = n[1]};
    int8_t *q = panels(k, n[0], n[1]);
    float *scale = floats((size_t)n[0]);
    count_begin();
    k->quantize_panels(&a, 0, n[0], q, scale);
    count_end();
    return 0;
}

static int64_t run_linear_f32(const ck_kernels *k, const int32_t *n) {
    const int32_t rows = n[0], in = n[1], out = n[2];
    const float *x = floats((size_t)rows * (size_t)in), *w = floats((size_t)in * (size_t)out);
    float *y = floats((size_t)rows * (size_t)out);
    count_begin();
    k->linear_f32(x, (size_t)in, rows, w, NULL, in, 0, out, CK_ACTIVATION_NONE, y, (size_t)out);
    count_end();
    return (int64_t)rows * in * out;
}

static int64_t run_attention_f32(const ck_kernels *k, const int32_t *n) {
    const int32_t queries = n[0], keys = n[1], width = n[2];
    const ck_attention_f32_args a = {
        .q = floats((size_t)queries * (size_t)width), .k = floats((size_t)keys * (size_t)width),
        .v = floats((size_t)keys * (size_t)width), .out = floats((size_t)queries * (size_t)width),
        .queries = queries, .keys = keys, .head_dim = width, .stride_q = width, .stride_k = width, .stride_v = width,
        .stride_out = width, .scale = 0.125f};
    count_begin();
    k->attention_f32(&a);
    count_end();
    return 2 * (int64_t)queries * keys * width;
}

static int64_t run_attention_i8(const ck_kernels *k, const int32_t *n) {
    const int32_t queries = n[0], keys = n[1], width = n[2];
    const size_t bytes = rounded((int32_t)ck_attention_i8_bytes(keys, width), 64);
    void *prepared = aligned_alloc(64, bytes);
    if (prepared == NULL) exit(2);
    const ck_attention_i8_keys from = {
        .k = floats((size_t)keys * (size_t)width), .v = floats((size_t)keys * (size_t)width), .prepared = prepared,
        .keys = keys, .head_dim = width, .stride_k = width, .stride_v = width};
    const ck_attention_i8_args a = {
        .q = floats((size_t)queries * (size_t)width), .out = floats((size_t)queries * (size_t)width),
        .prepared = prepared, .queries = queries, .keys = keys, .head_dim = width, .stride_q = width,
        .stride_out = width, .scale = 0.125f};
    k->attention_i8_center(&from);
    k->attention_i8_pack(&from, 0, (keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK);
    count_begin();
    k->attention_i8(&a);
    count_end();
    return 2 * (int64_t)queries * keys * width;
}

static int64_t run_convolution_f32(const ck_kernels *k, const int32_t *n) {
    const int32_t side = n[0], in = n[1], out = n[2], in2 = n[3], kernel = n[4];
    const size_t pixels = (size_t)side * (size_t)side, padded = rounded(out, 16);
    const ck_convolution_f32_args a = {
        .input = floats(pixels * (size_t)in), .input2 = in2 > 0 ? floats(pixels * (size_t)in2) : NULL,
        .weight = floats((size_t)(kernel * kernel) * (size_t)(in + in2) * padded), .bias = floats(padded),
        .output = floats(pixels * (size_t)out), .height = side, .width = side, .in = in, .in2 = in2, .out = out,
        .kernel = kernel, .stride = 1, .activation = CK_ACTIVATION_RELU};
    count_begin();
    k->convolution_f32(&a, 0, side);
    count_end();
    return (int64_t)kernel * kernel * side * side * (in + in2) * out;
}

static int64_t run_convolution_i8(const ck_kernels *k, const int32_t *n) {
    const int32_t side = n[0], in = n[1], out = n[2], in2 = n[3], kernel = n[4], enlarge = n[5];
    const size_t pixels = (size_t)side * (size_t)side, padded = rounded(out, 16);
    const size_t inputs = rounded(in, 16) + rounded(in2, 16);
    const ck_convolution_i8_args a = {
        .input = (const uint8_t *)bytes(pixels * (size_t)in),
        .input2 = in2 > 0 ? (const uint8_t *)bytes(pixels * (size_t)in2) : NULL,
        .weight = bytes((size_t)(kernel * kernel) * inputs * padded + 64), .scale = floats(padded),
        .sum = memory(padded * 4), .bias = floats(padded), .output = memory(pixels * (size_t)out),
        .quantization_in = {0.02f, 0}, .quantization_residual = {0.02f, 0}, .quantization_out = {0.02f, 0},
        .height = side, .width = side, .in = in, .in2 = in2, .out = out, .stride_in = in, .enlarge = enlarge,
        .kernel = kernel, .stride = 1, .activation = CK_ACTIVATION_RELU};
    count_begin();
    k->convolution_i8(&a, 0, side);
    count_end();
    return (int64_t)kernel * kernel * side * side * (in + in2) * out;
}

static int64_t run_layer_norm(const ck_kernels *k, const int32_t *n) {
    const float *x = floats((size_t)n[1]), *scale = floats((size_t)n[1]), *shift = floats((size_t)n[1]);
    float *y = floats((size_t)n[1]);
    count_begin();
    for (int32_t r = 0; r < n[0]; r++) k->layer_norm(x, n[1], 1e-6f, NULL, NULL, scale, shift, y);
    count_end();
    return 0;
}

static int64_t run_rms_norm(const ck_kernels *k, const int32_t *n) {
    const float *x = floats((size_t)n[1]), *gamma = floats((size_t)n[1]);
    float *y = floats((size_t)n[1]);
    count_begin();
    for (int32_t r = 0; r < n[0]; r++) k->rms_norm(x, n[1], 1e-6f, gamma, y);
    count_end();
    return 0;
}

static int64_t run_activate(const ck_kernels *k, const int32_t *n) {
    const float *x = floats((size_t)n[0]);
    float *y = floats((size_t)n[0]);
    count_begin();
    k->activate(x, y, n[0], (ck_activation)n[1]);
    count_end();
    return 0;
}

static const struct {
    const char *name;
    int numbers;
    operation *run;
} operations[] = {
    {"linear_i8", 3, run_linear_i8},
    {"quantize_panels", 2, run_quantize_panels},
    {"linear_f32", 3, run_linear_f32},
    {"attention_f32", 3, run_attention_f32},
    {"attention_i8", 3, run_attention_i8},
    {"convolution_f32", 5, run_convolution_f32},
    {"convolution_i8", 6, run_convolution_i8},
    {"layer_norm", 2, run_layer_norm},
    {"rms_norm", 2, run_rms_norm},
    {"activate", 2, run_activate},
};

static int run_line(char *line) {
    char *rest = NULL;
    const char *name = strtok_r(line, "\t\n", &rest);
    char *text = strtok_r(NULL, "\t\n", &rest);
    if (name == NULL || name[0] == '#') return 0;
    for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
        if (strcmp(name, operations[o].name) != 0) continue;
        int32_t n[NUMBERS];
        int count = 0;
        char *numbers = NULL, joined[128] = "";
        for (char *word = strtok_r(text, " ", &numbers); word != NULL; word = strtok_r(NULL, " ", &numbers)) {
            if (count == operations[o].numbers) return fprintf(stderr, "%s: too many numbers\n", name), 1;
            n[count++] = (int32_t)strtol(word, NULL, 10);
            snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", count > 1 ? "x" : "", word);
        }
        if (count != operations[o].numbers) return fprintf(stderr, "%s: too few numbers\n", name), 1;
        for (int level = CK_LEVEL_REFERENCE + 1; level < CK_LEVEL_COUNT; level++) {
            const ck_kernels *k = ck_kernels_at((ck_level)level);
            if (k == NULL) continue;
            const long long products = operations[o].run(k, n);
            printf("%s %s %s %lld\n", ck_level_name(k->level), name, joined, products);
        }
        return 0;
    }
    return fprintf(stderr, "no operation is called %s\n", name), 1;
}

int main(int argc, char **argv) {
    FILE *cases = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (cases == NULL) return fprintf(stderr, "usage: program CASES\n"), 2;
    char line[512];
    while (fgets(line, sizeof line, cases) != NULL)
        if (run_line(line) != 0) return 1;
    fclose(cases);
    return 0;
}
