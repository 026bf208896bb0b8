#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>

static int cpu_supports(ck_level level) {
    unsigned a, b, c, d;
    const unsigned fma_osxsave = 1u << 12 | 1u << 27;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & fma_osxsave) != fma_osxsave) return 0;
    unsigned xcr0, high;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if ((xcr0 & 0x6) != 0x6) return 0;  // the system saves ymm
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if ((b & (1u << 5)) == 0) return 0;
    if (level == CK_LEVEL_AVX2) return 1;
    if (level == CK_LEVEL_AVXVNNI) {
        const unsigned subleaves = a;
        return subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)) != 0;
    }
    if (level != CK_LEVEL_AVX512VNNI && level != CK_LEVEL_VNNI256) return 0;
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    const unsigned vnni = 1u << 11, vbmi_vbmi2 = 1u << 1 | 1u << 6;
    const unsigned wanted = level == CK_LEVEL_AVX512VNNI ? vnni | vbmi_vbmi2 : vnni;
    return (xcr0 & 0xe6) == 0xe6 && (b & f_dq_bw_vl) == f_dq_bw_vl && (c & wanted) == wanted;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

static int cpu_supports(ck_level level) {
    const unsigned long capabilities = getauxval(AT_HWCAP);
    if (level == CK_LEVEL_NEON) return (capabilities & (1ul << 1)) != 0;            // HWCAP_ASIMD
    if (level == CK_LEVEL_NEON_DOTPROD) return (capabilities & (1ul << 20)) != 0;  // HWCAP_ASIMDDP
    if (level == CK_LEVEL_NEON_I8MM)  // HWCAP_ASIMDDP, HWCAP2_I8MM
        return (capabilities & (1ul << 20)) != 0 && (getauxval(AT_HWCAP2) & (1ul << 13)) != 0;
    return 0;
}

#else
static int cpu_supports(ck_level level) {
    (void)level;
    return 0;
}
#endif

static const char *const names[CK_LEVEL_COUNT] = {"reference", "avx2",    "avx512vnni", "neon",
                                                  "dotprod",   "vnni256", "avxvnni",    "i8mm"};

int ck_level_supported(ck_level level) {
    if (level == CK_LEVEL_REFERENCE) return 1;
    return cpu_supports(level);
}

const char *ck_level_name(ck_level level) {
    if ((int)level < 0 || (int)level >= CK_LEVEL_COUNT) return NULL;
    return names[level];
}

int ck_level_named(const char *name) {
    for (int level = 0; level < CK_LEVEL_COUNT; level++)
        if (name != NULL && strcmp(name, names[level]) == 0) return level;
    return -1;
}

ck_level ck_level_best(void) {
    static const ck_level order[] = {CK_LEVEL_AVX512VNNI, CK_LEVEL_VNNI256,      CK_LEVEL_AVXVNNI, CK_LEVEL_AVX2,
                                     CK_LEVEL_NEON_I8MM,  CK_LEVEL_NEON_DOTPROD, CK_LEVEL_NEON};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (ck_level_supported(order[i])) return order[i];
    return CK_LEVEL_REFERENCE;
}

const ck_kernels *ck_kernels_at(ck_level level) {
    if (!ck_level_supported(level)) return NULL;
    switch (level) {
    case CK_LEVEL_REFERENCE: return &ck_kernels_reference;
#if defined(__x86_64__)
    case CK_LEVEL_AVX2: return &ck_kernels_avx2;
    case CK_LEVEL_AVX512VNNI: return &ck_kernels_avx512vnni;
    case CK_LEVEL_VNNI256: return &ck_kernels_vnni256;
    case CK_LEVEL_AVXVNNI: return &ck_kernels_avxvnni;
#elif defined(__aarch64__)
    case CK_LEVEL_NEON: return &ck_kernels_neon;
    case CK_LEVEL_NEON_DOTPROD: return &ck_kernels_neon_dotprod;
    case CK_LEVEL_NEON_I8MM: return &ck_kernels_neon_i8mm;
#endif
    default: return NULL;
    }
}
