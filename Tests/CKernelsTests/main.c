#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static int usage(void) {
    fprintf(stderr, "usage: ckernels-tests [--level NAME] [--expect-best NAME] [--seed N] [--time]\n");
    return 2;
}

static long run(ck_level level, uint64_t seed) {
    test t = {.k = ck_kernels_at(level), .reference = ck_kernels_at(CK_LEVEL_REFERENCE), .seed = seed,
              .checksum = 0xcbf29ce484222325ull};
    if (t.k == NULL || t.k->level != level) {
        printf("FAILED: the table of %s is missing or another level's\n", ck_level_name(level));
        return 1;
    }
    test_levels(&t);
    test_elementary(&t);
    test_philox(&t);
    test_quantize(&t);
    test_linear_i8(&t);
    test_linear_f32(&t);
    test_attention(&t);
    test_attention_i8(&t);
    test_convolution(&t);
    test_convolution_i8(&t);
    test_rows(&t);
    if (t.compared < 1000000) expect(&t, 0, "only %ld values were compared", t.compared);
    printf("level %s seed %llu compared %ld failures %ld\n", ck_level_name(level), (unsigned long long)seed, t.compared,
           t.failures);
    printf("checksum %016llx\n", (unsigned long long)t.checksum);
    return t.failures;
}

int main(int argc, char **argv) {
    int only = -1, timing = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--time") == 0) {
            timing = 1;
        } else if (strcmp(argv[i], "--seed") == 0 && value != NULL) {
            seed = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--level") == 0 && value != NULL) {
            only = ck_level_named(value);
            if (only < 0) {
                fprintf(stderr, "no level is called %s\n", value);
                return 2;
            }
            if (!ck_level_supported((ck_level)only)) {
                fprintf(stderr, "level %s is not supported by this CPU\n", value);
                return 1;
            }
            i++;
        } else if (strcmp(argv[i], "--expect-best") == 0 && value != NULL) {
            const char *best = ck_level_name(ck_level_best());
            if (strcmp(best, value) != 0) {
                fprintf(stderr, "the best level is %s, expected %s\n", best, value);
                return 1;
            }
            i++;
        } else {
            return usage();
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("best level %s\n", ck_level_name(ck_level_best()));
    long failures = 0;
    for (int level = 0; level < CK_LEVEL_COUNT; level++) {
        if (only >= 0 ? level != only : !ck_level_supported((ck_level)level)) continue;
        if (timing)
            time_level(ck_kernels_at((ck_level)level));
        else
            failures += run((ck_level)level, seed);
    }
    return failures == 0 ? 0 : 1;
}
