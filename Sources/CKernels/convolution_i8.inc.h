// An int8 convolution as an implicit matrix product, written once; each including file gives it the product of one
// instruction set. A strip of neighbouring outputs sees a window of input lines, packed once for all outputs:
// [line][column][block of 8 inputs], so that a tap moves a tile by a column and no tap is written twice. The window also
// holds what lies outside of the image, and is where an image is enlarged and its past put beside it.
// Before including, define
//   CI_PIXELS(groups)  pixels of a tile of `groups` groups of 8 outputs, at most 12
//   CI_GROUPS          groups of a full tile: 2 or 4
//   CI_BYTES           of a block in the window
//   CI_MOVED(zero)     what the product takes off a byte: corrected with the weights' sum
//   CI_ACROSS          (or not) the window is [line][block][column], so that a tile's pixels lie side by side. Where
//                      outputs skip columns, those come first that the first tap sees.
//   CI_UNIT            (or 1) pixels of a tile that cost as much as one
//   CI_ARRANGES        where weights are wanted otherwise than they lie in the file
// and the functions
//   put(to, from, zero)         one block of 8 bytes into the window
//   arrange(to, from)           if CI_ARRANGES: two blocks of 8 outputs by 8 inputs, 128 bytes
//   tiles(t, pixels, groups, sums)  sums [pixels][CI_OUTS] of a tile
#include "vector.inc.h"

#if !defined(CI_UNIT)
#define CI_UNIT 1
#endif

enum {
    CI_OUTS = 8 * CI_GROUPS,
    CI_STRIP = 24,                  // outputs side by side
    CI_WINDOW_BYTES = 3 * 3 * 4096 * CI_BYTES / 8,  // one output of the most inputs
    CI_STRIP_BYTES = 24 * 1024 * CI_BYTES / 8,      // what a window takes at most when it holds more than one tile
    CI_WEIGHT_BYTES = 384 * 1024,   // what stays in L2 while the image passes
    CI_LARGEST_SHARE = 3 * 3 * 4096 * CI_OUTS,  // of a convolution of the most inputs
};

_Static_assert(CI_PIXELS(CI_GROUPS) % CI_UNIT == 0 && CI_PIXELS(2) % CI_UNIT == 0, "tiles are whole units");

/// What a tile's product reads: lines of a window, and one group of outputs.
typedef struct ci_tile {
    const uint8_t *line[3];  // the first pixel's leftmost column
#if defined(CI_ACROSS)
    size_t tap[3];           // bytes from the leftmost column to each of a line's
    size_t block;            // bytes from a block to the next
    int32_t taps;
#else
    size_t step;             // bytes from a pixel to the next
#endif
    const int8_t *weight;
    size_t group;            // bytes from a group of outputs to the next
    int32_t lines;
    int32_t blocks;          // of a tap if CI_ACROSS, else of a line: neighbouring columns lie side by side
} ci_tile;

static void tiles(const ci_tile *t, int32_t pixels, int32_t groups, int32_t *sums);
CK_INLINE void put(uint8_t *to, const uint8_t *from, int32_t zero);
#if defined(CI_ARRANGES)
CK_INLINE void arrange(int8_t *to, const int8_t *from);
#endif

/// Blocks of a pixel, `block` bytes from one to the next.
CK_INLINE void put_channels(uint8_t *to, size_t block, const uint8_t *from, int32_t channels, int32_t zero) {
    uint8_t last[8];
    int32_t c = 0;
    for (; c + 8 <= channels; c += 8) put(to + (size_t)(c / 8) * block, from + c, zero);
    for (; c < (channels + 15) / 16 * 16; c += 8) {
        // What stands beyond the channels meets weights of 0.
        memset(last, zero, sizeof last);
        for (int32_t i = c; i < channels; i++) last[i - c] = from[i];
        put(to + (size_t)(c / 8) * block, last, zero);
    }
}

