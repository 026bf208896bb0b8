// What becomes of rows before they are multiplied: normalized, transformed, rounded to int8, laid into panels. Part of
// linear_i8.inc.h, which says what is defined before.

/// The Hadamard transform of 128 values, divided by its norm: stages of distance 64, 32, …, 1.
static void hadamard(f32x16 v[8]) {
    for (int distance = 4; distance > 0; distance /= 2)
        for (int i = 0; i < 8; i++)
            if ((i & distance) == 0) {
                const f32x16 a = v[i], b = v[i + distance];
                v[i] = a + b;
                v[i + distance] = a - b;
            }
    for (int i = 0; i < 8; i++) {
        const f32x16 x = v[i];
        const f32x16 a = x + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
        const f32x16 b = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7) - x;
        const f32x16 x8 = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31);
        const f32x16 o4 =
            __builtin_shufflevector(x8, x8, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
        const f32x16 x4 = __builtin_shufflevector(x8 + o4, o4 - x8, 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29,
                                                  30, 31);
        const f32x16 o2 =
            __builtin_shufflevector(x4, x4, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        const f32x16 x2 = __builtin_shufflevector(x4 + o2, o2 - x4, 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13,
                                                  30, 31);
        const f32x16 o1 =
            __builtin_shufflevector(x2, x2, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        const f32x16 x1 = __builtin_shufflevector(x2 + o1, o1 - x2, 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29,
                                                  14, 31);
        v[i] = x1 * CK_HADAMARD_SCALE;
    }
}

/// One row on its way to int8: what is done to a value before it is rounded.
typedef struct li_row {
    const float *x, *gamma, *beta, *scale, *shift;
    float mean, inverse;
    int32_t hadamard;
} li_row;

/// Elements i..<i + n, n <= 16, normalized and modulated.
CK_INLINE f32x16 row_values(const li_row *row, int32_t i, int32_t n, const int normalize) {
    f32x16 v = load_first(row->x + i, n);
    if (normalize) {
        v = (v - row->mean) * row->inverse;
        if (row->gamma != NULL) v = v * load_first(row->gamma + i, n);
        if (row->beta != NULL) v = v + load_first(row->beta + i, n);
        if (row->scale != NULL) v = v * (1.0f + load_first(row->scale + i, n));
        if (row->shift != NULL) v = v + load_first(row->shift + i, n);
        if (n < 16) {
            const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
            v = choose(lane < n, v, splat(0.0f));
        }
    }
    return v;
}

/// The largest magnitude that is not NaN.
static float row_largest_number(const li_row *row, int32_t in, const int normalize) {
    f32x16 maxima = {0};
    for (int32_t i = 0; i < in; i += row->hadamard ? 128 : 16) {
        f32x16 v[8];
        const int count = row->hadamard ? 8 : 1;
        for (int j = 0; j < count; j++) {
            const int32_t at = i + 16 * j;
            v[j] = row_values(row, at, in - at < 16 ? in - at : 16, normalize);
        }
        if (row->hadamard) hadamard(v);
        for (int j = 0; j < count; j++) maxima = larger(magnitude(v[j]), maxima);
    }
    float largest = 0.0f;
    for (int i = 0; i < 16; i++) largest = maxima[i] > largest ? maxima[i] : largest;
    return largest < CK_FLOAT_MAX ? largest : CK_FLOAT_MAX;
}

/// What rounds x · factor when it is added, and leaves x's byte of the panel lowest.
#define LI_MAGIC (CK_MAGIC + (float)LI_PANEL_FLIP)

/// Two blocks of 8 inputs of one row into its panel. Nothing finite leaves -127...127; rows with what is not finite are `hard`.
CK_INLINE void put_values(int8_t *to, f32x16 v, float factor, const int hard) {
    if (hard) {
        v = choose(v == v, v, splat(0.0f));
        v = smaller(larger(v, splat(-CK_FLOAT_MAX)), splat(CK_FLOAT_MAX));
    }
    const i8x16 bytes = __builtin_convertvector(as_int(fused(v, splat(factor), splat(LI_MAGIC))), i8x16);
    const f64x2 halves = (f64x2)bytes;
    for (int repeat = 0; repeat < LI_UNIT / 8; repeat++) {
        *(f64_unaligned *)(to + 8 * repeat) = halves[0];
        *(f64_unaligned *)(to + LI_STEP + 8 * repeat) = halves[1];
    }
}

#ifdef LI_PUTS_PAIRS
/// 64 values each of two neighbouring rows, none of them hard.
CK_INLINE void put_pair(int8_t *to, const f32x16 v[2][4], const float factor[2]);
#endif

/// Values i..<in of a row.
CK_INLINE void put_row(const li_row *row, int32_t i, int32_t in, float factor, int8_t *to, const int normalize,
                       const int hard) {
    if (row->hadamard) {
        for (; i < in; i += 128) {
            f32x16 v[8];
            for (int j = 0; j < 8; j++) v[j] = row_values(row, i + 16 * j, 16, normalize);
            hadamard(v);
            for (int j = 0; j < 8; j++) put_values(to + (size_t)(i / 8 + 2 * j) * LI_STEP, v[j], factor, hard);
        }
        return;
    }
    for (; i + 16 <= in; i += 16)
        put_values(to + (size_t)(i / 8) * LI_STEP, row_values(row, i, 16, normalize), factor, hard);
    if (i < in) put_values(to + (size_t)(i / 8) * LI_STEP, row_values(row, i, in - i, normalize), factor, hard);
}

/// The statistics of layer_norm, with the same additions.
static void row_moments(li_row *row, int32_t n, float eps) {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    f32x16 lanes = {0}, squares = {0};
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) lanes = lanes + load(row->x + i);
    if (i < n) lanes = lanes + load_first(row->x + i, n - i);
    row->mean = tree(lanes) / (float)n;
    for (i = 0; i + 16 <= n; i += 16) {
        const f32x16 d = load(row->x + i) - row->mean;
        squares = squares + d * d;
    }
    if (i < n) {
        f32x16 d = load_first(row->x + i, n - i) - row->mean;
        d = choose(lane < n - i, d, splat(0.0f));
        squares = squares + d * d;
    }
    row->inverse = 1.0f / __builtin_sqrtf(tree(squares) / (float)n + eps);
}

