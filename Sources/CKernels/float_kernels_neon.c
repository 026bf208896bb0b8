#include "internal.h"
#if defined(__aarch64__)
// 32 registers of a quarter of a vector.
#define FK_ROWS 2
#define FK_OUTS 2
#define FK_PIXELS 4
#define FK_VECTORS 1
#define FK_QUERIES 2
#define FK_KEYS 2
#define FK_DIMS 2
#include "float_kernels.inc.h"

const ck_kernels ck_kernels_neon = FK_TABLE(CK_LEVEL_NEON, neon);
const ck_kernels ck_kernels_neon_dotprod = FK_TABLE(CK_LEVEL_NEON_DOTPROD, dotprod);
const ck_kernels ck_kernels_neon_i8mm = FK_TABLE(CK_LEVEL_NEON_I8MM, i8mm);
#endif
