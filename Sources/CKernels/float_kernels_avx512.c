#include "internal.h"
#if defined(__x86_64__)

CK_TARGET_BEGIN(CK_AVX512)
// 32 registers of one vector.
#define FK_ROWS 4
#define FK_OUTS 4
#define FK_PIXELS 8
#define FK_VECTORS 2
#define FK_QUERIES 4
#define FK_KEYS 4
#define FK_DIMS 4
#include "float_kernels.inc.h"
CK_TARGET_END

const ck_kernels ck_kernels_avx512vnni = FK_TABLE(CK_LEVEL_AVX512VNNI, avx512vnni);
#endif
