#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_VNNI256)
#define VNNI256_DOT _mm256_dpbusd_epi32
#define VNNI256_LINEAR ck_linear_i8_vnni256
#define LI_QUANTIZE ck_quantize_panels_vnni256
#include "linear_i8_vnni256.inc.h"
CK_TARGET_END
#endif
