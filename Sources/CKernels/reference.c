// The reference: what every level must give, bit for bit. Plain loops; reductions run in 16 virtual lanes.
#include "reference.inc.h"

static const float *row_vector(ck_row_vectors v, int32_t row) {
    if (v.base == NULL || v.index == NULL) return v.base;
    return v.base + (size_t)v.index[row] * v.stride;
}

/// Stages of distance 64, 32, …, 1.
static void hadamard(float x[128]) {
    for (int distance = 64; distance > 0; distance /= 2)
        for (int i = 0; i < 128; i++)
            if ((i & distance) == 0) {
                const float a = x[i], b = x[i + distance];
                x[i] = a + b;
                x[i + distance] = a - b;
            }
    for (int i = 0; i < 128; i++) x[i] = x[i] * CK_HADAMARD_SCALE;
}

static void moments(const float *x, int32_t n, float eps, float *mean, float *inverse) {
    float lanes[16] = {0}, squares[16] = {0};
    for (int32_t i = 0; i < n; i++) lanes[i % 16] = lanes[i % 16] + x[i];
    *mean = tree(lanes) / (float)n;
    for (int32_t i = 0; i < n; i++) squares[i % 16] = squares[i % 16] + (x[i] - *mean) * (x[i] - *mean);
    *inverse = 1.0f / __builtin_sqrtf(tree(squares) / (float)n + eps);
}

static float modulated(float x, float mean, float inverse, const float *gamma, const float *beta, const float *scale,
                       const float *shift, int32_t i) {
    float v = (x - mean) * inverse;
    if (gamma != NULL) v = v * gamma[i];
    if (beta != NULL) v = v + beta[i];
    if (scale != NULL) v = v * (1.0f + scale[i]);
    if (shift != NULL) v = v + shift[i];
    return v;
}

/// Values from..<from + 128 of row r as they are to be rounded, 0 past `in`.
static void values(const ck_quantize_args *a, int32_t r, float mean, float inverse, int32_t from, float v[128]) {
    const float *x = a->x + (size_t)r * a->stride;
    for (int32_t i = 0; i < 128; i++) {
        v[i] = 0.0f;
        if (from + i >= a->in) continue;
        v[i] = x[from + i];
        if (a->normalize)
            v[i] = modulated(v[i], mean, inverse, a->gamma, a->beta, row_vector(a->scale, r), row_vector(a->shift, r),
                             from + i);
    }
    if (a->hadamard) hadamard(v);
}

/// x times its row's factor, rounded once. Nothing finite leaves -127...127.
static int8_t rounded(float x, float factor) {
    float v = x == x ? x : 0.0f;
    v = v > -CK_FLOAT_MAX ? v : -CK_FLOAT_MAX;
    v = v < CK_FLOAT_MAX ? v : CK_FLOAT_MAX;
    return (int8_t)(int32_t)(__builtin_fmaf(v, factor, CK_MAGIC) - CK_MAGIC);
}

/// A panel of the reference is a row.
static void quantize_panels(const ck_quantize_args *a, int32_t row_begin, int32_t row_end, int8_t *panels,
                            float *scale) {
    const int32_t padded = (a->in + 15) / 16 * 16;
    for (int32_t r = row_begin; r < row_end; r++) {
        int8_t *out = panels + (size_t)r * (size_t)padded;
        float mean = 0.0f, inverse_deviation = 0.0f, largest = 0.0f, v[128];
        if (a->normalize) moments(a->x + (size_t)r * a->stride, a->in, a->eps, &mean, &inverse_deviation);
        for (int32_t from = 0; from < a->in; from += 128) {
            values(a, r, mean, inverse_deviation, from, v);
            for (int32_t i = 0; i < 128; i++) {
                const float magnitude = v[i] < 0.0f ? -v[i] : v[i];
                largest = magnitude > largest ? magnitude : largest;
            }
        }
        largest = largest < CK_FLOAT_MAX ? largest : CK_FLOAT_MAX;
        const int zero = largest < CK_ROW_ZERO;
        const float inverse = zero ? 0.0f : 127.0f / largest;
        scale[r] = zero ? 0.0f : largest / 127.0f;
        for (int32_t from = 0; from < a->in; from += 128) {
            values(a, r, mean, inverse_deviation, from, v);
            for (int32_t i = 0; i < 128 && from + i < padded; i++) out[from + i] = rounded(v[i], inverse);
        }
    }
}

