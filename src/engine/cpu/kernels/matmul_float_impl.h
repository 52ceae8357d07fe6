// Products with float activations, the same for every instruction set: included by a file that has defined
//     vec, 16 floats, one for each row of a tile: vec_zero(), vec_load(p), vec_store(p, v), vec_add(a, b),
//         vec_fma(v, x, sum) (v * x + sum with one number x)
//     load_floats(type, bytes): a vec from 16 floats of a 2 or 4 byte type
//     bf16_pairs(bytes, out): 2 * 16 floats from 16 pairs of neighbouring inputs
//     affine_octet(planes, bits, group_size, octet, scale, bias, out): the weights of 32 inputs [32][16]
//     prefetch(address)
//     FLOAT_TILES, FLOAT_TOKENS: how many tiles and tokens the registers hold sums for, at most 2 and 4
// and that then defines its matmul_float through matmul_float. A chunk of the tiles' inputs is turned into floats
// once for up to SPAN tokens. The order of operations is that of matmul_scalar.c.
#ifndef ENGINE_CPU_MATMUL_FLOAT_IMPL_H
#define ENGINE_CPU_MATMUL_FLOAT_IMPL_H
#include "engine/cpu/kernels/tile.h"

enum { CHUNK = 64, SPAN = 32, FLOAT_AHEAD = 4096 };

typedef struct float_block {
    float weights[FLOAT_TILES][(CHUNK + 1) * TILE_ROWS]; // [input][row]
    float sums[SPAN][FLOAT_TILES][2 * TILE_ROWS];        // of even and of odd inputs
} __attribute__((aligned(64))) float_block;

// Inputs [0, count) of a dense chunk that starts at `source`.
INLINE void dense_chunk(dtype type, const uint8_t *source, int count, float *weights)
{
    size_t row_bytes = TILE_ROWS * (type == DTYPE_F32 ? 4 : 2);
    if (type == DTYPE_BF16) {
        for (int i = 0; i < count; i += 2, source += 2 * row_bytes, weights += 2 * TILE_ROWS) {
            prefetch(source + FLOAT_AHEAD);
            bf16_pairs(source, weights); // an odd last input comes with a zero
        }
        return;
    }
    for (int i = 0; i < count; i++, source += row_bytes, weights += TILE_ROWS) {
        prefetch(source + FLOAT_AHEAD);
        vec_store(weights, load_floats(type, source));
    }
}

INLINE void affine_chunk(const packed_matrix *w, const uint8_t *group, int first, int count, const int bits,
                         float *weights)
{
    size_t scale_bytes = tile_scale_bytes(w->scale_type);
    vec scale = load_floats(w->scale_type, group), bias = load_floats(w->scale_type, group + scale_bytes);
    for (int line = 0; line < count * bits; line += 32) prefetch(group + FLOAT_AHEAD + line * 2);
    for (int i = first; i < first + count; i += 32, weights += 32 * TILE_ROWS)
        affine_octet(group + 2 * scale_bytes, bits, w->group_size, i / 32, scale, bias, weights);
}

static void float_chunk(const packed_matrix *w, int tile, int first, int count, float *weights)
{
    const uint8_t *data = tile_at(w, tile);
    if (w->type != DTYPE_U32) {
        dense_chunk(w->type, data + (size_t)first * TILE_ROWS * (w->type == DTYPE_F32 ? 4 : 2), count, weights);
        return;
    }
    size_t group = (size_t)(first / w->group_size) * tile_group_bytes(w->bits, w->group_size, w->scale_type);
    first %= w->group_size;
    switch (w->bits) {
    case 2: affine_chunk(w, data + group, first, count, 2, weights); break;
    case 3: affine_chunk(w, data + group, first, count, 3, weights); break;
    case 4: affine_chunk(w, data + group, first, count, 4, weights); break;
    case 5: affine_chunk(w, data + group, first, count, 5, weights); break;
    case 6: affine_chunk(w, data + group, first, count, 6, weights); break;
    default: affine_chunk(w, data + group, first, count, 8, weights); break;
    }
}

