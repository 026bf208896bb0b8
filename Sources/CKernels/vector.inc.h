// Sixteen lanes in the compilers' vector extensions, and the element-wise functions over them. Include inside
// CK_TARGET_BEGIN: each including file gets its own copy, compiled for its own instruction set. Nothing here may be
// called across files, since how 64-byte vectors are passed depends on the instruction set.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpsabi"
#define CK_UNROLL _Pragma("clang loop unroll(full)")
#else
#pragma GCC diagnostic ignored "-Wpsabi"
#define CK_UNROLL _Pragma("GCC unroll 64")
#endif

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef double f64x2 __attribute__((vector_size(16)));
typedef double f64_unaligned __attribute__((aligned(1), may_alias));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef float f32x16_unaligned __attribute__((vector_size(64), aligned(4), may_alias));
typedef float f32x8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));
typedef int8_t i8x16_unaligned __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t u8x16_unaligned __attribute__((vector_size(16), aligned(1), may_alias));

CK_INLINE f32x16 splat(float s) { return (f32x16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s}; }
CK_INLINE i32x16 splat_int(int32_t s) { return (i32x16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s}; }
CK_INLINE f32x16 load(const float *p) { return *(const f32x16_unaligned *)p; }
CK_INLINE void store(float *p, f32x16 v) { *(f32x16_unaligned *)p = v; }

/// The first n elements, 0 < n <= 16, then zeros.
CK_INLINE f32x16 load_first(const float *p, int32_t n) {
    if (n == 16) return load(p);
    f32x16 v = {0};
    if (n == 8) {
        const f32x8 half = *(const f32x8_unaligned *)p;
        memcpy(&v, &half, sizeof half);
    } else {
        memcpy(&v, p, (size_t)n * sizeof(float));
    }
    return v;
}

CK_INLINE void store_first(float *p, f32x16 v, int32_t n) {
    if (n == 16) {
        store(p, v);
    } else if (n == 8) {
        f32x8 half;
        memcpy(&half, &v, sizeof half);
        *(f32x8_unaligned *)p = half;
    } else {
        memcpy(p, &v, (size_t)n * sizeof(float));
    }
}

/// a * b + c, rounded once: what a sum of products is made of.
CK_INLINE f32x16 fused(f32x16 a, f32x16 b, f32x16 c) {
#if defined(__clang__)
    return __builtin_elementwise_fma(a, b, c);
#else
    f32x16 sums;
    CK_UNROLL for (int i = 0; i < 16; i++) sums[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return sums;
#endif
}

CK_INLINE f32x16 as_float(i32x16 v) { return (f32x16)v; }
CK_INLINE i32x16 as_int(f32x16 v) { return (i32x16)v; }
CK_INLINE f32x16 choose(i32x16 mask, f32x16 a, f32x16 b) {
    return as_float((mask & as_int(a)) | (~mask & as_int(b)));
}
CK_INLINE f32x16 magnitude(f32x16 x) { return as_float(as_int(x) & 0x7fffffff); }
CK_INLINE f32x16 with_sign_of(f32x16 x, f32x16 sign) {
    return as_float((as_int(x) & 0x7fffffff) | (as_int(sign) & (int32_t)0x80000000));
}
/// b where either is NaN.
CK_INLINE f32x16 larger(f32x16 a, f32x16 b) { return choose(a > b, a, b); }
CK_INLINE i32x16 larger_int(i32x16 a, i32x16 b) {
    const i32x16 mask = a > b;
    return (mask & a) | (~mask & b);
}
CK_INLINE f32x16 smaller(f32x16 a, f32x16 b) { return choose(a < b, a, b); }

CK_INLINE f32x16 floats_of(const uint8_t *p, int32_t n, int32_t zero) {
    u8x16 bytes = {0};
    if (n == 16)
        bytes = *(const u8x16_unaligned *)p;
    else
        memcpy(&bytes, p, (size_t)n);
    return __builtin_convertvector(__builtin_convertvector(bytes, i32x16) - zero, f32x16);
}

/// The bytes of v, already in units of the scale. Adding the magic number rounds; its lowest byte is 0.
CK_INLINE void store_bytes(uint8_t *p, f32x16 v, float low, int32_t zero, int32_t n) {
    v = larger(v, splat(low));
    v = choose(v < (float)(255 - zero), v, splat((float)(255 - zero)));
    const u8x16 bytes = __builtin_convertvector(as_int(v + (CK_MAGIC + (float)zero)), u8x16);
    if (n == 16)
        *(u8x16_unaligned *)p = bytes;
    else
        memcpy(p, &bytes, (size_t)n);
}

/// Lanes 0...7 plus 8...15, then 0...3 plus 4...7, and so on.
CK_INLINE float tree(f32x16 v) {
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int width = 8; width > 0; width /= 2) {
        CK_UNROLL for (int i = 0; i < width; i++) s[i] = s[i] + s[i + width];
    }
    return s[0];
}

