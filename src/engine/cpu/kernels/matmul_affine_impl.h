// Affine weights times 15-bit activations, the same for every instruction set: included by a file that has defined
//     vec, 16 floats, and ivec, 16 int32, one for each row of a tile: vec_zero, vec_store, vec_mul, vec_splat(x),
//         vec_fma(v, x, sum) with one number x, vec_multiply_add(a, b, sum), vec_of(ivec)
//     load_floats(type, bytes): a vec from 16 floats of a 2 or 4 byte type
//     accumulators, with accumulators_clear(a, num_tiles, num_tokens)
//         accumulators_add(a, planes [num_tiles], bits, group_size, octet, hi, lo, cols, num_tiles, num_tokens):
//             the products q * (128 * hi + lo) of 32 inputs of a group; token t's start at hi + t * cols and lo +
//             t * cols
//         accumulators_sum(a, bits, tile, token, num_tiles, num_tokens): an ivec, the exact sum of the products
//     MAX_TILES, MAX_TOKENS: the most that accumulators hold, 1 or 2, and 2 or 4; BEST_TOKENS: how many of many
//         tokens to take at once
// and that then defines its matmul_affine through matmul_affine. The order of the floating-point operations is
// that of matmul_scalar.c.
#ifndef ENGINE_CPU_MATMUL_AFFINE_IMPL_H
#define ENGINE_CPU_MATMUL_AFFINE_IMPL_H
#include "engine/cpu/kernels/tile.h"

enum {
    SPAN_BYTES = 256 << 10 // of activations, which stay in the second-level cache while all tiles pass by
};

// One pass over `num_tiles` neighbouring tiles for `num_tokens` tokens; both, and bits, are constants after
// inlining.
INLINE void affine_block(const packed_matrix *w, int tile, const quantized_rows *x, int token, float *y,
                         size_t y_stride, const int bits, const int num_tiles, const int num_tokens)
{
    const int group_size = w->group_size, num_groups = w->cols / group_size;
    const size_t cols = (size_t)x->cols, scale_bytes = tile_scale_bytes(w->scale_type);
    const size_t group_bytes = tile_group_bytes(bits, group_size, w->scale_type);
    const int8_t *hi = x->hi + (size_t)token * cols, *lo = x->lo + (size_t)token * cols;
    const float *x_scale = x->scale + (size_t)token * (size_t)num_groups;
    const float *x_sum = x->sum + (size_t)token * (size_t)num_groups;
    const uint8_t *planes[MAX_TILES];
    vec sums[MAX_TILES][MAX_TOKENS];
    UNROLL for (int r = 0; r < num_tiles; r++)
    {
        planes[r] = tile_at(w, tile + r) + 2 * scale_bytes;
        UNROLL for (int t = 0; t < num_tokens; t++) sums[r][t] = vec_zero();
    }
    for (int group = 0; group < num_groups; group++) {
        accumulators dots;
        accumulators_clear(&dots, num_tiles, num_tokens);
        for (int octet = 0; octet < group_size / 32; octet++, hi += 32, lo += 32)
            accumulators_add(&dots, planes, bits, group_size, octet, hi, lo, cols, num_tiles, num_tokens);
        UNROLL for (int r = 0; r < num_tiles; r++)
        {
            vec scale = load_floats(w->scale_type, planes[r] - 2 * scale_bytes);
            vec bias = load_floats(w->scale_type, planes[r] - scale_bytes);
            UNROLL for (int t = 0; t < num_tokens; t++)
            {
                size_t at = (size_t)t * (size_t)num_groups + (size_t)group;
                vec factor = vec_mul(scale, vec_splat(x_scale[at]));
                sums[r][t] = vec_multiply_add(vec_of(accumulators_sum(&dots, bits, r, t, num_tiles, num_tokens)),
                                              factor, sums[r][t]);
                sums[r][t] = vec_fma(bias, x_sum[at], sums[r][t]);
            }
            planes[r] += group_bytes;
        }
    }
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
        vec_store(y + (size_t)(token + t) * y_stride + (size_t)(tile + r) * TILE_ROWS, sums[r][t]);
}

typedef void affine_block_function(const packed_matrix *w, int tile, const quantized_rows *x, int token, float *y,
                                   size_t y_stride);

#define BLOCK(bits, tiles, tokens)                                                                                \
    static void affine_##bits##_##tiles##x##tokens(const packed_matrix *w, int tile, const quantized_rows *x,     \
                                                   int token, float *y, size_t y_stride)                          \
    {                                                                                                             \
        affine_block(w, tile, x, token, y, y_stride, bits, tiles, tokens);                                        \
    }
#define NAME(bits, tiles, tokens) affine_##bits##_##tiles##x##tokens,
#if MAX_TOKENS == 4
#define FOR_TOKENS(X, bits, tiles) X(bits, tiles, 1) X(bits, tiles, 2) X(bits, tiles, 3) X(bits, tiles, 4)
#else
#define FOR_TOKENS(X, bits, tiles) X(bits, tiles, 1) X(bits, tiles, 2)
#endif
#if MAX_TILES == 2
#define BLOCKS(bits) FOR_TOKENS(BLOCK, bits, 1) FOR_TOKENS(BLOCK, bits, 2)
#define NAMES(bits) [bits] = {{FOR_TOKENS(NAME, bits, 1)}, {FOR_TOKENS(NAME, bits, 2)}},
#else
#define BLOCKS(bits) FOR_TOKENS(BLOCK, bits, 1)
#define NAMES(bits) [bits] = {{FOR_TOKENS(NAME, bits, 1)}},
#endif
#define FOR_BITS(X) X(2) X(3) X(4) X(5) X(6) X(8)

FOR_BITS(BLOCKS)
static affine_block_function *const blocks[9][MAX_TILES][MAX_TOKENS] = {FOR_BITS(NAMES)};

static inline int block_tokens(int left)
{
    return left <= MAX_TOKENS ? left : BEST_TOKENS;
}

static void matmul_affine(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    int span = SPAN_BYTES / 2 / x->cols / BEST_TOKENS * BEST_TOKENS;
    if (span < MAX_TOKENS) span = MAX_TOKENS;
    // Few tokens wait for memory, which is read fastest as one stream: the processor sees it coming by itself. Two tiles
    // side by side come at less than half the rate (Zen 4), with or without prefetch instructions.
    const bool one_stream = token_end - token_begin <= MAX_TOKENS;
    for (int first = token_begin; first < token_end; first += span) {
        int end = token_end - first < span ? token_end : first + span, num_tiles;
        for (int tile = tile_begin; tile < tile_end; tile += num_tiles) {
            num_tiles = one_stream || tile + MAX_TILES > tile_end ? 1 : MAX_TILES;
            for (int token = first, count; token < end; token += count) {
                count = block_tokens(end - token);
                blocks[w->bits][num_tiles - 1][count - 1](w, tile, x, token, y, y_stride);
            }
        }
    }
}

#endif