// Adds the products of `count` inputs for tokens [token, token + num_tokens) of the span.
INLINE void multiply_chunk(float_block *block, int count, const float *x, size_t x_stride, int token,
                           const int num_tiles, const int num_tokens)
{
    vec sums[FLOAT_TILES][FLOAT_TOKENS][2];
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
    {
        sums[r][t][0] = vec_load(block->sums[token + t][r]);
        sums[r][t][1] = vec_load(block->sums[token + t][r] + TILE_ROWS);
    }
    x += (size_t)token * x_stride;
    int i = 0;
    for (; i + 1 < count; i += 2) UNROLL for (int odd = 0; odd < 2; odd++)
        {
            vec values[FLOAT_TILES];
            UNROLL for (int r = 0; r < num_tiles; r++) values[r] =
                vec_load(block->weights[r] + (i + odd) * TILE_ROWS);
            UNROLL for (int t = 0; t < num_tokens; t++) UNROLL for (int r = 0; r < num_tiles; r++)
                sums[r][t][odd] = vec_fma(values[r], x[(size_t)t * x_stride + (size_t)(i + odd)], sums[r][t][odd]);
        }
    if (i < count) UNROLL for (int r = 0; r < num_tiles; r++)
        {
            vec value = vec_load(block->weights[r] + i * TILE_ROWS);
            UNROLL for (int t = 0; t < num_tokens; t++) sums[r][t][0] =
                vec_fma(value, x[(size_t)t * x_stride + (size_t)i], sums[r][t][0]);
        }
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
    {
        vec_store(block->sums[token + t][r], sums[r][t][0]);
        vec_store(block->sums[token + t][r] + TILE_ROWS, sums[r][t][1]);
    }
}

INLINE void multiply_span(float_block *block, int count, const float *x, size_t x_stride, int num_tokens,
                          const int num_tiles)
{
    int token = 0;
    for (; token + FLOAT_TOKENS <= num_tokens; token += FLOAT_TOKENS)
        multiply_chunk(block, count, x, x_stride, token, num_tiles, FLOAT_TOKENS);
    switch (num_tokens - token) { // less than FLOAT_TOKENS
    case 1: multiply_chunk(block, count, x, x_stride, token, num_tiles, 1); break;
    case 2: multiply_chunk(block, count, x, x_stride, token, num_tiles, 2); break;
#if FLOAT_TOKENS > 3
    case 3: multiply_chunk(block, count, x, x_stride, token, num_tiles, 3); break;
#endif
    default: break;
    }
}

INLINE void float_tiles(const packed_matrix *w, int tile, const float *x, size_t x_stride, int num_tokens,
                        float *y, size_t y_stride, const int num_tiles)
{
    float_block block;
    int chunk = w->type == DTYPE_U32 && w->group_size < CHUNK ? w->group_size : CHUNK;
    for (int t = 0; t < num_tokens; t++) memset(block.sums[t], 0, sizeof block.sums[t]);
    for (int first = 0; first < w->cols; first += chunk) {
        int count = w->cols - first < chunk ? w->cols - first : chunk;
        for (int r = 0; r < num_tiles; r++) float_chunk(w, tile + r, first, count, block.weights[r]);
        multiply_span(&block, count, x + first, x_stride, num_tokens, num_tiles);
    }
    for (int t = 0; t < num_tokens; t++)
        for (int r = 0; r < num_tiles; r++)
            vec_store(y + (size_t)t * y_stride + (size_t)(tile + r) * TILE_ROWS,
                      vec_add(vec_load(block.sums[t][r]), vec_load(block.sums[t][r] + TILE_ROWS)));
}

// Two neighbouring inputs [2][16] of a dense tile.
INLINE void dense_pair(const dtype type, const uint8_t *source, float *weights)
{
    if (type == DTYPE_BF16) {
        bf16_pairs(source, weights);
        return;
    }
    vec_store(weights, load_floats(type, source));
    vec_store(weights + TILE_ROWS, load_floats(type, source + TILE_ROWS * (type == DTYPE_F32 ? 4 : 2)));
}

