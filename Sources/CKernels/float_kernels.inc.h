// The float operations in 16 lanes, written once; each including file compiles them for one instruction set after
// defining the sizes of the register tiles: FK_ROWS x FK_OUTS (linear), FK_PIXELS x FK_VECTORS (convolution),
// FK_QUERIES x FK_KEYS and FK_QUERIES x FK_DIMS (attention). Tile sizes do not change a bit of the result.
#include "vector.inc.h"

enum { FK_BLOCK_OUTS = 16 / FK_ROWS };
_Static_assert(FK_BLOCK_OUTS % FK_OUTS == 0 && 16 % FK_KEYS == 0, "sixteen sums are finished at a time");

/// parts[r * FK_BLOCK_OUTS + o] = the 16 lanes of row r times output o.
CK_INLINE void linear_tile(const float *x, size_t stride_x, const float *w, int32_t in, const int rows, const int outs,
                           f32x16 *parts) {
    f32x16 sums[FK_ROWS * FK_OUTS];
    CK_UNROLL for (int i = 0; i < rows * outs; i++) sums[i] = splat(0.0f);
    int32_t k = 0;
    for (; k + 16 <= in; k += 16) {
        f32x16 weights[FK_OUTS];
        CK_UNROLL for (int o = 0; o < outs; o++) weights[o] = load(w + (size_t)o * (size_t)in + (size_t)k);
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const f32x16 v = load(x + (size_t)r * stride_x + (size_t)k);
            CK_UNROLL for (int o = 0; o < outs; o++) sums[r * outs + o] = fused(v, weights[o], sums[r * outs + o]);
        }
    }
    if (k < in) {
        CK_UNROLL for (int r = 0; r < rows; r++) {
            const f32x16 v = load_first(x + (size_t)r * stride_x + (size_t)k, in - k);
            CK_UNROLL for (int o = 0; o < outs; o++) {
                const f32x16 weight = load_first(w + (size_t)o * (size_t)in + (size_t)k, in - k);
                sums[r * outs + o] = fused(v, weight, sums[r * outs + o]);
            }
        }
    }
    CK_UNROLL for (int r = 0; r < rows; r++) {
        CK_UNROLL for (int o = 0; o < outs; o++) parts[r * FK_BLOCK_OUTS + o] = sums[r * outs + o];
    }
}

static void linear_f32(const float *x, size_t stride_x, int32_t rows, const float *w, const float *bias, int32_t in,
                       int32_t out_begin, int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    for (int32_t begin = out_begin; begin < out_end; begin += FK_BLOCK_OUTS) {
        const int32_t outs = out_end - begin < FK_BLOCK_OUTS ? out_end - begin : FK_BLOCK_OUTS;
        for (int32_t row = 0; row < rows; row += FK_ROWS) {
            const int32_t tall = rows - row < FK_ROWS ? rows - row : FK_ROWS;
            f32x16 parts[16] = {0};
            for (int32_t o = 0; o < outs;) {
                const float *xs = x + (size_t)row * stride_x, *ws = w + (size_t)(begin + o) * (size_t)in;
                const int32_t wide = outs - o >= FK_OUTS ? FK_OUTS : 1;
                if (tall == FK_ROWS && wide == FK_OUTS)
                    linear_tile(xs, stride_x, ws, in, FK_ROWS, FK_OUTS, parts + o);
                else
                    for (int32_t r = 0; r < tall; r++) {
                        f32x16 *to = parts + r * FK_BLOCK_OUTS + o;
                        if (wide == FK_OUTS)
                            linear_tile(xs + (size_t)r * stride_x, 0, ws, in, 1, FK_OUTS, to);
                        else
                            linear_tile(xs + (size_t)r * stride_x, 0, ws, in, 1, 1, to);
                    }
                o += wide;
            }
            f32x16 v = trees(parts);
            if (bias != NULL) {
                float biases[16] = {0};
                for (int32_t i = 0; i < 16; i++)
                    if (i % FK_BLOCK_OUTS < outs) biases[i] = bias[begin + i % FK_BLOCK_OUTS];
                v = v + load(biases);
            }
            float values[16];
            store(values, activation16(v, activation));
            for (int32_t r = 0; r < tall; r++)
                memcpy(y + (size_t)(row + r) * stride_y + (size_t)begin, values + r * FK_BLOCK_OUTS,
                       (size_t)outs * sizeof(float));
        }
    }
}