static void linear_f32(const float *x, size_t stride_x, int32_t rows, const float *w, const float *bias, int32_t in,
                       int32_t out_begin, int32_t out_end, ck_activation activation, float *y, size_t stride_y) {
    for (int32_t r = 0; r < rows; r++)
        for (int32_t o = out_begin; o < out_end; o++) {
            float v = dot(x + (size_t)r * stride_x, w + (size_t)o * (size_t)in, in);
            if (bias != NULL) v = v + bias[o];
            y[(size_t)r * stride_y + (size_t)o] = ck_activation_of(v, activation);
        }
}

static void attention_f32(const ck_attention_f32_args *a) {
    for (int32_t i = 0; i < a->queries; i++) {
        const float *q = a->q + (size_t)i * (size_t)a->stride_q;
        float *out = a->out + (size_t)i * (size_t)a->stride_out;
        float sum[CK_HEAD_DIM_MAX] = {0};
        float maximum = CK_ATTENTION_LOWEST, total = 0.0f;
        for (int32_t begin = 0; begin < a->keys; begin += CK_ATTENTION_BLOCK) {
            const int32_t count = a->keys - begin < CK_ATTENTION_BLOCK ? a->keys - begin : CK_ATTENTION_BLOCK;
            float p[CK_ATTENTION_BLOCK], lanes[16] = {0};
            const float before = maximum;
            for (int32_t j = 0; j < count; j++) {
                p[j] = dot(q, a->k + (size_t)(begin + j) * (size_t)a->stride_k, a->head_dim) * a->scale;
                if (a->key_bias != NULL) p[j] = p[j] + a->key_bias[begin + j];
                maximum = p[j] > maximum ? p[j] : maximum;
            }
            const float rescale = ck_exp(before - maximum);
            for (int32_t j = 0; j < count; j++) {
                p[j] = ck_exp(p[j] - maximum);
                lanes[j % 16] = lanes[j % 16] + p[j];
            }
            total = total * rescale + tree(lanes);
            for (int32_t d = 0; d < a->head_dim; d++) {
                float s = sum[d] * rescale;
                for (int32_t j = 0; j < count; j++)
                    s = __builtin_fmaf(p[j], a->v[(size_t)(begin + j) * (size_t)a->stride_v + (size_t)d], s);
                sum[d] = s;
            }
        }
        const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
        for (int32_t d = 0; d < a->head_dim; d++) out[d] = sum[d] * inverse;
    }
}

static void convolution_f32(const ck_convolution_f32_args *a, int32_t row_begin, int32_t row_end) {
    const int32_t out_width = (a->width + a->stride - 1) / a->stride, out_padded = (a->out + 15) / 16 * 16;
    const int32_t in_all = a->in + (a->input2 != NULL ? a->in2 : 0);
    for (int32_t oy = row_begin; oy < row_end; oy++)
        for (int32_t ox = 0; ox < out_width; ox++)
            for (int32_t o = 0; o < a->out; o++) {
                float s = 0.0f;
                for (int32_t ky = 0; ky < a->kernel; ky++)
                    for (int32_t kx = 0; kx < a->kernel; kx++) {
                        const int32_t y = oy * a->stride + ky - a->kernel / 2, x = ox * a->stride + kx - a->kernel / 2;
                        if (y < 0 || y >= a->height || x < 0 || x >= a->width) continue;
                        const size_t pixel = (size_t)y * (size_t)a->width + (size_t)x;
                        for (int32_t i = 0; i < in_all; i++) {
                            const size_t tap = (size_t)(ky * a->kernel + kx) * (size_t)in_all + (size_t)i;
                            const float v = i < a->in ? a->input[pixel * (size_t)a->in + (size_t)i]
                                                      : a->input2[pixel * (size_t)a->in2 + (size_t)(i - a->in)];
                            s = __builtin_fmaf(v, a->weight[tap * (size_t)out_padded + (size_t)o], s);
                        }
                    }
                const size_t at = ((size_t)oy * (size_t)out_width + (size_t)ox) * (size_t)a->out + (size_t)o;
                if (a->bias != NULL) s = s + a->bias[o];
                if (a->residual != NULL) s = s + a->residual[at];
                if (a->activation == CK_ACTIVATION_RELU) s = ck_activation_of(s, CK_ACTIVATION_RELU);
                a->output[at] = s;
            }
}

