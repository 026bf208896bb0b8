#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVXVNNI)
#define VNNI256_DOT _mm256_dpbusd_avx_epi32
#define AI_NAME(f) f##_avxvnni
#include "attention_i8_vnni256.inc.h"
CK_TARGET_END
#endif
