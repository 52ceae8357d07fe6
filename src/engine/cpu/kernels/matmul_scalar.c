// The matrix products in plain C: the oracle. The order of its floating-point operations is the promise that
// every other instruction set keeps, so that results are the same to the last bit on all of them, for every
// number of threads and for every number of tokens in a call:
//   affine, integer activations: for each group in order
//       dot = the exact integer sum of q * (128 * hi + lo)
//       y = fma(dot, weight_scale * x_scale, y);  y = fma(weight_bias, x_sum, y)
//   float activations: even[] and odd[] inputs are summed apart by fma in order, y = even + odd. An affine
//       weight is scale * q, rounded, + bias, rounded.
#include "engine/cpu/kernels/tables.h"
#include "engine/cpu/kernels/tile.h"
#include <math.h>

enum { MAX_GROUP = 128 };

// q of one group as [16][group_size].
static void unpack_group(const packed_matrix *w, const uint8_t *planes, uint8_t q[TILE_ROWS][MAX_GROUP])
{
    for (int row = 0; row < TILE_ROWS; row++)
        for (int i = 0; i < w->group_size; i++)
            q[row][i] = (uint8_t)tile_value(planes, w->bits, w->group_size, row, i);
}

static int32_t dot(const uint8_t *q, const int8_t *hi, const int8_t *lo, int count)
{
    int32_t sum_hi = 0, sum_lo = 0;
    for (int i = 0; i < count; i++) {
        sum_hi += q[i] * hi[i];
        sum_lo += q[i] * lo[i];
    }
    return 128 * sum_hi + sum_lo;
}

// Adds what one group of a tile contributes to row `token`.
static void add_group(const packed_matrix *w, const uint8_t *scales, uint8_t q[TILE_ROWS][MAX_GROUP], int group,
                      const quantized_rows *x, int token, float *y)
{
    size_t at = (size_t)token * (size_t)x->cols + (size_t)(group * w->group_size);
    size_t index = (size_t)token * (size_t)(x->cols / w->group_size) + (size_t)group;
    const uint8_t *biases = scales + tile_scale_bytes(w->scale_type);
    for (int row = 0; row < TILE_ROWS; row++) {
        float scale = tile_float(w->scale_type, scales, (size_t)row) * x->scale[index];
        y[row] = fmaf((float)dot(q[row], x->hi + at, x->lo + at, w->group_size), scale, y[row]);
        y[row] = fmaf(tile_float(w->scale_type, biases, (size_t)row), x->sum[index], y[row]);
    }
}

void matmul_affine_scalar(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    uint8_t q[TILE_ROWS][MAX_GROUP];
    size_t stride = tile_group_bytes(w->bits, w->group_size, w->scale_type);
    for (int tile = tile_begin; tile < tile_end; tile++) {
        const uint8_t *scales = tile_at(w, tile);
        float *out = y + (size_t)tile * TILE_ROWS;
        for (int token = token_begin; token < token_end; token++)
            memset(out + (size_t)token * y_stride, 0, TILE_ROWS * sizeof *out);
        for (int group = 0; group < w->cols / w->group_size; group++, scales += stride) {
            unpack_group(w, scales + 2 * tile_scale_bytes(w->scale_type), q);
            for (int token = token_begin; token < token_end; token++)
                add_group(w, scales, q, group, x, token, out + (size_t)token * y_stride);
        }
    }
}

static float weight(const packed_matrix *w, const uint8_t *tile, int row, int col)
{
    if (w->type == DTYPE_BF16) return tile_float(w->type, tile, (size_t)(col / 2 * 32 + row * 2 + col % 2));
    if (w->type != DTYPE_U32) return tile_float(w->type, tile, (size_t)col * TILE_ROWS + (size_t)row);
    const uint8_t *scales =
        tile + (size_t)(col / w->group_size) * tile_group_bytes(w->bits, w->group_size, w->scale_type);
    const uint8_t *biases = scales + tile_scale_bytes(w->scale_type);
    unsigned q =
        tile_value(biases + tile_scale_bytes(w->scale_type), w->bits, w->group_size, row, col % w->group_size);
    float scaled = tile_float(w->scale_type, scales, (size_t)row) * (float)q;
    return scaled + tile_float(w->scale_type, biases, (size_t)row);
}

enum { MAX_TOKENS = 16 }; // that share a weight while it is at hand

static void float_row(const packed_matrix *w, int row, const float *x, size_t x_stride, int num_tokens, float *y,
                      size_t y_stride)
{
    float sums[MAX_TOKENS][2] = {{0.0f}};
    for (int col = 0; col < w->cols; col++) {
        float value = weight(w, tile_at(w, row / TILE_ROWS), row % TILE_ROWS, col);
        for (int t = 0; t < num_tokens; t++)
            sums[t][col % 2] = fmaf(value, x[(size_t)t * x_stride + (size_t)col], sums[t][col % 2]);
    }
    for (int t = 0; t < num_tokens; t++) y[(size_t)t * y_stride] = sums[t][0] + sums[t][1];
}

void matmul_float_scalar(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                         int token_begin, int token_end, float *y, size_t y_stride)
{
    for (int token = token_begin; token < token_end; token += MAX_TOKENS) {
        int num_tokens = token_end - token < MAX_TOKENS ? token_end - token : MAX_TOKENS;
        for (int row = tile_begin * TILE_ROWS; row < tile_end * TILE_ROWS; row++)
            float_row(w, row, x + (size_t)token * x_stride, x_stride, num_tokens,
                      y + (size_t)token * y_stride + (size_t)row, y_stride);
    }
}
