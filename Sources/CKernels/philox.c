#include "internal.h"

void ck_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

// A pair of words gives a pair of normals: u = (a >> 8) + 1 over 2^24 in (0, 1], angle = 2 pi (b >> 8) / 2^24.
static void box_muller(uint32_t a, uint32_t b, float out[2]) {
    float u = (float)((a >> 8) + 1) * 0x1p-24f;
    float angle = (float)(b >> 8) * 0x1p-24f * 6.28318531f;
    float radius = __builtin_sqrtf(-2.0f * ck_log(u));
    out[0] = radius * ck_cos(angle);
    out[1] = radius * ck_sin(angle);
}

void ck_normal(uint64_t seed, uint64_t stream, uint64_t first, float *out, size_t n) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    size_t done = 0;
    while (done < n) {
        uint64_t element = first + done, block = element / 4;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream,
                                     (uint32_t)(stream >> 32)};
        uint32_t words[4];
        float normals[4];
        ck_philox(counter, key, words);
        box_muller(words[0], words[1], normals);
        box_muller(words[2], words[3], normals + 2);
        for (uint64_t i = element % 4; i < 4 && done < n; i++) out[done++] = normals[i];
    }
}