/// parts[q * 16 + j] = the 16 lanes of query q times key j.
CK_INLINE void score_tile(const float *q, size_t stride_q, const float *k, size_t stride_k, int32_t head_dim,
                          const int queries, const int keys, f32x16 *parts) {
    f32x16 sums[FK_QUERIES * FK_KEYS];
    CK_UNROLL for (int i = 0; i < queries * keys; i++) sums[i] = splat(0.0f);
    for (int32_t d = 0; d < head_dim; d += 16) {
        f32x16 key[FK_KEYS];
        CK_UNROLL for (int j = 0; j < keys; j++) key[j] = load(k + (size_t)j * stride_k + (size_t)d);
        CK_UNROLL for (int i = 0; i < queries; i++) {
            const f32x16 v = load(q + (size_t)i * stride_q + (size_t)d);
            CK_UNROLL for (int j = 0; j < keys; j++) sums[i * keys + j] = fused(v, key[j], sums[i * keys + j]);
        }
    }
    CK_UNROLL for (int i = 0; i < queries; i++) {
        CK_UNROLL for (int j = 0; j < keys; j++) parts[i * 16 + j] = sums[i * keys + j];
    }
}

/// sum[i][d] = sum[i][d] * rescale[i] + Σ p[i][j] * v[j][d], keys in ascending order.
CK_INLINE void value_tile(const float *v, size_t stride_v, int32_t keys, const float (*p)[CK_ATTENTION_BLOCK],
                          const float *rescale, const int queries, const int dims, float (*sum)[CK_HEAD_DIM_MAX],
                          int32_t d) {
    f32x16 sums[FK_QUERIES * FK_DIMS];
    CK_UNROLL for (int i = 0; i < queries; i++) {
        CK_UNROLL for (int t = 0; t < dims; t++) sums[i * dims + t] = load(sum[i] + d + 16 * t) * rescale[i];
    }
    for (int32_t j = 0; j < keys; j++) {
        f32x16 value[FK_DIMS];
        CK_UNROLL for (int t = 0; t < dims; t++) value[t] = load(v + (size_t)j * stride_v + (size_t)(d + 16 * t));
        CK_UNROLL for (int i = 0; i < queries; i++) {
            const f32x16 weight = splat(p[i][j]);
            CK_UNROLL for (int t = 0; t < dims; t++) sums[i * dims + t] = fused(weight, value[t], sums[i * dims + t]);
        }
    }
    CK_UNROLL for (int i = 0; i < queries; i++) {
        CK_UNROLL for (int t = 0; t < dims; t++) store(sum[i] + d + 16 * t, sums[i * dims + t]);
    }
}

