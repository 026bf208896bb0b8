// What this CPU can do at most: loops of nothing but the product instructions of a level, in registers, and of loads.
#include "internal.h"

enum { CHAINS = 12 };  // independent sums: latency times ports of the CPUs known to us, or more

#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/// `step(i)` adds a product of a and b to s[i], `operations` of them.
#define LIMIT(name, vector, constraint, operations, step) \
    static int64_t name(int64_t rounds) { \
        vector s[CHAINS], a, b; \
        memset(s, 0, sizeof s), memset(&a, 1, sizeof a), memset(&b, 1, sizeof b); \
        __asm__ volatile("" : "+" constraint(a), "+" constraint(b)); \
        for (int64_t r = 0; r < rounds; r++) { \
            EACH(step) \
        } \
        CK_UNROLL_LIMIT for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : constraint(s[i])); \
        return rounds * CHAINS * (operations); \
    }
#if defined(__clang__)
#define CK_UNROLL_LIMIT _Pragma("clang loop unroll(full)")
#else
#define CK_UNROLL_LIMIT _Pragma("GCC unroll 16")
#endif

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT(i) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(s[i]) : "v"(a), "v"(b));
#define DOT_AVX(i) s[i] = _mm256_dpbusd_avx_epi32(s[i], a, b);
#define DOT_AVX2(i) \
    { \
        __m256i p = _mm256_maddubs_epi16(a, _mm256_sign_epi8(b, a)); \
        __asm__ volatile("" : "+x"(p)); \
        s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(b, p)); \
    }
#define FLOAT_512(i) s[i] = _mm512_fmadd_ps(a, b, s[i]);
#define FLOAT_256(i) s[i] = _mm256_fmadd_ps(a, b, s[i]);

CK_TARGET_BEGIN(CK_AVX512)
LIMIT(i8_avx512vnni, __m512i, "v", 128, DOT)
LIMIT(f32_avx512, __m512, "v", 32, FLOAT_512)
CK_TARGET_END
CK_TARGET_BEGIN(CK_VNNI256)
LIMIT(i8_vnni256, __m256i, "v", 64, DOT)
CK_TARGET_END
CK_TARGET_BEGIN(CK_AVXVNNI)
LIMIT(i8_avxvnni, __m256i, "x", 64, DOT_AVX)
CK_TARGET_END
CK_TARGET_BEGIN(CK_AVX2)
LIMIT(i8_avx2, __m256i, "x", 64, DOT_AVX2)
LIMIT(f32_avx2, __m256, "x", 16, FLOAT_256)

static void read_lines(const char *p, size_t bytes) {
    __m256i s = _mm256_setzero_si256(), t = s, u = s, v = s;
    for (size_t i = 0; i + 128 <= bytes; i += 128) {
        s = _mm256_xor_si256(s, _mm256_loadu_si256((const __m256i *)(p + i)));
        t = _mm256_xor_si256(t, _mm256_loadu_si256((const __m256i *)(p + i + 32)));
        u = _mm256_xor_si256(u, _mm256_loadu_si256((const __m256i *)(p + i + 64)));
        v = _mm256_xor_si256(v, _mm256_loadu_si256((const __m256i *)(p + i + 96)));
    }
    __asm__ volatile("" : : "x"(s), "x"(t), "x"(u), "x"(v));
}
CK_TARGET_END

#elif defined(__aarch64__)
#include <arm_neon.h>

#define SDOT(i) __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(s[i]) : "w"(a), "w"(b));
#define SMMLA(i) __asm__ volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(s[i]) : "w"(a), "w"(b));
// Two products of 8 bits in 16, then pairs into 32.
#define SMULL(i) \
    { \
        int16x8_t p; \
        __asm__ volatile("smull %0.8h, %1.8b, %2.8b\n\tsmlal %0.8h, %2.8b, %1.8b" : "=&w"(p) : "w"(a), "w"(b)); \
        __asm__ volatile("sadalp %0.4s, %1.8h" : "+w"(s[i]) : "w"(p)); \
    }
