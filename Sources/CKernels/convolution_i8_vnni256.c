#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_VNNI256)
#define CI_DOT _mm256_dpbusd_epi32
#define CI_CONVOLUTION ck_convolution_i8_vnni256
#include "convolution_i8_vnni256.inc.h"
CK_TARGET_END
#endif