CK_INLINE void attention_rows(const ck_attention_f32_args *a, int32_t first, const int queries) {
    const float *q = a->q + (size_t)first * (size_t)a->stride_q;
    float *out = a->out + (size_t)first * (size_t)a->stride_out;
    const size_t stride_q = (size_t)a->stride_q, stride_k = (size_t)a->stride_k, stride_v = (size_t)a->stride_v;
    float sum[FK_QUERIES][CK_HEAD_DIM_MAX], p[FK_QUERIES][CK_ATTENTION_BLOCK];
    float maximum[FK_QUERIES], total[FK_QUERIES], rescale[FK_QUERIES];
    for (int i = 0; i < queries; i++) {
        maximum[i] = CK_ATTENTION_LOWEST;
        total[i] = 0.0f;
        memset(sum[i], 0, (size_t)a->head_dim * sizeof(float));
    }
    for (int32_t begin = 0; begin < a->keys; begin += CK_ATTENTION_BLOCK) {
        const int32_t count = a->keys - begin < CK_ATTENTION_BLOCK ? a->keys - begin : CK_ATTENTION_BLOCK;
        for (int32_t j = 0; j < count; j += 16) {
            const int32_t n = count - j < 16 ? count - j : 16;
            const float *k = a->k + (size_t)(begin + j) * stride_k;
            f32x16 parts[FK_QUERIES * 16];
            int32_t t = 0;
            for (; t + FK_KEYS <= n; t += FK_KEYS)
                score_tile(q, stride_q, k + (size_t)t * stride_k, stride_k, a->head_dim, queries, FK_KEYS, parts + t);
            for (; t < n; t++)
                score_tile(q, stride_q, k + (size_t)t * stride_k, stride_k, a->head_dim, queries, 1, parts + t);
            for (int i = 0; i < queries; i++) {
                for (int32_t u = n; u < 16; u++) parts[i * 16 + u] = splat(0.0f);
                f32x16 s = trees(parts + i * 16) * a->scale;
                if (a->key_bias != NULL) s = s + load_first(a->key_bias + begin + j, n);
                const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
                store(p[i] + j, choose(lane < n, s, splat(-__builtin_inff())));
            }
        }
        for (int i = 0; i < queries; i++) {
            f32x16 maxima = splat(maximum[i]);
            for (int32_t j = 0; j < count; j += 16) maxima = larger(load(p[i] + j), maxima);
            const float before = maximum[i];
            for (int lane = 0; lane < 16; lane++) maximum[i] = maxima[lane] > maximum[i] ? maxima[lane] : maximum[i];
            rescale[i] = ck_exp(before - maximum[i]);
            f32x16 lanes = {0};
            for (int32_t j = 0; j < count; j += 16) {
                const f32x16 e = exp16(load(p[i] + j) - maximum[i]);
                store(p[i] + j, e);
                lanes = lanes + e;
            }
            total[i] = total[i] * rescale[i] + tree(lanes);
        }
        const float *v = a->v + (size_t)begin * stride_v;
        int32_t d = 0;
        for (; d + 16 * FK_DIMS <= a->head_dim; d += 16 * FK_DIMS)
            value_tile(v, stride_v, count, (const float(*)[CK_ATTENTION_BLOCK])p, rescale, queries, FK_DIMS, sum, d);
        for (; d < a->head_dim; d += 16)
            value_tile(v, stride_v, count, (const float(*)[CK_ATTENTION_BLOCK])p, rescale, queries, 1, sum, d);
    }
    for (int i = 0; i < queries; i++) {
        const float inverse = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
        for (int32_t d = 0; d < a->head_dim; d += 16)
            store(out + (size_t)i * (size_t)a->stride_out + (size_t)d, load(sum[i] + d) * inverse);
    }
}

static void attention_f32(const ck_attention_f32_args *a) {
    int32_t i = 0;
    for (; i + FK_QUERIES <= a->queries; i += FK_QUERIES) attention_rows(a, i, FK_QUERIES);
    for (; i < a->queries; i++) attention_rows(a, i, 1);
}

typedef struct window {
    int32_t in_all, out_padded, out_width, pad;
    int32_t ky_begin, ky_end, kx_begin, kx_end;  // taps inside the image
    int32_t oy;
} window;

/// `pixels` neighbouring outputs of a row, 16 * vectors channels from `o`.
CK_INLINE void convolution_tile(const ck_convolution_f32_args *a, const window *g, int32_t ox, int32_t o,
                                const int pixels, const int vectors) {
    f32x16 sums[FK_PIXELS * FK_VECTORS];
    CK_UNROLL for (int i = 0; i < pixels * vectors; i++) sums[i] = splat(0.0f);
    for (int32_t ky = g->ky_begin; ky < g->ky_end; ky++)
        for (int32_t kx = g->kx_begin; kx < g->kx_end; kx++) {
            const size_t y = (size_t)(g->oy * a->stride + ky - g->pad), x = (size_t)(ox * a->stride + kx - g->pad);
            const size_t pixel = y * (size_t)a->width + x;
            const float *w = a->weight + (size_t)(ky * a->kernel + kx) * (size_t)g->in_all * (size_t)g->out_padded + o;
            for (int part = 0; part < 2; part++) {
                const int32_t channels = part == 0 ? a->in : g->in_all - a->in;
                const float *in = part == 0 ? a->input : a->input2;
                if (channels == 0) continue;
                in += pixel * (size_t)channels;
                const size_t step = (size_t)a->stride * (size_t)channels;
                for (int32_t c = 0; c < channels; c++) {
                    f32x16 weights[FK_VECTORS];
                    CK_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load(w + 16 * v);
                    CK_UNROLL for (int p = 0; p < pixels; p++) {
                        const f32x16 value = splat(in[(size_t)p * step + (size_t)c]);
                        CK_UNROLL for (int v = 0; v < vectors; v++)
                            sums[p * vectors + v] = fused(value, weights[v], sums[p * vectors + v]);
                    }
                    w += g->out_padded;
                }
            }
        }
    CK_UNROLL for (int p = 0; p < pixels; p++) {
        const size_t at = ((size_t)g->oy * (size_t)g->out_width + (size_t)(ox + p)) * (size_t)a->out;
        CK_UNROLL for (int v = 0; v < vectors; v++) {
            const int32_t c = o + 16 * v, n = a->out - c < 16 ? a->out - c : 16;
            f32x16 s = sums[p * vectors + v];
            if (a->bias != NULL) s = s + load(a->bias + c);
            if (a->residual != NULL) s = s + load_first(a->residual + at + (size_t)c, n);
            if (a->activation == CK_ACTIVATION_RELU) s = activation16(s, CK_ACTIVATION_RELU);
            store_first(a->output + at + (size_t)c, s, n);
        }
    }
}