static void layer_norm(const float *x, int32_t n, float eps, const float *gamma, const float *beta, const float *scale,
                       const float *shift, float *y) {
    float mean, inverse;
    moments(x, n, eps, &mean, &inverse);
    for (int32_t i = 0; i < n; i++) y[i] = modulated(x[i], mean, inverse, gamma, beta, scale, shift, i);
}

static void rms_norm(const float *x, int32_t n, float eps, const float *gamma, float *y) {
    const float inverse = 1.0f / __builtin_sqrtf(dot(x, x, n) / (float)n + eps);
    for (int32_t i = 0; i < n; i++) {
        float v = x[i] * inverse;
        if (gamma != NULL) v = v * gamma[i];
        y[i] = v;
    }
}

static void rotary(float *x, int32_t heads, int32_t head_dim, const float *cos, const float *sin) {
    for (int32_t h = 0; h < heads; h++)
        for (int32_t i = 0; i < head_dim / 2; i++) {
            float *pair = x + (size_t)h * (size_t)head_dim + 2 * (size_t)i;
            const float a = pair[0], b = pair[1];
            pair[0] = a * cos[i] - b * sin[i];
            pair[1] = a * sin[i] + b * cos[i];
        }
}

static void add_gated(float *y, const float *x, const float *gate, int32_t n) {
    for (int32_t i = 0; i < n; i++) y[i] = y[i] + (gate != NULL ? x[i] * gate[i] : x[i]);
}

static void activate(const float *x, float *y, int32_t n, ck_activation activation) {
    for (int32_t i = 0; i < n; i++) y[i] = ck_activation_of(x[i], activation);
}

static void soft_clamp(const float *x, float *y, int32_t n) {
    for (int32_t i = 0; i < n; i++) y[i] = ck_tanh(x[i] / 3.0f) * 3.0f;
}

static void axpby(float a, const float *x, float b, float *y, int32_t n) {
    for (int32_t i = 0; i < n; i++) y[i] = a * x[i] + b * y[i];
}

static void linear_i8(const ck_linear_i8_args *a, int32_t row_begin, int32_t row_end, int32_t out_begin,
                      int32_t out_end) {
    const ck_matrix_i8 *w = a->w;
    const int32_t blocks = (w->in + 15) / 16 * 2;
    if (a->source != NULL) quantize_panels(a->source, row_begin, row_end, a->panels, a->scale_x);
    for (int32_t r = row_begin; r < row_end; r++)
        for (int32_t o = out_begin; o < out_end; o++) {
            int32_t sum = 0;
            for (int32_t b = 0; b < blocks; b++) {
                const int8_t *x = a->panels + ((size_t)r * (size_t)blocks + (size_t)b) * 8;
                const int8_t *weight = w->weight + ((size_t)(o / 8) * (size_t)blocks + (size_t)b) * 64 + o % 8 * 8;
                for (int32_t i = 0; i < 8; i++) sum += (int32_t)x[i] * (int32_t)weight[i];
            }
            const float scale = a->scale_x[r] * w->scale[o];
            float v = w->bias != NULL ? __builtin_fmaf((float)sum, scale, w->bias[o]) : (float)sum * scale;
            v = ck_activation_of(v, a->activation);
            if (a->residual != NULL) {
                const float *gate = row_vector(a->gate, r);
                if (gate != NULL) v = v * gate[o];
                v = a->residual[(size_t)r * a->stride_residual + (size_t)o] + v;
            }
            a->y[(size_t)r * a->stride_y + (size_t)o] = v;
        }
}

static uint8_t byte_of(float v, float low, int32_t zero) {
    const float high = (float)(255 - zero);
    v = v > low ? v : low;
    v = (v < high ? v : high) + (CK_MAGIC + (float)zero);
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (uint8_t)bits;
}

