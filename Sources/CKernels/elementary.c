#include "internal.h"

static uint32_t bits_of(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    return b;
}

static float float_of(uint32_t b) {
    float x;
    memcpy(&x, &b, 4);
    return x;
}

static float magnitude(float x) { return float_of(bits_of(x) & 0x7fffffffu); }

static float with_sign_of(float x, float sign) {
    return float_of((bits_of(x) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u));
}

// exp(c - nf ln 2), |c - nf ln 2| <= ln 2 / 2.
static float exp_near_zero(float c, float nf) {
    float r = c - nf * CK_LN2_HIGH;
    r = r - nf * CK_LN2_LOW;
    float p = CK_EXP_7;
    p = p * r + CK_EXP_6;
    p = p * r + CK_EXP_5;
    p = p * r + CK_EXP_4;
    p = p * r + CK_EXP_3;
    p = p * r + CK_EXP_2;
    return (p * (r * r) + r) + 1.0f;
}

// Within 1.1 ulp. 0 where the result would be subnormal.
float ck_exp(float x) {
    float c = x > CK_EXP_MIN ? x : CK_EXP_MIN;
    c = c < CK_EXP_MAX ? c : CK_EXP_MAX;
    float t = c * CK_LOG2E + CK_MAGIC;
    float nf = t - CK_MAGIC;
    int32_t n = (int32_t)(bits_of(t) - CK_MAGIC_BITS);
    float p = exp_near_zero(c, nf);
    // In two steps: 2^128 is no float.
    int32_t half = n >> 1;
    p = p * float_of((uint32_t)(half + 127) << 23) * float_of((uint32_t)(n - half + 127) << 23);
    p = x < CK_EXP_MIN ? 0.0f : p;
    p = x > CK_EXP_MAX ? __builtin_inff() : p;
    return x != x ? x : p;
}

// Within 2 ulp.
float ck_tanh(float x) {
    float a = magnitude(x), s = x * x;
    float p = CK_TANH_4;
    p = p * s + CK_TANH_3;
    p = p * s + CK_TANH_2;
    p = p * s + CK_TANH_1;
    p = p * s + CK_TANH_0;
    float small = x + x * s * p;
    float large = with_sign_of(1.0f - 2.0f / (ck_exp(a + a) + 1.0f), x);
    return a < CK_TANH_SPLIT ? small : large;
}

// Within 2 ulp.
float ck_erf(float x) {
    float a = magnitude(x), s = x * x;
    float p = CK_ERF_6;
    p = p * s + CK_ERF_5;
    p = p * s + CK_ERF_4;
    p = p * s + CK_ERF_3;
    p = p * s + CK_ERF_2;
    p = p * s + CK_ERF_1;
    p = p * s + CK_ERF_0;
    float small = x + x * p;
    float c = a > CK_ERF_LIMIT ? CK_ERF_LIMIT : a;
    float q = CK_ERFC_6;
    q = q * c + CK_ERFC_5;
    q = q * c + CK_ERFC_4;
    q = q * c + CK_ERFC_3;
    q = q * c + CK_ERFC_2;
    q = q * c + CK_ERFC_1;
    q = q * c + CK_ERFC_0;
    float large = with_sign_of(1.0f - ck_exp(q), x);
    return a < 1.0f ? small : large;
}

// Of the logistic function: see vector.inc.h.
static float one_plus_exp2(float t) {
    t = t > CK_EXP2_MIN ? t : CK_EXP2_MIN;
    t = t < CK_EXP2_MAX ? t : CK_EXP2_MAX;
    const float shifted = t + CK_MAGIC, f = t - (shifted - CK_MAGIC);
    float p = CK_EXP2_5;
    p = p * f + CK_EXP2_4;
    p = p * f + CK_EXP2_3;
    p = p * f + CK_EXP2_2;
    p = p * f + CK_EXP2_1;
    p = p * f + 1.0f;
    uint32_t bits, power;
    memcpy(&bits, &p, sizeof bits);
    memcpy(&power, &shifted, sizeof power);
    bits += power << 23;
    memcpy(&p, &bits, sizeof p);
    return 1.0f + p;
}

float ck_activation_of(float x, ck_activation activation) {
    switch (activation) {
    case CK_ACTIVATION_GELU_TANH:
        return x / one_plus_exp2(x * (x * x * CK_GELU_CUBIC + CK_GELU_LINEAR));
    case CK_ACTIVATION_GELU_ERF:
        return 0.5f * x * (1.0f + ck_erf(x * CK_SQRT_HALF));
    case CK_ACTIVATION_SILU:
        return x / one_plus_exp2(x * -CK_LOG2E);
    case CK_ACTIVATION_RELU:
        return x > 0.0f ? x : 0.0f;
    case CK_ACTIVATION_NONE:
        break;
    }
    return x;
}

// The three below are used one value at a time and compute in double, whose error vanishes in the final rounding.

// Within 0.51 ulp. 0 gives -inf, a negative number NaN.
float ck_log(float x) {
    if (x != x || x == __builtin_inff()) return x;
    if (x == 0.0f) return -__builtin_inff();
    if (x < 0.0f) return __builtin_nanf("");
    double d = (double)x;  // normal even where x is not
    uint64_t b;
    memcpy(&b, &d, 8);
    // m in sqrt(1/2) ..< sqrt(2)
    int64_t n = (int64_t)((b - 0x3fe6a09e667f3bcdull) >> 52);
    n = (n ^ 0x800) - 0x800;
    b -= (uint64_t)n << 52;
    double m;
    memcpy(&m, &b, 8);
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    double log_m = 2.0 * (s + s * z * p);
    return (float)((double)n * 0.69314718055994530942 + log_m);
}

static double sin_quarter(double r) {  // |r| <= pi/4
    double z = r * r;
    double p = -1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r + r * z * p;
}

static double cos_quarter(double r) {
    double z = r * r;
    double p = 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    return (1.0 - 0.5 * z) + z * z * p;
}

// sin(x + quarters * pi/2), |x| <= 2^20
static float sin_shifted(float x, int64_t quarters) {
    double d = (double)x;
    double t = d * 0.63661977236758134308 + 6755399441055744.0;  // 1.5 * 2^52 rounds half to even
    double n = t - 6755399441055744.0;
    // pi/2 in two parts: n * the first (33 bits) is exact
    double r = (d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
    int64_t k = ((int64_t)n + quarters) & 3;
    double y = (k & 1) != 0 ? cos_quarter(r) : sin_quarter(r);
    return (float)((k & 2) != 0 ? -y : y);
}

// Within 0.51 ulp for |x| <= 2^20; NaN beyond, where a float's neighbours are whole angles apart.
float ck_sin(float x) {
    if (!(magnitude(x) <= 1048576.0f)) return __builtin_nanf("");
    return x == 0.0f ? x : sin_shifted(x, 0);
}

float ck_cos(float x) {
    if (!(magnitude(x) <= 1048576.0f)) return __builtin_nanf("");
    return sin_shifted(x, 1);
}