#define FK_TILE(P) \
    static void convolution_##P(const ck_convolution_f32_args *a, const window *g, int32_t ox, int32_t o, int wide) { \
        if (wide) \
            convolution_tile(a, g, ox, o, P, FK_VECTORS); \
        else \
            convolution_tile(a, g, ox, o, P, 1); \
    }
FK_TILE(1)
FK_TILE(2)
FK_TILE(3)
FK_TILE(4)
#if FK_PIXELS > 4
FK_TILE(5)
FK_TILE(6)
#endif
#if FK_PIXELS > 6
FK_TILE(7)
FK_TILE(8)
#endif
#undef FK_TILE

static void convolution_run(const ck_convolution_f32_args *a, const window *g, int32_t ox, int32_t pixels, int32_t o,
                            int wide) {
    switch (pixels) {
    case 1: convolution_1(a, g, ox, o, wide); break;
    case 2: convolution_2(a, g, ox, o, wide); break;
    case 3: convolution_3(a, g, ox, o, wide); break;
    case 4: convolution_4(a, g, ox, o, wide); break;
#if FK_PIXELS > 4
    case 5: convolution_5(a, g, ox, o, wide); break;
    case 6: convolution_6(a, g, ox, o, wide); break;
#endif
#if FK_PIXELS > 6
    case 7: convolution_7(a, g, ox, o, wide); break;
    case 8: convolution_8(a, g, ox, o, wide); break;
#endif
    default: break;
    }
}

static void convolution_f32(const ck_convolution_f32_args *a, int32_t row_begin, int32_t row_end) {
    window g = {.in_all = a->in + (a->input2 != NULL ? a->in2 : 0),
                .out_padded = (a->out + 15) / 16 * 16,
                .out_width = (a->width + a->stride - 1) / a->stride,
                .pad = a->kernel / 2};
    for (g.oy = row_begin; g.oy < row_end; g.oy++) {
        const int32_t top = g.oy * a->stride - g.pad;
        g.ky_begin = top < 0 ? -top : 0;
        g.ky_end = a->height - top < a->kernel ? a->height - top : a->kernel;
        for (int32_t o = 0; o < g.out_padded;) {
            const int wide = g.out_padded - o >= 16 * FK_VECTORS;
            for (int32_t ox = 0; ox < g.out_width;) {
                const int32_t left = ox * a->stride - g.pad;
                int32_t pixels = 1;
                g.kx_begin = left < 0 ? -left : 0;
                g.kx_end = a->width - left < a->kernel ? a->width - left : a->kernel;
                if (g.kx_begin == 0 && g.kx_end == a->kernel) {
                    // up to the last output whose window ends inside the row
                    const int32_t inside = (a->width - a->kernel + g.pad) / a->stride + 1 - ox;
                    pixels = inside < FK_PIXELS ? inside : FK_PIXELS;
                }
                convolution_run(a, &g, ox, pixels, o, wide);
                ox += pixels;
            }
            o += wide ? 16 * FK_VECTORS : 16;
        }
    }
}

static void layer_norm(const float *x, int32_t n, float eps, const float *gamma, const float *beta, const float *scale,
                       const float *shift, float *y) {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    f32x16 lanes = {0}, squares = {0};
    for (int32_t i = 0; i < n; i += 16) lanes = lanes + load_first(x + i, n - i < 16 ? n - i : 16);
    const float mean = tree(lanes) / (float)n;
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        f32x16 d = load_first(x + i, count) - mean;
        if (count < 16) d = choose(lane < count, d, splat(0.0f));
        squares = squares + d * d;
    }
    const float inverse = 1.0f / __builtin_sqrtf(tree(squares) / (float)n + eps);
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        f32x16 v = (load_first(x + i, count) - mean) * inverse;
        if (gamma != NULL) v = v * load_first(gamma + i, count);
        if (beta != NULL) v = v + load_first(beta + i, count);
        if (scale != NULL) v = v * (1.0f + load_first(scale + i, count));
        if (shift != NULL) v = v + load_first(shift + i, count);
        store_first(y + i, v, count);
    }
}

