// GGUF's quantised blocks as groups of 32 values w = scale * q + bias: what turns them into MLX's layout.
#ifndef FORMATS_GGUF_BLOCK_H
#define FORMATS_GGUF_BLOCK_H
#include "formats/dtype.h"
#include "formats/gguf.h"

typedef struct gguf_group {
    float scale, bias; // float32 products, before any rounding to 16 bits
    uint8_t q[32];     // each < 2^gguf_group_bits
} gguf_group;

int gguf_group_bits(gguf_tensor_type type); // 4, 5 or 8; 0: not made of such groups (floats, Q6_K)

// Scale and bias alone of a group, for passes that need no more.
void gguf_read_scale(gguf_tensor_type type, const uint8_t *row, size_t index, float *scale, float *bias);

// Group `index` of a row (columns 32 * index and on) of a type with gguf_group_bits > 0.
void gguf_read_group(gguf_tensor_type type, const uint8_t *row, size_t index, gguf_group *group);

#endif
