// The end of every int8 linear, written once: exact sums to float32 rows. Include inside CK_TARGET_BEGIN.
#include "vector.inc.h"

/// sums is [rows][stride_sums], of the outputs from `o` on; writes outputs o..<end, end - o <= stride_sums.
static __attribute__((unused)) void finish(const int32_t *sums, int32_t stride_sums, int32_t rows, const float *scale_x,
                                           const ck_matrix_i8 *w, int32_t o, int32_t end, ck_activation activation,
                                           float *y, size_t stride_y) {
    for (int32_t c = o; c < end; c += 16) {
        const int32_t n = end - c < 16 ? end - c : 16;
        // The matrix's rows end on a multiple of 8: that many can be read.
        const int32_t readable = n > 8 ? 16 : 8;
        const f32x16 scale = load_first(w->scale + c, readable);
        const f32x16 bias = w->bias != NULL ? load_first(w->bias + c, readable) : splat(0.0f);
        for (int32_t r = 0; r < rows; r++) {
            i32x16 sum;
            memcpy(&sum, sums + r * stride_sums + (c - o), sizeof sum);
            f32x16 v = __builtin_convertvector(sum, f32x16) * (scale_x[r] * scale);
            if (w->bias != NULL) v = v + bias;
            store_first(y + (size_t)r * stride_y + (size_t)c, activation16(v, activation), n);
        }
    }
}