#define FLOAT_128(i) s[i] = vfmaq_f32(s[i], a, b);

CK_TARGET_BEGIN(CK_DOTPROD)
LIMIT(i8_dotprod, int32x4_t, "w", 32, SDOT)
CK_TARGET_END
CK_TARGET_BEGIN(CK_I8MM)
LIMIT(i8_i8mm, int32x4_t, "w", 64, SMMLA)
CK_TARGET_END
LIMIT(i8_neon, int32x4_t, "w", 32, SMULL)
LIMIT(f32_neon, float32x4_t, "w", 8, FLOAT_128)

static void read_lines(const char *p, size_t bytes) {
    uint8x16_t s = vdupq_n_u8(0), t = s, u = s, v = s;
    for (size_t i = 0; i + 64 <= bytes; i += 64) {
        s = veorq_u8(s, vld1q_u8((const uint8_t *)p + i));
        t = veorq_u8(t, vld1q_u8((const uint8_t *)p + i + 16));
        u = veorq_u8(u, vld1q_u8((const uint8_t *)p + i + 32));
        v = veorq_u8(v, vld1q_u8((const uint8_t *)p + i + 48));
    }
    __asm__ volatile("" : : "w"(s), "w"(t), "w"(u), "w"(v));
}
#endif

/// Plain C has no limit of its own: a product at a time.
static int64_t i8_reference(int64_t rounds) {
    int32_t s[CHAINS] = {0}, a = 3, b = 5;
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+r"(a));
            s[i] += a * b;
        }
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "m"(s[i]));
    return rounds * CHAINS * 2;
}

static int64_t f32_reference(int64_t rounds) {
    float s[CHAINS] = {0}, a = 3.0f, b = 5.0f;
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+m"(a));
            s[i] = __builtin_fmaf(a, b, s[i]);
        }
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "m"(s[i]));
    return rounds * CHAINS * 2;
}

int64_t ck_limit_i8(ck_level level, int64_t rounds) {
    switch (level) {
#if defined(__x86_64__)
    case CK_LEVEL_AVX2: return i8_avx2(rounds);
    case CK_LEVEL_AVX512VNNI: return i8_avx512vnni(rounds);
    case CK_LEVEL_VNNI256: return i8_vnni256(rounds);
    case CK_LEVEL_AVXVNNI: return i8_avxvnni(rounds);
#elif defined(__aarch64__)
    case CK_LEVEL_NEON: return i8_neon(rounds);
    case CK_LEVEL_NEON_DOTPROD: return i8_dotprod(rounds);
    case CK_LEVEL_NEON_I8MM: return i8_i8mm(rounds);
#endif
    default: return i8_reference(rounds);
    }
}

int64_t ck_limit_f32(ck_level level, int64_t rounds) {
    switch (level) {
#if defined(__x86_64__)
    case CK_LEVEL_AVX512VNNI: return f32_avx512(rounds);
    case CK_LEVEL_AVX2:
    case CK_LEVEL_VNNI256:
    case CK_LEVEL_AVXVNNI: return f32_avx2(rounds);
#elif defined(__aarch64__)
    case CK_LEVEL_NEON:
    case CK_LEVEL_NEON_DOTPROD:
    case CK_LEVEL_NEON_I8MM: return f32_neon(rounds);
#endif
    default: return f32_reference(rounds);
    }
}

#if !defined(__aarch64__)
static void read_words(const char *p, size_t bytes) {
    uint64_t s = 0, word;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        memcpy(&word, p + i, 8);
        s ^= word;
    }
    __asm__ volatile("" : : "r"(s));
}
#endif

void ck_limit_read(const void *p, size_t bytes, int32_t passes) {
#if defined(__x86_64__)
    void (*const read)(const char *, size_t) = ck_level_supported(CK_LEVEL_AVX2) ? read_lines : read_words;
#elif defined(__aarch64__)
    void (*const read)(const char *, size_t) = read_lines;
#else
    void (*const read)(const char *, size_t) = read_words;
#endif
    for (int32_t pass = 0; pass < passes; pass++) read(p, bytes);
}
