#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_VNNI256)
#define VNNI256_DOT _mm256_dpbusd_epi32
#define AI_NAME(f) f##_vnni256
#include "attention_i8_vnni256.inc.h"
CK_TARGET_END
#endif
