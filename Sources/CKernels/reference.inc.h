// What the parts of the reference share.
#include "internal.h"

// Element i of a reduction is added to lane i % 16, in ascending order; then the lanes are added as a tree.
CK_INLINE float tree(const float lanes[16]) {
    float s[16];
    for (int i = 0; i < 16; i++) s[i] = lanes[i];
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) s[i] = s[i] + s[i + width];
    return s[0];
}

CK_INLINE float dot(const float *a, const float *b, int32_t n) {
    float lanes[16] = {0};
    for (int32_t i = 0; i < n; i++) lanes[i % 16] = __builtin_fmaf(a[i], b[i], lanes[i % 16]);
    return tree(lanes);
}
