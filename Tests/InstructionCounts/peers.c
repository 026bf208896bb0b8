// The int8 linears of ggml (q8_0) and XNNPACK (qd8-f32-qc8w), run as program.c runs ours: counts.py --peers compiles this
// beside their sources, once for each level, with that level's instructions allowed. Products alone: what is quantized,
// packed or cut into tiles around these functions is not in the counts.
// usage: peers CASES          (the lines of linear_i8 are taken)
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/xnnpack.h"
#include "src/xnnpack/gemm.h"
#include "src/xnnpack/microparams.h"

__attribute__((noinline)) void count_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void count_end(void) { __asm__ volatile("" ::: "memory"); }

static void *memory(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 4096) / 64 * 64);
    if (p == NULL) exit(2);
    memset(p, 1, (bytes + 4096) / 64 * 64);
    return p;
}

enum { BLOCK = 32, BLOCK_BYTES = BLOCK + 2 };  // of q8_0: 32 numbers and a half-precision scale

void ggml_vec_dot_q8_0_q8_0(int n, float *s, size_t bs, const void *x, size_t bx, const void *y, size_t by, int rows);
void ggml_gemm_q8_0_4x4_q8_0(int n, float *s, size_t bs, const void *w, const void *x, int rows, int outs);
void ggml_gemm_q8_0_4x8_q8_0(int n, float *s, size_t bs, const void *w, const void *x, int rows, int outs);

/// Rows repacked by four for ggml's gemm (whose rows are a multiple of four), else one product of rows after another.
static void run_ggml(int rows, int in, int out) {
    const size_t row = (size_t)(in / BLOCK) * BLOCK_BYTES;
    const char *x = memory(row * (size_t)rows), *w = memory(row * (size_t)out);
    float *y = memory((size_t)rows * (size_t)out * sizeof *y);
    count_begin();
#if defined __ARM_FEATURE_MATMUL_INT8
    ggml_gemm_q8_0_4x8_q8_0(in, y, (size_t)out, w, x, rows, out);
#elif defined __ARM_FEATURE_DOTPROD
    ggml_gemm_q8_0_4x4_q8_0(in, y, (size_t)out, w, x, rows, out);
#else
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < out; o++)
            ggml_vec_dot_q8_0_q8_0(in, y + (size_t)r * (size_t)out + (size_t)o, 0, w + row * (size_t)o, 0, x + row * (size_t)r, 0, 1);
#endif
    count_end();
}

static void run_xnnpack(int rows, int in, int out) {
    // 16 outputs: their sums, their weights, scales and biases.
    const size_t packed = (size_t)(out / 16) * (16 * 4 + (size_t)in * 16 + 2 * 16 * 4);
    const int8_t *x = memory((size_t)rows * (size_t)in);
    const char *w = memory(packed);
    float *y = memory((size_t)rows * (size_t)out * sizeof *y);
    struct xnn_qd8_quantization_params *quantization = memory((size_t)rows * sizeof *quantization);
    struct xnn_f32_minmax_params limits;
    memset(&limits, 0, sizeof limits);
    count_begin();
    for (int r = 0; r < rows; r += 4) {
        const size_t tall = rows - r < 4 ? (size_t)(rows - r) : 4;
        PEER_XNNPACK(tall, (size_t)out, (size_t)in, x + (size_t)r * (size_t)in, (size_t)in, w, y + (size_t)r * (size_t)out,
                     (size_t)out * sizeof *y, 16 * sizeof *y, &limits, quantization + r);
    }
    count_end();
}

int main(int argc, char **argv) {
    FILE *cases = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (cases == NULL) return fprintf(stderr, "usage: peers CASES\n"), 2;
    char line[512];
    while (fgets(line, sizeof line, cases) != NULL) {
        int rows, in, out;
        if (sscanf(line, "linear_i8 %d %d %d", &rows, &in, &out) != 3) continue;
        if (in % BLOCK != 0 || out % 16 != 0) return fprintf(stderr, "peers take multiples of 32 inputs and 16 outputs\n"), 1;
        if (rows % 4 == 0) {
            run_ggml(rows, in, out);
            printf(PEER_LEVEL " ggml %dx%dx%d %lld\n", rows, in, out, (long long)rows * in * out);
        }
        run_xnnpack(rows, in, out);
        printf(PEER_LEVEL " xnnpack %dx%dx%d %lld\n", rows, in, out, (long long)rows * in * out);
    }
    fclose(cases);
    return 0;
}
