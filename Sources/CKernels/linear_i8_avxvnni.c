#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVXVNNI)
#define VNNI256_DOT _mm256_dpbusd_avx_epi32
#define VNNI256_LINEAR ck_linear_i8_avxvnni
#define LI_QUANTIZE ck_quantize_panels_avxvnni
#include "linear_i8_vnni256.inc.h"
CK_TARGET_END
#endif
