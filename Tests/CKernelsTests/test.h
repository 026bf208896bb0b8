// A level of CKernels against the reference: equal bits, nothing read or written outside of the buffers.
#ifndef FILOSCOPE_CKERNELS_TEST_H
#define FILOSCOPE_CKERNELS_TEST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "CKernels.h"

#if defined(__clang__)
#pragma clang fp contract(off)
#endif

/// The level under test and what the tests found. Every test seeds its own numbers, so that its inputs, and with them
/// the checksum, are the same for every level and architecture.
typedef struct test {
    const ck_kernels *k;
    const ck_kernels *reference;
    uint64_t seed;
    uint64_t checksum;  // of every output of `k`
    long compared;      // values
    long failures;
} test;

typedef struct rng {
    uint64_t state;
} rng;

rng rng_seeded(const test *t, uint64_t salt);
uint32_t rng_next(rng *r);
int32_t rng_below(rng *r, int32_t n);
float rng_float(rng *r);  // -1 ..< 1
void rng_fill(rng *r, float *x, size_t n);

__attribute__((format(printf, 3, 4))) void expect(test *t, int condition, const char *format, ...);

/// A buffer that ends (`at_end`) or begins at an unreadable page. Contents are 0xaa. Freed all together.
void *guarded(size_t bytes, int at_end);
void guarded_free_all(void);

/// Bits must be equal (any NaN equals any NaN); the values go into the checksum.
void compare(test *t, const float *got, const float *want, size_t n, const char *what);
void compare_bytes(test *t, const int8_t *got, const int8_t *want, size_t n, const char *what);

void test_levels(test *t);
void test_elementary(test *t);
void test_philox(test *t);
void test_quantize(test *t);
void test_linear_i8(test *t);
void test_linear_f32(test *t);
void test_attention(test *t);
void test_attention_i8(test *t);
void test_convolution(test *t);
void test_convolution_i8(test *t);
void test_rows(test *t);

void time_level(const ck_kernels *k);

#endif