CK_INLINE void put_outside(uint8_t *to, size_t block, int32_t blocks, int32_t zero) {
    uint8_t nothing[8];
    memset(nothing, zero, sizeof nothing);
    for (int32_t b = 0; b < blocks; b++) put(to + (size_t)b * block, nothing, zero);
}

/// Bytes from the begin of a line of `columns` to one of them; ci_block: from a block to the next.
CK_INLINE size_t ci_column(int32_t i, int32_t columns, int32_t stride, int32_t blocks) {
#if defined(CI_ACROSS)
    (void)blocks;
    const int32_t place = stride == 1 ? i : i % 2 * ((columns + 1) / 2) + i / 2;
    return (size_t)place * CI_BYTES;
#else
    (void)columns, (void)stride;
    return (size_t)(i * blocks) * CI_BYTES;
#endif
}

CK_INLINE size_t ci_block(int32_t columns) {
#if defined(CI_ACROSS)
    return (size_t)columns * CI_BYTES;
#else
    (void)columns;
    return CI_BYTES;
#endif
}

/// Columns `left`..<`left + columns` of line `y`, both of the enlarged image and perhaps outside of it.
static void put_line(uint8_t *to, const ck_convolution_i8_args *a, int32_t blocks, int32_t y, int32_t left,
                     int32_t columns) {
    const int32_t zero = a->quantization_in.zero;
    const size_t block = ci_block(columns);
    if (y < 0 || y >= a->height) {
        put_outside(to, CI_BYTES, blocks * columns, zero);
        return;
    }
    int32_t begin = left < 0 ? -left : 0, end = a->width - left < columns ? a->width - left : columns;
    for (int32_t i = 0; i < begin; i++) put_outside(to + ci_column(i, columns, a->stride, blocks), block, blocks, zero);
    for (int32_t i = end; i < columns; i++)
        put_outside(to + ci_column(i, columns, a->stride, blocks), block, blocks, zero);
    const size_t line = (size_t)(y / a->enlarge) * (size_t)(a->width / a->enlarge), stride = (size_t)a->stride_in;
    const uint8_t *input = a->input + line * stride;
#if !defined(CI_ACROSS)
    if (a->input2 == NULL && a->enlarge == 1 && a->stride_in == a->in && a->in % 16 == 0) {
        put_channels(to + ci_column(begin, columns, a->stride, blocks), block, input + (size_t)(left + begin) * stride,
                     (end - begin) * a->in, zero);
        return;
    }
#endif
    const size_t beside = (size_t)((a->in + 15) / 16 * 2) * block;
    for (int32_t i = begin; i < end; i++) {
        const size_t x = (size_t)((left + i) / a->enlarge);
        uint8_t *column = to + ci_column(i, columns, a->stride, blocks);
        put_channels(column, block, input + x * stride, a->in, zero);
        if (a->input2 != NULL)
            put_channels(column + beside, block, a->input2 + (line + x) * (size_t)a->in2, a->in2, zero);
    }
}

/// The exact sums of outputs `o`..<`end` (within CI_OUTS) at `pixels` neighbours from element `at` of the image.
CK_INLINE void ci_finish(const int32_t *sums, const ck_convolution_i8_args *a, int32_t pixels, int32_t o, int32_t end,
                         size_t at, const int bytes, const int residual) {
    const float k = bytes ? 1.0f / a->quantization_out.scale : 1.0f;
    const int32_t moved = a->quantization_in.zero - CI_MOVED(a->quantization_in.zero);
    const int relu = a->activation == CK_ACTIVATION_RELU;
    const float low = relu ? 0.0f : (float)-a->quantization_out.zero;
    const float residual_scale = a->quantization_residual.scale * k;
    for (int32_t c = o; c < end; c += 16) {
        const int32_t n = a->out - c < 16 ? a->out - c : 16;
        const f32x16 scale = (a->quantization_in.scale * load(a->scale + c)) * k;
        const f32x16 bias = a->bias != NULL ? load(a->bias + c) * k : splat(0.0f);
        i32x16 correction;
        memcpy(&correction, a->sum + c, sizeof correction);
        correction = correction * moved;
        for (int32_t p = 0; p < pixels; p++) {
            const size_t to = at + (size_t)p * (size_t)a->out + (size_t)c;
            i32x16 sum;
            memcpy(&sum, sums + p * CI_OUTS + (c - o), sizeof sum);
            f32x16 v = __builtin_convertvector(sum - correction, f32x16) * scale;
            if (a->bias != NULL) v = v + bias;
            if (residual == 1) v = v + floats_of(a->residual + to, n, a->quantization_residual.zero) * residual_scale;
            if (residual == 2) v = v + load_first(a->residual_f32 + to, n) * k;
            if (bytes)
                store_bytes(a->output + to, v, low, a->quantization_out.zero, n);
            else
                store_first(a->output_f32 + to, relu ? activation16(v, CK_ACTIVATION_RELU) : v, n);
        }
    }
}

