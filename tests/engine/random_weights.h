// Random weights as model files have them, and what each of them is worth, by the plainest reading of the
// format. For the tests of packing and of the products; plain stdlib allocation, so that mem_fail_after does
// not reach it.
#ifndef RANDOM_WEIGHTS_H
#define RANDOM_WEIGHTS_H
#include "base/half.h"
#include "engine/engine.h"
#include <stdint.h>
#include <stdlib.h>

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static inline uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static inline float random_unit(void)
{
    return (float)(random_bits() >> 40) * 0x1p-23f - 1.0f;
} // [-1, 1)

static inline int random_int(int low, int high) // both included
{
    return low + (int)(random_bits() % (uint64_t)(high - low + 1));
}

typedef struct random_weights {
    weight_view view;
    uint8_t *data, *scales, *biases; // one byte past malloc's alignment, as in safetensors files
} random_weights;

static inline void store_float(dtype type, uint8_t *target, float value)
{
    uint16_t half = type == DTYPE_F16 ? float_to_f16(value) : float_to_bf16(value);
    if (type == DTYPE_F32)
        memcpy(target, &value, 4);
    else
        memcpy(target, &half, 2);
}

static inline float load_float(dtype type, const uint8_t *source)
{
    float value;
    uint16_t half;
    memcpy(&half, source, 2);
    if (type == DTYPE_F16) return f16_to_float(half);
    if (type == DTYPE_BF16) return bf16_to_float(half);
    memcpy(&value, source, 4);
    return value;
}

static inline uint8_t *random_floats(dtype type, size_t count, float largest)
{
    size_t size = type == DTYPE_F32 ? 4 : 2;
    uint8_t *bytes = (uint8_t *)malloc(count * size + 1) + 1;
    for (size_t i = 0; i < count; i++) store_float(type, bytes + i * size, random_unit() * largest);
    return bytes;
}

static inline random_weights random_dense(dtype type, int rows, int cols)
{
    random_weights w = {.view = {.type = type, .rows = rows, .cols = cols}};
    w.data = random_floats(type, (size_t)rows * (size_t)cols, 1.0f);
    w.view.data = w.data;
    return w;
}

static inline random_weights random_affine(int bits, int group_size, dtype scale_type, int rows, int cols)
{
    random_weights w = {.view = {.type = DTYPE_U32,
                                 .rows = rows,
                                 .cols = cols,
                                 .bits = bits,
                                 .group_size = group_size,
                                 .scale_type = scale_type}};
    size_t bytes = (size_t)rows * (size_t)cols * (size_t)bits / 8, groups = (size_t)(rows * (cols / group_size));
    w.data = (uint8_t *)malloc(bytes + 1) + 1;
    for (size_t i = 0; i < bytes; i++) w.data[i] = (uint8_t)(random_bits() >> 24);
    if (random_bits() % 4 == 0) memset(w.data, 0xFF, bytes); // the largest sums
    w.scales = random_floats(scale_type, groups, 2.0f / (float)(1 << bits));
    w.biases = random_floats(scale_type, groups, 1.0f);
    w.view.data = w.data;
    w.view.scales = w.scales;
    w.view.biases = w.biases;
    return w;
}

static inline void random_weights_free(random_weights *w)
{
    if (w->data) free(w->data - 1);
    if (w->scales) free(w->scales - 1);
    if (w->biases) free(w->biases - 1);
}

// q of an affine weight: bit after bit of the row's little-endian stream.
static inline unsigned random_weights_q(const random_weights *w, int row, int col)
{
    const weight_view *v = &w->view;
    unsigned value = 0;
    for (int b = 0; b < v->bits; b++) {
        size_t bit = ((size_t)row * (size_t)v->cols + (size_t)col) * (size_t)v->bits + (size_t)b;
        value |= (unsigned)(w->data[bit / 8] >> bit % 8 & 1) << b;
    }
    return value;
}

static inline void random_weights_group(const random_weights *w, int row, int col, float *scale, float *bias)
{
    const weight_view *v = &w->view;
    size_t size = v->scale_type == DTYPE_F32 ? 4 : 2;
    size_t group = (size_t)row * (size_t)(v->cols / v->group_size) + (size_t)(col / v->group_size);
    *scale = load_float(v->scale_type, w->scales + group * size);
    *bias = load_float(v->scale_type, w->biases + group * size);
}

static inline float random_weights_value(const random_weights *w, int row, int col)
{
    float scale, bias;
    size_t size = w->view.type == DTYPE_F32 ? 4 : 2, at = (size_t)row * (size_t)w->view.cols + (size_t)col;
    if (w->view.type != DTYPE_U32) return load_float(w->view.type, w->data + at * size);
    random_weights_group(w, row, col, &scale, &bias);
    float scaled = scale * (float)random_weights_q(w, row, col);
    return scaled + bias;
}

#endif
