#define _DEFAULT_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

rng rng_seeded(const test *t, uint64_t salt) {
    rng r = {t->seed * 0x9E3779B97F4A7C15ull + salt * 0xD1B54A32D192ED03ull + 1};
    for (int i = 0; i < 4; i++) rng_next(&r);
    return r;
}

uint32_t rng_next(rng *r) {  // xorshift64*
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)((r->state * 0x2545F4914F6CDD1Dull) >> 32);
}

int32_t rng_below(rng *r, int32_t n) { return (int32_t)(rng_next(r) % (uint32_t)n); }

float rng_float(rng *r) { return (float)((int32_t)(rng_next(r) >> 8) - (1 << 23)) * 0x1p-23f; }

void rng_fill(rng *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = rng_float(r);
}

void expect(test *t, int condition, const char *format, ...) {
    if (condition) return;
    if (t->failures++ >= 20) return;
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED (%s): ", ck_level_name(t->k->level));
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

enum { KEPT = 64 };
static struct {
    void *base;
    size_t bytes;
} kept[KEPT];
static int kept_count;

void *guarded(size_t bytes, int at_end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (bytes / page + 1) * page, all = body + 2 * page;
    uint8_t *base = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || kept_count == KEPT || mprotect(base + page, body, PROT_READ | PROT_WRITE) != 0) {
        fprintf(stderr, "cannot map %zu bytes (buffer %d)\n", all, kept_count);
        exit(2);
    }
    kept[kept_count].base = base;
    kept[kept_count++].bytes = all;
    memset(base + page, 0xaa, body);
    return at_end ? base + page + body - bytes : base + page;
}

void guarded_free_all(void) {
    while (kept_count > 0) {
        kept_count--;
        munmap(kept[kept_count].base, kept[kept_count].bytes);
    }
}

static void mix(test *t, uint32_t word) {  // FNV-1a, a word at a time
    t->checksum = (t->checksum ^ word) * 0x100000001b3ull;
    t->checksum ^= t->checksum >> 29;
}

void compare(test *t, const float *got, const float *want, size_t n, const char *what) {
    t->compared += (long)n;
    for (size_t i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, got + i, 4);
        memcpy(&b, want + i, 4);
        const int nan_a = got[i] != got[i], nan_b = want[i] != want[i];
        mix(t, nan_a ? 0x7fc00000u : a);
        if (a == b || (nan_a && nan_b)) continue;
        expect(t, 0, "%s: element %zu of %zu is %.9g (%08x), the reference has %.9g (%08x)", what, i, n,
               (double)got[i], a, (double)want[i], b);
        return;
    }
}

void compare_bytes(test *t, const int8_t *got, const int8_t *want, size_t n, const char *what) {
    t->compared += (long)n;
    for (size_t i = 0; i < n; i++) {
        mix(t, (uint8_t)got[i]);
        if (got[i] == want[i]) continue;
        expect(t, 0, "%s: byte %zu of %zu is %d, the reference has %d", what, i, n, got[i], want[i]);
        return;
    }
}