static void quantize_u8(const float *x, int32_t n, ck_quantization to, uint8_t *q) {
    const float inverse = 1.0f / to.scale;
    for (int32_t i = 0; i < n; i++) q[i] = byte_of(x[i] * inverse, (float)-to.zero, to.zero);
}

static void dequantize_u8(const uint8_t *q, int32_t n, ck_quantization from, float *x) {
    for (int32_t i = 0; i < n; i++) x[i] = (float)((int32_t)q[i] - from.zero) * from.scale;
}

static void convolution_i8(const ck_convolution_i8_args *a, int32_t row_begin, int32_t row_end) {
    const int32_t out_width = (a->width + a->stride - 1) / a->stride, small_width = a->width / a->enlarge;
    const int32_t in2 = a->input2 != NULL ? a->in2 : 0;
    const int32_t in16 = (a->in + 15) / 16 * 16, blocks = (in16 + (in2 + 15) / 16 * 16) / 8;
    const int32_t taps = a->kernel * a->kernel, zero = a->quantization_in.zero;
    const float k = a->output != NULL ? 1.0f / a->quantization_out.scale : 1.0f;
    for (int32_t oy = row_begin; oy < row_end; oy++)
        for (int32_t ox = 0; ox < out_width; ox++)
            for (int32_t o = 0; o < a->out; o++) {
                int32_t sum = 0;
                for (int32_t tap = 0; tap < taps; tap++) {
                    const int32_t y = oy * a->stride + tap / a->kernel - a->kernel / 2;
                    const int32_t x = ox * a->stride + tap % a->kernel - a->kernel / 2;
                    if (y < 0 || y >= a->height || x < 0 || x >= a->width) continue;
                    const size_t pixel =
                        (size_t)(y / a->enlarge) * (size_t)small_width + (size_t)(x / a->enlarge);
                    const int8_t *w = a->weight + ((size_t)(o / 8) * (size_t)taps + (size_t)tap) * (size_t)blocks * 64;
                    for (int32_t i = 0; i < a->in + in2; i++) {
                        const int32_t at = i < a->in ? i : in16 + i - a->in;  // of the padded inputs
                        const uint8_t byte = i < a->in ? a->input[pixel * (size_t)a->stride_in + (size_t)i]
                                                       : a->input2[pixel * (size_t)in2 + (size_t)(i - a->in)];
                        sum += ((int32_t)byte - zero) * (int32_t)w[(size_t)(at / 8) * 64 + (size_t)(o % 8 * 8 + at % 8)];
                    }
                }
                const size_t at = ((size_t)oy * (size_t)out_width + (size_t)ox) * (size_t)a->out + (size_t)o;
                float v = (float)sum * ((a->quantization_in.scale * a->scale[o]) * k);
                if (a->bias != NULL) v = v + a->bias[o] * k;
                if (a->residual != NULL)
                    v = v + (float)((int32_t)a->residual[at] - a->quantization_residual.zero) *
                                (a->quantization_residual.scale * k);
                if (a->residual_f32 != NULL) v = v + a->residual_f32[at] * k;
                if (a->output == NULL) {
                    a->output_f32[at] = a->activation == CK_ACTIVATION_RELU ? ck_activation_of(v, a->activation) : v;
                } else {
                    const float low = a->activation == CK_ACTIVATION_RELU ? 0.0f : (float)-a->quantization_out.zero;
                    a->output[at] = byte_of(v, low, a->quantization_out.zero);
                }
            }
}

const ck_kernels ck_kernels_reference = {
    .level = CK_LEVEL_REFERENCE,
    .panel = {1, 8, 0},
    .quantize_panels = quantize_panels,
    .linear_i8 = linear_i8,
    .linear_f32 = linear_f32,
    .attention_f32 = attention_f32,
    .attention_i8_center = ck_attention_i8_center_reference,
    .attention_i8_pack = ck_attention_i8_pack_reference,
    .attention_i8 = ck_attention_i8_reference,
    .convolution_f32 = convolution_f32,
    .convolution_i8 = convolution_i8,
    .quantize_u8 = quantize_u8,
    .dequantize_u8 = dequantize_u8,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .rotary = rotary,
    .add_gated = add_gated,
    .activate = activate,
    .soft_clamp = soft_clamp,
    .axpby = axpby,
};