static void ci_finish_any(const int32_t *sums, const ck_convolution_i8_args *a, int32_t pixels, int32_t o, int32_t end,
                          size_t at) {
    if (a->output != NULL && a->residual != NULL)
        ci_finish(sums, a, pixels, o, end, at, 1, 1);
    else if (a->output != NULL && a->residual_f32 != NULL)
        ci_finish(sums, a, pixels, o, end, at, 1, 2);
    else if (a->output != NULL)
        ci_finish(sums, a, pixels, o, end, at, 1, 0);
    else if (a->residual != NULL)
        ci_finish(sums, a, pixels, o, end, at, 0, 1);
    else if (a->residual_f32 != NULL)
        ci_finish(sums, a, pixels, o, end, at, 0, 2);
    else
        ci_finish(sums, a, pixels, o, end, at, 0, 0);
}

/// Lines of a window, and which line of the image each holds.
typedef struct ci_window {
    uint8_t *bytes;
    size_t line;
    int32_t held[3];
} ci_window;

/// Outputs `begin`..<`end`, whose weights are given, of `pixels` neighbours of row `oy` from `ox` on.
static void ci_strip(const ck_convolution_i8_args *a, const int8_t *weight, ci_window *window, int32_t blocks, int32_t oy,
                     int32_t ox, int32_t pixels, int32_t begin, int32_t end) {
    const int32_t pad = a->kernel / 2, out_width = (a->width + a->stride - 1) / a->stride;
    const int32_t columns = (pixels - 1) * a->stride + a->kernel;
    const uint8_t *line[3] = {NULL, NULL, NULL};
    for (int32_t ky = 0; ky < a->kernel; ky++) {
        const int32_t y = oy * a->stride + ky - pad, slot = (y + a->kernel) % a->kernel;
        uint8_t *bytes = window->bytes + (size_t)slot * window->line;
        if (window->held[slot] != y) put_line(bytes, a, blocks, y, ox * a->stride - pad, columns);
        window->held[slot] = y;
        line[ky] = bytes;
    }
    const size_t group = (size_t)(a->kernel * a->kernel * blocks) * 64;
    const size_t row = ((size_t)oy * (size_t)out_width + (size_t)ox) * (size_t)a->out;
    const int32_t units = (pixels + CI_UNIT - 1) / CI_UNIT;
    for (int32_t o = begin; o < end;) {
        const int32_t groups = end - o >= CI_OUTS ? CI_GROUPS : 2;
        // As many tiles as needed, as equal as can be: a tile of one or two pixels leaves the multipliers waiting.
        const int32_t most = CI_PIXELS(groups), count = (pixels + most - 1) / most;
        for (int32_t i = 0, p = 0; i < count; i++) {
            const int32_t even = (units / count + (i < units % count)) * CI_UNIT, n = even < pixels - p ? even : pixels - p;
            _Alignas(64) int32_t sums[12 * CI_OUTS];
            ci_tile t = {.weight = weight + (size_t)((o - begin) / 8) * group, .group = group, .lines = a->kernel};
            for (int32_t ky = 0; ky < a->kernel; ky++)
                t.line[ky] = line[ky] + ci_column(p * a->stride, columns, a->stride, blocks);
#if defined(CI_ACROSS)
            for (int32_t kx = 0; kx < a->kernel; kx++) t.tap[kx] = ci_column(kx, columns, a->stride, blocks);
            t.block = ci_block(columns);
            t.taps = a->kernel;
            t.blocks = blocks;
#else
            t.step = ci_column(a->stride, columns, a->stride, blocks);
            t.blocks = a->kernel * blocks;
#endif
            tiles(&t, n, groups, sums);
            ci_finish_any(sums, a, n, o, o + 8 * groups, row + (size_t)p * (size_t)a->out);
            p += n;
        }
        o += 8 * groups;
    }
}

