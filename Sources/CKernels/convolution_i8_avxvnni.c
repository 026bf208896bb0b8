#include "internal.h"
#if defined(__x86_64__)
#include <immintrin.h>

CK_TARGET_BEGIN(CK_AVXVNNI)
#define CI_DOT _mm256_dpbusd_avx_epi32
#define CI_CONVOLUTION ck_convolution_i8_avxvnni
#include "convolution_i8_vnni256.inc.h"
CK_TARGET_END
#endif
