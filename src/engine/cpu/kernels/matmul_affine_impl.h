// Affine weights times 15-bit activations, the same for every instruction set: included by a file that has defined
//     vec, 16 floats, and ivec, 16 int32, one for each row of a tile: vec_zero, vec_store, vec_mul, vec_splat(x),
//         vec_fma(v, x, sum) with one number x, vec_multiply_add(a, b, sum), vec_of(ivec)
//     load_floats(type, bytes): a vec from 16 floats of a 2 or 4 byte type; prefetch(address)
//     accumulators, of one tile, with accumulators_clear(a, num_tokens)
//         accumulators_add(a, planes, bits, group_size, octet, hi, lo, cols, num_tokens):
//             the products q * (128 * hi + lo) of 32 inputs of a group; token t's start at hi + t * cols and lo +
//             t * cols
//         accumulators_add_wide(a, planes, bits, group_size, quads, hi, cols, num_tokens), then
//         accumulators_add_narrow(a, planes, bits, group_size, octet, lo, cols, num_tokens): the same for narrow rows, hi only
//             for the quads of the group whose bit is set
//         accumulators_sum(a, bits, token, narrow): an ivec, the exact sum of the products
//     MAX_TOKENS, 4: the most that accumulators hold; BEST_TOKENS: how many of many tokens to take at once,
//         BEST_NARROW_TOKENS for narrow rows
// and that then defines its matmul_affine through matmul_affine. The order of the floating-point operations is
// that of matmul_scalar.c.
#ifndef ENGINE_CPU_MATMUL_AFFINE_IMPL_H
#define ENGINE_CPU_MATMUL_AFFINE_IMPL_H
#include "engine/cpu/kernels/tile.h"

enum {
    SPAN_BYTES = 256 << 10, // of activations, which stay in the second-level cache while all tiles pass by
    AHEAD = 2048            // bytes of weights that are asked for ahead of the stream
};

// Bit j: quad j of a token's group is wide. hi is 0 in the others.
INLINE unsigned wide_quads_of(const quantized_rows *x, int token, int group)
{
    uint16_t two;
    uint32_t four;
    const int octets = x->group_size / 32;
    const uint8_t *wide = x->wide + (size_t)token * (size_t)(x->cols / 32) + (size_t)(group * octets);
    if (octets == 1) return *wide;
    if (octets == 2) return memcpy(&two, wide, 2), two;
    return memcpy(&four, wide, 4), four;
}

// Those that are wide in some of the tokens.
INLINE unsigned wide_quads(const quantized_rows *x, int token, int group, const int num_tokens)
{
    unsigned quads = 0;
    UNROLL for (int t = 0; t < num_tokens; t++) quads |= wide_quads_of(x, token + t, group);
    return quads;
}

// One pass over a tile for `num_tokens` tokens; that, bits and narrow are constants after inlining.
INLINE void affine_block(const packed_matrix *w, int tile, const quantized_rows *x, int token, float *y,
                         size_t y_stride, const bool narrow, const int bits, const int num_tokens)
{
    const int group_size = w->group_size, num_groups = w->cols / group_size;
    const size_t cols = (size_t)x->cols, scale_bytes = tile_scale_bytes(w->scale_type);
    const size_t group_bytes = tile_group_bytes(bits, group_size, w->scale_type);
    const bool two_planes = bits == 5 || bits == 6; // a wide one, and a narrow one far behind
    const int8_t *hi = x->hi + (size_t)token * cols, *lo = x->lo + (size_t)token * cols;
    const float *x_scale = x->scale + (size_t)token * (size_t)num_groups;
    const float *x_sum = x->sum + (size_t)token * (size_t)num_groups;
    const uint8_t *planes = tile_at(w, tile) + 2 * scale_bytes;
    vec sums[MAX_TOKENS];
    UNROLL for (int t = 0; t < num_tokens; t++) sums[t] = vec_zero();
    for (int group = 0; group < num_groups; group++) {
        accumulators dots;
        accumulators_clear(&dots, num_tokens);
        // One stream is asked for in order where the processor would not see it coming: two planes far apart; or, beside a long
        // tile, the activations of several tokens, which do not stay in the first-level cache: at 1,536 inputs 1.5 times, at
        // 2,048 1.8 times the rate (Zen 4).
        if (two_planes || num_tokens > 2)
            for (size_t line = 0; line < group_bytes; line += 64) prefetch(planes + AHEAD + line);
        if (narrow) {
            unsigned quads = wide_quads(x, token, group, num_tokens);
            if (quads) accumulators_add_wide(&dots, planes, bits, group_size, quads, hi, cols, num_tokens);
            for (int octet = 0; octet < group_size / 32; octet++)
                accumulators_add_narrow(&dots, planes, bits, group_size, octet, lo + 32 * octet, cols, num_tokens);
        } else
            for (int octet = 0; octet < group_size / 32; octet++)
                accumulators_add(&dots, planes, bits, group_size, octet, hi + 32 * octet, lo + 32 * octet, cols, num_tokens);
        hi += group_size, lo += group_size;
        vec scale = load_floats(w->scale_type, planes - 2 * scale_bytes), bias = load_floats(w->scale_type, planes - scale_bytes);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            size_t at = (size_t)t * (size_t)num_groups + (size_t)group;
            vec factor = vec_mul(scale, vec_splat(x_scale[at]));
            sums[t] = vec_multiply_add(vec_of(accumulators_sum(&dots, bits, t, narrow)), factor, sums[t]);
            sums[t] = vec_fma(bias, x_sum[at], sums[t]);
        }
        planes += group_bytes;
    }
    UNROLL for (int t = 0; t < num_tokens; t++) vec_store(y + (size_t)(token + t) * y_stride + (size_t)tile * TILE_ROWS, sums[t]);
}