/// What a row is multiplied with before it is rounded, and its scale.
CK_INLINE float row_factor(float largest, float *scale) {
    const int zero = largest < CK_ROW_ZERO;
    *scale = zero ? 0.0f : largest / 127.0f;
    return zero ? 0.0f : 127.0f / largest;
}

CK_INLINE li_row row_of(const ck_quantize_args *a, int32_t r, const int normalize) {
    li_row row = {.x = a->x + (size_t)r * a->stride, .hadamard = a->hadamard};
    if (normalize) {
        row.gamma = a->gamma;
        row.beta = a->beta;
        row.scale = row_vector(a->scale, r);
        row.shift = row_vector(a->shift, r);
        row_moments(&row, a->in, a->eps);
    }
    return row;
}

/// Values i..<end of neighbouring rows.
CK_INLINE void put_rows(const li_row *rows, int32_t count, int32_t i, int32_t end, const float *factor, int8_t *to,
                        const int normalize) {
    const int32_t begin = i;
    int32_t paired = 0;
#ifdef LI_PUTS_PAIRS
    // A panel is written from its begin to its end, whatever the number of rows.
    paired = count & ~1;
    for (; i + 64 <= end; i += 64) {
        CK_UNROLL for (int32_t r = 0; r + 1 < LI_ROWS; r += 2) {
            if (r >= paired) continue;
            f32x16 v[2][4];
            CK_UNROLL for (int j = 0; j < 4; j++) {
                v[0][j] = row_values(&rows[r], i + 16 * j, 16, normalize);
                v[1][j] = row_values(&rows[r + 1], i + 16 * j, 16, normalize);
            }
            put_pair(to + (size_t)(i / 8) * LI_STEP + (size_t)r * LI_UNIT, (const f32x16 (*)[4])v, factor + r);
        }
    }
#endif
    for (int32_t r = 0; r < count; r++)
        put_row(&rows[r], r < paired ? i : begin, end, factor[r], to + (size_t)r * LI_UNIT, normalize, 0);
}