CK_INLINE void ci_run(const ck_convolution_i8_args *a, int32_t row_begin, int32_t row_end) {
    const int32_t in2 = a->input2 != NULL ? a->in2 : 0;
    const int32_t blocks = (a->in + 15) / 16 * 2 + (in2 + 15) / 16 * 2;
    const int32_t out_width = (a->width + a->stride - 1) / a->stride, out_padded = (a->out + 15) / 16 * 16;
    const size_t column = (size_t)blocks * CI_BYTES, weights = (size_t)(a->kernel * a->kernel * blocks) * 8;
    _Alignas(64) uint8_t bytes[CI_WINDOW_BYTES + 16];  // a pair of pixels reaches past the last one
    int32_t strip = CI_STRIP;
    while (strip > 1 && (size_t)a->kernel * (size_t)((strip - 1) * a->stride + a->kernel) * column > CI_STRIP_BYTES)
        strip--;
    const int32_t unit = strip < CI_UNIT ? strip : CI_UNIT;
    strip = strip / unit * unit;
    ci_window window = {.bytes = bytes, .line = (size_t)((strip - 1) * a->stride + a->kernel) * column};
    int32_t share = (int32_t)(CI_WEIGHT_BYTES / weights) / CI_OUTS * CI_OUTS;
    if (share < CI_OUTS) share = CI_OUTS;
#if defined(CI_ARRANGES)
    // 590 KB, of which pages are touched as the weights need them: a thread's stack has a megabyte at least.
    _Alignas(64) int8_t arranged[CI_WEIGHT_BYTES > CI_LARGEST_SHARE ? CI_WEIGHT_BYTES : CI_LARGEST_SHARE];
#endif
    // Whole tiles stand in a strip, and all tiles are as equal as can be.
    const int32_t most = CI_PIXELS(CI_GROUPS) < strip ? CI_PIXELS(CI_GROUPS) : strip;
    const int32_t units = (out_width + unit - 1) / unit, all = (out_width + most - 1) / most;
    const int32_t strips = (all + strip / most - 1) / (strip / most);
    for (int32_t begin = 0; begin < out_padded; begin += share) {
        const int32_t end = out_padded - begin < share ? out_padded : begin + share;
        const int8_t *weight = a->weight + (size_t)begin * weights;
#if defined(CI_ARRANGES)
        for (size_t at = 0; at < (size_t)(end - begin) * weights; at += 128) arrange(arranged + at, weight + at);
        weight = arranged;
#endif
        for (int32_t i = 0, ox = 0; i < strips; i++) {
            const int32_t behind = (int32_t)((int64_t)units * ((int64_t)all * (i + 1) / strips) / all) * unit;
            const int32_t pixels = (behind < out_width ? behind : out_width) - ox;
            for (int32_t slot = 0; slot < 3; slot++) window.held[slot] = INT32_MIN;
            for (int32_t oy = row_begin; oy < row_end; oy++)
                ci_strip(a, weight, &window, blocks, oy, ox, pixels, begin, end);
            ox += pixels;
        }
    }
}