typedef void affine_block_function(const packed_matrix *w, int tile, const quantized_rows *x, int token, float *y,
                                   size_t y_stride);

#define BLOCK(narrow, bits, tokens)                                                                               \
    static void affine_##narrow##_##bits##_##tokens(const packed_matrix *w, int tile, const quantized_rows *x,    \
                                                    int token, float *y, size_t y_stride)                         \
    {                                                                                                             \
        affine_block(w, tile, x, token, y, y_stride, narrow, bits, tokens);                                       \
    }
#define NAME(narrow, bits, tokens) affine_##narrow##_##bits##_##tokens,
#define FOR_TOKENS(X, narrow, bits) X(narrow, bits, 1) X(narrow, bits, 2) X(narrow, bits, 3) X(narrow, bits, 4)
#define BLOCKS(narrow, bits) FOR_TOKENS(BLOCK, narrow, bits)
#define NAMES(narrow, bits) [bits] = {FOR_TOKENS(NAME, narrow, bits)},
#define FOR_BITS(X, narrow) X(narrow, 2) X(narrow, 3) X(narrow, 4) X(narrow, 5) X(narrow, 6) X(narrow, 8)

FOR_BITS(BLOCKS, 0)
FOR_BITS(BLOCKS, 1)
static affine_block_function *const affine_blocks[2][9][MAX_TOKENS] = {{FOR_BITS(NAMES, 0)}, {FOR_BITS(NAMES, 1)}};

// How many of `left` tokens to take, and whether some of them are narrow rows.
static inline int block_tokens(const quantized_rows *x, int token, int left, bool *narrow)
{
    *narrow = x->narrow && x->narrow[token];
    int count = left <= MAX_TOKENS ? left : left <= 2 * MAX_TOKENS ? (left + 1) / 2 : *narrow ? BEST_NARROW_TOKENS : BEST_TOKENS;
    for (int t = 1; x->narrow && t < count; t++) *narrow = *narrow || x->narrow[token + t];
    return count;
}

static void matmul_affine(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    int span = SPAN_BYTES / 2 / x->cols / BEST_TOKENS * BEST_TOKENS;
    if (span < MAX_TOKENS) span = MAX_TOKENS;
    // Tiles one by one: few tokens wait for memory, which is read fastest as one stream, that the processor sees coming by
    // itself. Two tiles side by side come at less than half the rate (Zen 4), with or without prefetch instructions.
    for (int first = token_begin; first < token_end; first += span) {
        int end = token_end - first < span ? token_end : first + span;
        for (int tile = tile_begin; tile < tile_end; tile++)
            for (int token = first, count; token < end; token += count) {
                bool narrow;
                count = block_tokens(x, token, end - token, &narrow);
                affine_blocks[narrow][w->bits][count - 1](w, tile, x, token, y, y_stride);
            }
    }
}

#endif