#ifdef LI_PUTS_PAIRS
/// The factors and scales of `count` rows. 0, with nothing that counts, where a value is not finite or might not be.
CK_INLINE int scale_rows(const li_row *rows, int32_t count, int32_t in, float *factor, float *scale, const int normalize);
#else
CK_INLINE int32_t largest_lane(i32x16 v) {
    int32_t largest = 0;
    for (int i = 0; i < 16; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

/// The bits of the largest magnitude as an integer: floats of one sign are ordered as their bits are, NaNs above infinity.
CK_INLINE int32_t row_largest_bits(const li_row *row, int32_t in, const int normalize) {
    i32x16 maxima[4] = {{0}, {0}, {0}, {0}};
    int32_t i = 0;
    for (; i + 64 <= in; i += 64) {
        CK_UNROLL for (int j = 0; j < 4; j++)
            maxima[j] = larger_int(as_int(magnitude(row_values(row, i + 16 * j, 16, normalize))), maxima[j]);
    }
    for (; i < in; i += 16) {
        const int32_t n = in - i < 16 ? in - i : 16;
        maxima[0] = larger_int(as_int(magnitude(row_values(row, i, n, normalize))), maxima[0]);
    }
    return largest_lane(larger_int(larger_int(maxima[0], maxima[1]), larger_int(maxima[2], maxima[3])));
}

CK_INLINE int scale_rows(const li_row *rows, int32_t count, int32_t in, float *factor, float *scale, const int normalize) {
    for (int32_t r = 0; r < count; r++) {
        const int32_t bits = row_largest_bits(&rows[r], in, normalize);
        if (bits >= 0x7f800000) return 0;
        float largest;
        memcpy(&largest, &bits, sizeof largest);
        factor[r] = row_factor(largest, scale + r);
    }
    return 1;
}
#endif

/// Rows next to each other in one panel on their way to int8, between the two halves of it: the first finds what they are
/// multiplied with, a long chain of few operations, the second does it.
typedef struct li_rounding {
    li_row rows[LI_ROWS];
    float factor[LI_ROWS < 8 ? 8 : LI_ROWS];  // a level may store eight at once
    int32_t begin, count;
    int rare;  // with a Hadamard transform, or with what is not finite: one row after another
} li_rounding;

CK_INLINE void begin_rows(const ck_quantize_args *a, li_rounding *to, const int32_t count, float *scale,
                          const int normalize) {
    for (int32_t r = 0; r < count; r++) to->rows[r] = row_of(a, to->begin + r, normalize);
    to->rare = !scale_rows(to->rows, count, a->in, to->factor, scale + to->begin, normalize);
}

CK_INLINE void end_rows(const ck_quantize_args *a, const li_rounding *rounding, const int32_t count, int8_t *to,
                        const int normalize) {
    // A long panel is written piece by piece, not once for each row: its lines would be fetched as often.
    for (int32_t i = 0; i < a->in; i += LI_PIECE)
        put_rows(rounding->rows, count, i, a->in - i < LI_PIECE ? a->in : i + LI_PIECE, rounding->factor, to, normalize);
}

// A whole panel's rows are known to the compiler one by one.
#define LI_ROUNDS(kind, normalize) \
    static void begin_##kind(const ck_quantize_args *a, li_rounding *to, float *scale) { \
        if (to->count == LI_ROWS) \
            begin_rows(a, to, LI_ROWS, scale, normalize); \
        else \
            begin_rows(a, to, to->count, scale, normalize); \
    } \
    static void end_##kind(const ck_quantize_args *a, const li_rounding *rounding, int8_t *to) { \
        if (rounding->count == LI_ROWS) \
            end_rows(a, rounding, LI_ROWS, to, normalize); \
        else \
            end_rows(a, rounding, rounding->count, to, normalize); \
    }
LI_ROUNDS(plain, 0)
LI_ROUNDS(normalized, 1)
#undef LI_ROUNDS

/// A row with a Hadamard transform, or with what is not finite.
static void quantize_rare(const ck_quantize_args *a, int32_t r, int8_t *to, float *scale) {
    const li_row row = row_of(a, r, a->normalize);
    const float largest = row_largest_number(&row, a->in, a->normalize);
    const float factor = row_factor(largest, scale + r);
    put_row(&row, 0, a->in, factor, to, a->normalize, 1);
}

/// Rows `begin`..<`begin + count` of one panel.
CK_INLINE void quantize_begin(const ck_quantize_args *a, int32_t begin, int32_t count, float *scale, li_rounding *to) {
    to->begin = begin;
    to->count = count;
    to->rare = 1;
    if (a->hadamard) return;
    if (a->normalize)
        begin_normalized(a, to, scale);
    else
        begin_plain(a, to, scale);
}

/// Panels are `panel` bytes each.
CK_INLINE void quantize_end(const ck_quantize_args *a, const li_rounding *rounding, size_t panel, int8_t *panels,
                            float *scale) {
    int8_t *to = panels + (size_t)(rounding->begin / LI_ROWS) * panel + (size_t)(rounding->begin % LI_ROWS) * LI_UNIT;
    if (rounding->rare)
        for (int32_t i = 0; i < rounding->count; i++)
            quantize_rare(a, rounding->begin + i, to + (size_t)i * LI_UNIT, scale);
    else if (a->normalize)
        end_normalized(a, rounding, to);
    else
        end_plain(a, rounding, to);
}

void LI_QUANTIZE(const ck_quantize_args *a, int32_t row_begin, int32_t row_end, int8_t *panels, float *scale) {
    const size_t panel = (size_t)((a->in + 15) / 16 * 2) * LI_STEP;
    // The way from a row's largest value to its bytes is long: as many rows go it side by side as L1 holds until they are
    // read again, or all where it does not hold two.
    int32_t abreast = LI_ABREAST_FLOATS / a->in & ~1;
    if (abreast < 2) abreast = a->in <= LI_LONG ? 2 : LI_ROWS;
    for (int32_t r = row_begin; r < row_end;) {
        int32_t count = LI_ROWS - r % LI_ROWS;
        if (count > row_end - r) count = row_end - r;
        if (count > abreast) count = abreast;
        li_rounding rounding;
        quantize_begin(a, r, count, scale, &rounding);
        quantize_end(a, &rounding, panel, panels, scale);
        r += count;
    }
}
