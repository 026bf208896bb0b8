#include <string.h>

#include "internal.h"

// The reference is the only level so far.
static int cpu_supports(ck_level level) {
    (void)level;
    return 0;
}

static const char *const names[CK_LEVEL_COUNT] = {"reference", "avx2", "avx512vnni", "neon", "dotprod"};

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
    static const ck_level order[] = {CK_LEVEL_AVX512VNNI, CK_LEVEL_AVX2, CK_LEVEL_NEON_DOTPROD, CK_LEVEL_NEON};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (ck_level_supported(order[i])) return order[i];
    return CK_LEVEL_REFERENCE;
}

const ck_kernels *ck_kernels_at(ck_level level) {
    if (!ck_level_supported(level)) return NULL;
    switch (level) {
    case CK_LEVEL_REFERENCE: return &ck_kernels_reference;
    default: return NULL;
    }
}