/// Lane i = tree(v[i]): the same additions, sixteen vectors at a time.
CK_INLINE f32x16 trees(const f32x16 v[16]) {
    f32x16 a[8], b[4], c[2];
    CK_UNROLL for (int i = 0; i < 8; i++)
        a[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
               __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    CK_UNROLL for (int i = 0; i < 4; i++)
        b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
               __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    CK_UNROLL for (int i = 0; i < 2; i++)
        c[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
               __builtin_shufflevector(b[i], b[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    return __builtin_shufflevector(c[0], c[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
           __builtin_shufflevector(c[0], c[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

/// exp(c - nf ln 2), |c - nf ln 2| <= ln 2 / 2.
CK_INLINE f32x16 exp_near_zero16(f32x16 c, f32x16 nf) {
    f32x16 r = c - nf * CK_LN2_HIGH;
    r = r - nf * CK_LN2_LOW;
    f32x16 p = splat(CK_EXP_7);
    p = p * r + CK_EXP_6;
    p = p * r + CK_EXP_5;
    p = p * r + CK_EXP_4;
    p = p * r + CK_EXP_3;
    p = p * r + CK_EXP_2;
    return (p * (r * r) + r) + 1.0f;
}

CK_INLINE f32x16 exp16(f32x16 x) {
    f32x16 c = larger(x, splat(CK_EXP_MIN));
    c = choose(c < CK_EXP_MAX, c, splat(CK_EXP_MAX));
    const f32x16 t = c * CK_LOG2E + CK_MAGIC;
    const f32x16 nf = t - CK_MAGIC;
    const i32x16 n = as_int(t) - CK_MAGIC_BITS;
    f32x16 p = exp_near_zero16(c, nf);
    const i32x16 half = n >> 1;
    p = p * as_float((half + 127) << 23) * as_float((n - half + 127) << 23);
    p = choose(x < CK_EXP_MIN, splat(0.0f), p);
    p = choose(x > CK_EXP_MAX, splat(__builtin_inff()), p);
    return choose(x != x, x, p);
}

/// 1 + 2^t: 1 + 2^-126 below -126 and for a NaN, infinity from 128 on. What the logistic function divides by, with as few
/// operations as a float's precision allows: powers of two take no part of the argument off.
CK_INLINE f32x16 one_plus_exp2_16(f32x16 t) {
    t = larger(t, splat(CK_EXP2_MIN));
    t = smaller(t, splat(CK_EXP2_MAX));
    const f32x16 shifted = t + CK_MAGIC, f = t - (shifted - CK_MAGIC);
    f32x16 p = splat(CK_EXP2_5);
    p = p * f + CK_EXP2_4;
    p = p * f + CK_EXP2_3;
    p = p * f + CK_EXP2_2;
    p = p * f + CK_EXP2_1;
    p = p * f + 1.0f;
    // The bits of CK_MAGIC leave at the top.
    return 1.0f + as_float(as_int(p) + (as_int(shifted) << 23));
}

CK_INLINE f32x16 tanh16(f32x16 x) {
    const f32x16 a = magnitude(x), s = x * x;
    f32x16 p = splat(CK_TANH_4);
    p = p * s + CK_TANH_3;
    p = p * s + CK_TANH_2;
    p = p * s + CK_TANH_1;
    p = p * s + CK_TANH_0;
    const f32x16 small = x + x * s * p;
    const f32x16 large = with_sign_of(1.0f - 2.0f / (exp16(a + a) + 1.0f), x);
    return choose(a < CK_TANH_SPLIT, small, large);
}

CK_INLINE f32x16 erf16(f32x16 x) {
    const f32x16 a = magnitude(x), s = x * x;
    f32x16 p = splat(CK_ERF_6);
    p = p * s + CK_ERF_5;
    p = p * s + CK_ERF_4;
    p = p * s + CK_ERF_3;
    p = p * s + CK_ERF_2;
    p = p * s + CK_ERF_1;
    p = p * s + CK_ERF_0;
    const f32x16 small = x + x * p;
    const f32x16 c = choose(a > CK_ERF_LIMIT, splat(CK_ERF_LIMIT), a);
    f32x16 q = splat(CK_ERFC_6);
    q = q * c + CK_ERFC_5;
    q = q * c + CK_ERFC_4;
    q = q * c + CK_ERFC_3;
    q = q * c + CK_ERFC_2;
    q = q * c + CK_ERFC_1;
    q = q * c + CK_ERFC_0;
    const f32x16 large = with_sign_of(1.0f - exp16(q), x);
    return choose(a < 1.0f, small, large);
}

CK_INLINE f32x16 activation16(f32x16 x, ck_activation activation) {
    switch (activation) {
    case CK_ACTIVATION_GELU_TANH:
        return x / one_plus_exp2_16(x * (x * x * CK_GELU_CUBIC + CK_GELU_LINEAR));
    case CK_ACTIVATION_GELU_ERF:
        return 0.5f * x * (1.0f + erf16(x * CK_SQRT_HALF));
    case CK_ACTIVATION_SILU:
        return x / one_plus_exp2_16(x * -CK_LOG2E);
    case CK_ACTIVATION_RELU:
        return choose(x > 0.0f, x, splat(0.0f));
    case CK_ACTIVATION_NONE:
        break;
    }
    return x;
}