static void rms_norm(const float *x, int32_t n, float eps, const float *gamma, float *y) {
    f32x16 squares = {0};
    for (int32_t i = 0; i < n; i += 16) {
        const f32x16 v = load_first(x + i, n - i < 16 ? n - i : 16);
        squares = fused(v, v, squares);
    }
    const float inverse = 1.0f / __builtin_sqrtf(tree(squares) / (float)n + eps);
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        f32x16 v = load_first(x + i, count) * inverse;
        if (gamma != NULL) v = v * load_first(gamma + i, count);
        store_first(y + i, v, count);
    }
}

static void rotary(float *x, int32_t heads, int32_t head_dim, const float *cos, const float *sin) {
    const int32_t pairs = head_dim / 2;
    for (int32_t h = 0; h < heads; h++) {
        float *head = x + (size_t)h * (size_t)head_dim;
        int32_t i = 0;
        for (; i + 16 <= pairs; i += 16) {
            const f32x16 low = load(head + 2 * i), high = load(head + 2 * i + 16);
            const f32x16 a =
                __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            const f32x16 b =
                __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            const f32x16 c = load(cos + i), s = load(sin + i);
            const f32x16 even = a * c - b * s, odd = a * s + b * c;
            store(head + 2 * i,
                  __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
            store(head + 2 * i + 16,
                  __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
        }
        for (; i < pairs; i++) {
            const float a = head[2 * i], b = head[2 * i + 1];
            head[2 * i] = a * cos[i] - b * sin[i];
            head[2 * i + 1] = a * sin[i] + b * cos[i];
        }
    }
}

static void add_gated(float *y, const float *x, const float *gate, int32_t n) {
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        f32x16 v = load_first(x + i, count);
        if (gate != NULL) v = v * load_first(gate + i, count);
        store_first(y + i, load_first(y + i, count) + v, count);
    }
}

static void activate(const float *x, float *y, int32_t n, ck_activation activation) {
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        store_first(y + i, activation16(load_first(x + i, count), activation), count);
    }
}

static void soft_clamp(const float *x, float *y, int32_t n) {
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        store_first(y + i, tanh16(load_first(x + i, count) / 3.0f) * 3.0f, count);
    }
}

static void axpby(float a, const float *x, float b, float *y, int32_t n) {
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        store_first(y + i, a * load_first(x + i, count) + b * load_first(y + i, count), count);
    }
}

static void quantize_u8(const float *x, int32_t n, ck_quantization to, uint8_t *q) {
    const float inverse = 1.0f / to.scale, low = (float)-to.zero;
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        store_bytes(q + i, load_first(x + i, count) * inverse, low, to.zero, count);
    }
}

static void dequantize_u8(const uint8_t *q, int32_t n, ck_quantization from, float *x) {
    for (int32_t i = 0; i < n; i += 16) {
        const int32_t count = n - i < 16 ? n - i : 16;
        store_first(x + i, floats_of(q + i, count, from.zero) * from.scale, count);
    }
}

/// `name` ends the names of the level's int8 kernels.
#define FK_TABLE(level_, name) \
    { \
        .level = level_, .panel = CK_PANEL_##name, .quantize_panels = ck_quantize_panels_##name, \
        .linear_i8 = ck_linear_i8_##name, .linear_f32 = linear_f32, .attention_f32 = attention_f32, \
        .attention_i8_center = ck_attention_i8_center_##name, .attention_i8_pack = ck_attention_i8_pack_##name, \
        .attention_i8 = ck_attention_i8_##name, \
        .convolution_f32 = convolution_f32, .convolution_i8 = ck_convolution_i8_##name, \
        .quantize_u8 = quantize_u8, .dequantize_u8 = dequantize_u8, .layer_norm = layer_norm, \
        .rms_norm = rms_norm, .rotary = rotary, .add_gated = add_gated, .activate = activate, \
        .soft_clamp = soft_clamp, .axpby = axpby, \
    }
