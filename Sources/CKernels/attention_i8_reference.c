// The definition of int8 attention, which every level gives bit for bit. Keys and values lie in rows here.
#include "reference.inc.h"

size_t ck_attention_i8_bytes(int32_t keys, int32_t head_dim) {
    const size_t padded = (size_t)ck_padded_keys(keys), dim = (size_t)head_dim;
    const size_t blocks = ((size_t)keys + CK_ATTENTION_I8_BLOCK - 1) / CK_ATTENTION_I8_BLOCK;
    return 8 * dim + 12 * padded + 8 * blocks * dim + 2 * padded * dim;  // the parts of ck_prepared
}

static float finite_or_zero(float x) { return x <= CK_FLOAT_MAX && x >= -CK_FLOAT_MAX ? x : 0.0f; }

void ck_attention_i8_center_reference(const ck_attention_i8_keys *a) {
    const ck_prepared p = ck_prepared_at(a->prepared, a->keys, a->head_dim);
    for (int32_t d = 0; d < a->head_dim; d++) {
        float lanes[16] = {0};
        for (int32_t j = 0; j < a->keys; j++)
            lanes[j % 16] = lanes[j % 16] + a->k[(size_t)j * (size_t)a->stride_k + (size_t)d];
        p.center_k[d] = finite_or_zero(tree(lanes) / (float)a->keys);
        p.center_v[d] = 0.0f;
    }
    float smallest = __builtin_inff();
    for (int32_t j = 0; j < a->keys; j++) {
        const float *v = a->v + (size_t)j * (size_t)a->stride_v;
        const float norm = dot(v, v, a->head_dim);
        if (!(norm < smallest)) continue;
        smallest = norm;
        memcpy(p.center_v, v, (size_t)a->head_dim * sizeof(float));
    }
}

static int8_t quantized(float x, float inverse) {
    float v = x == x ? x : 0.0f;
    v = v * inverse;
    v = v > -127.0f ? v : -127.0f;
    v = v < 127.0f ? v : 127.0f;
    return (int8_t)(int32_t)((v + CK_MAGIC) - CK_MAGIC);
}

/// The largest of |x|, at most CK_ATTENTION_LIMIT, and what x is multiplied by to be quantized.
static float inverse_of(float *largest) {
    *largest = *largest < CK_ATTENTION_LIMIT ? *largest : CK_ATTENTION_LIMIT;
    if (*largest < CK_ROW_ZERO) *largest = 0.0f;
    return *largest == 0.0f ? 0.0f : 127.0f / *largest;
}

static float larger_magnitude(float x, float largest) {
    const float m = x < 0.0f ? -x : x;
    return m > largest ? m : largest;
}

void ck_attention_i8_pack_reference(const ck_attention_i8_keys *a, int32_t block_begin, int32_t block_end) {
    const ck_prepared p = ck_prepared_at(a->prepared, a->keys, a->head_dim);
    const int32_t dim = a->head_dim;
    for (int32_t block = block_begin; block < block_end; block++) {
        const int32_t begin = block * CK_ATTENTION_I8_BLOCK;
        const int32_t end = a->keys - begin < CK_ATTENTION_I8_BLOCK ? a->keys : begin + CK_ATTENTION_I8_BLOCK;
        for (int32_t j = begin; j < end; j++) {
            const float *k = a->k + (size_t)j * (size_t)a->stride_k;
            float largest = 0.0f;
            for (int32_t d = 0; d < dim; d++) largest = larger_magnitude(k[d] - p.center_k[d], largest);
            const float inverse = inverse_of(&largest);
            p.key_scale[j] = largest / 127.0f;
            p.key_bias[j] = a->key_bias != NULL ? a->key_bias[j] * CK_P_UNIT : 0.0f;
            for (int32_t d = 0; d < dim; d++)
                p.k[(size_t)j * (size_t)dim + (size_t)d] = quantized(k[d] - p.center_k[d], inverse);
        }
        for (int32_t d = 0; d < dim; d++) {
            float largest = 0.0f;
            for (int32_t j = begin; j < end; j++)
                largest = larger_magnitude(a->v[(size_t)j * (size_t)a->stride_v + (size_t)d] - p.center_v[d], largest);
            const float inverse = inverse_of(&largest);
            p.value_scale[block * dim + d] = largest / 127.0f;
            for (int32_t j = begin; j < end; j++) {
                const float v = a->v[(size_t)j * (size_t)a->stride_v + (size_t)d];
                p.v[(size_t)j * (size_t)dim + (size_t)d] = quantized(v - p.center_v[d], inverse);
            }
        }
    }
}