// A dense tile for few tokens, which wait for memory: it is read as one stream, straight into the sums.
INLINE void dense_tile(const packed_matrix *w, int tile, const float *x, size_t x_stride, float *y, size_t y_stride,
                       const dtype type, const int num_tokens)
{
    const size_t pair_bytes = 2 * TILE_ROWS * (type == DTYPE_F32 ? 4 : 2);
    const uint8_t *source = tile_at(w, tile);
    const int cols = w->cols;
    float weights[2 * TILE_ROWS] __attribute__((aligned(64))); // in registers, after inlining
    vec sums[FLOAT_TOKENS][2];
    UNROLL for (int t = 0; t < num_tokens; t++) sums[t][0] = sums[t][1] = vec_zero();
    for (int i = 0; i + 1 < cols; i += 2, source += pair_bytes) {
        dense_pair(type, source, weights);
        UNROLL for (int t = 0; t < num_tokens; t++) UNROLL for (int odd = 0; odd < 2; odd++) sums[t][odd] =
            vec_fma(vec_load(weights + odd * TILE_ROWS), x[(size_t)t * x_stride + (size_t)(i + odd)], sums[t][odd]);
    }
    if (cols % 2) {
        if (type == DTYPE_BF16) bf16_pairs(source, weights); // an odd last input comes with a zero
        else vec_store(weights, load_floats(type, source));
        UNROLL for (int t = 0; t < num_tokens; t++) sums[t][0] =
            vec_fma(vec_load(weights), x[(size_t)t * x_stride + (size_t)(cols - 1)], sums[t][0]);
    }
    UNROLL for (int t = 0; t < num_tokens; t++)
        vec_store(y + (size_t)t * y_stride + (size_t)tile * TILE_ROWS, vec_add(sums[t][0], sums[t][1]));
}

INLINE void dense_tiles(const packed_matrix *w, int tile, int tile_end, const float *x, size_t x_stride, float *y,
                        size_t y_stride, const int num_tokens)
{
    for (; tile < tile_end; tile++) switch (w->type) {
        case DTYPE_BF16: dense_tile(w, tile, x, x_stride, y, y_stride, DTYPE_BF16, num_tokens); break;
        case DTYPE_F16: dense_tile(w, tile, x, x_stride, y, y_stride, DTYPE_F16, num_tokens); break;
        default: dense_tile(w, tile, x, x_stride, y, y_stride, DTYPE_F32, num_tokens); break;
        }
}

static void few_dense(const packed_matrix *w, int tile, int tile_end, const float *x, size_t x_stride, int num_tokens,
                      float *y, size_t y_stride)
{
    switch (num_tokens) {
    case 1: dense_tiles(w, tile, tile_end, x, x_stride, y, y_stride, 1); break;
    case 2: dense_tiles(w, tile, tile_end, x, x_stride, y, y_stride, 2); break;
#if FLOAT_TOKENS > 2
    case 3: dense_tiles(w, tile, tile_end, x, x_stride, y, y_stride, 3); break;
#endif
#if FLOAT_TOKENS > 3
    case 4: dense_tiles(w, tile, tile_end, x, x_stride, y, y_stride, 4); break;
#endif
    default: break;
    }
}

static void matmul_float(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                         int token_begin, int token_end, float *y, size_t y_stride)
{
    for (int token = token_begin; token < token_end; token += SPAN) {
        int num_tokens = token_end - token < SPAN ? token_end - token : SPAN, tile = tile_begin;
        const float *x_rows = x + (size_t)token * x_stride;
        float *y_rows = y + (size_t)token * y_stride;
        if (w->type != DTYPE_U32 && num_tokens <= FLOAT_TOKENS) {
            few_dense(w, tile_begin, tile_end, x_rows, x_stride, num_tokens, y_rows, y_stride);
            continue;
        }
        for (; tile + FLOAT_TILES <= tile_end; tile += FLOAT_TILES)
            float_tiles(w, tile, x_rows, x_stride, num_tokens, y_rows, y_stride, FLOAT_TILES);
#if FLOAT_TILES > 1
        if (tile < tile_end) float_tiles(w, tile, x_rows, x_stride, num_tokens, y_rows, y_stride, 1);
#endif
    }
}

#endif
