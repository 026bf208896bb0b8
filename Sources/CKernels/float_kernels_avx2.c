#include "internal.h"
#if defined(__x86_64__)

CK_TARGET_BEGIN(CK_AVX2)
// 16 registers of half a vector.
#define FK_ROWS 2
#define FK_OUTS 2
#define FK_PIXELS 6
#define FK_VECTORS 1
#define FK_QUERIES 2
#define FK_KEYS 2
#define FK_DIMS 2
#include "float_kernels.inc.h"
CK_TARGET_END

const ck_kernels ck_kernels_avx2 = FK_TABLE(CK_LEVEL_AVX2, avx2);
const ck_kernels ck_kernels_vnni256 = FK_TABLE(CK_LEVEL_VNNI256, vnni256);
const ck_kernels ck_kernels_avxvnni = FK_TABLE(CK_LEVEL_AVXVNNI, avxvnni);
#endif