/// 255 exp(x) as a whole number, x in CK_P_UNITs and at most 0.
static int32_t weight(float x) {
    float t = (x > CK_P_LOWEST ? x : CK_P_LOWEST) + CK_P_SHIFT;
    t = t * t + CK_P_OFFSET;
    t = t * t;
    t = t * t;
    t = t * t;
    t = t * t;
    return (int32_t)((t + CK_MAGIC) - CK_MAGIC);
}

void ck_attention_i8_reference(const ck_attention_i8_args *a) {
    const ck_prepared p = ck_prepared_at((void *)(uintptr_t)a->prepared, a->keys, a->head_dim);
    const int32_t dim = a->head_dim;
    for (int32_t i = 0; i < a->queries; i++) {
        const float *x = a->q + (size_t)i * (size_t)a->stride_q;
        int8_t q[CK_HEAD_DIM_MAX];
        float sum[CK_HEAD_DIM_MAX] = {0}, largest = 0.0f, maximum = CK_ATTENTION_LOWEST, total = 0.0f;
        for (int32_t d = 0; d < dim; d++) largest = larger_magnitude(x[d], largest);
        const float inverse = inverse_of(&largest);
        for (int32_t d = 0; d < dim; d++) q[d] = quantized(x[d], inverse);
        const float scale = largest / 127.0f * (a->scale * CK_P_UNIT);
        for (int32_t begin = 0; begin < a->keys; begin += CK_ATTENTION_I8_BLOCK) {
            const int32_t left = a->keys - begin;
            const int32_t count = left < CK_ATTENTION_I8_BLOCK ? left : CK_ATTENTION_I8_BLOCK;
            float score[CK_ATTENTION_I8_BLOCK], highest = CK_ATTENTION_LOWEST;
            for (int32_t j = 0; j < count; j++) {
                const int8_t *k = p.k + (size_t)(begin + j) * (size_t)dim;
                int32_t exact = 0;
                for (int32_t d = 0; d < dim; d++) exact += (int32_t)q[d] * (int32_t)k[d];
                score[j] = (float)exact * p.key_scale[begin + j] * scale + p.key_bias[begin + j];
                highest = score[j] > highest ? score[j] : highest;
            }
            int32_t weights[CK_ATTENTION_I8_BLOCK], weights_sum = 0;
            for (int32_t j = 0; j < count; j++) weights_sum += weights[j] = weight(score[j] - highest);
            // One of the two is 1.
            const float away = highest > maximum ? maximum - highest : highest - maximum;
            const float less = ck_exp(away * CK_P_PER_UNIT);
            const float before = highest > maximum ? less : 1.0f, now = highest > maximum ? 1.0f : less;
            maximum = highest > maximum ? highest : maximum;
            total = total * before + (float)weights_sum * now;
            const float *value_scale = p.value_scale + begin / CK_ATTENTION_I8_BLOCK * dim;
            for (int32_t d = 0; d < dim; d++) {
                int32_t exact = 0;
                for (int32_t j = 0; j < count; j++)
                    exact += weights[j] * (int32_t)p.v[(size_t)(begin + j) * (size_t)dim + (size_t)d];
                sum[d] = sum[d] * before + (float)exact * value_scale[d] * now;
            }
        }
        const float inverse_total = 1.0f / total;
        float *out = a->out + (size_t)i * (size_t)a->stride_out;
        for (int32_t d = 0; d < dim; d++) out[d] = total == 0.0f ? 0.0f : sum[d] * inverse_total + p.center_v[d];
    }
}
