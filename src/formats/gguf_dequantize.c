// Blocks of GGUF's tensor types as float32, with the roundings of gguf-py (which are those of ggml's
// reference). Layouts: ggml's block_* structs. d and m are float16 scales; low nibbles hold a block's first
// half, high its second.
#include "formats/gguf_block.h"
#include "base/half.h"
#include <string.h>

static float half_at(const uint8_t *bytes) { return f16_to_float((uint16_t)(bytes[0] | bytes[1] << 8)); }

// 32 values of 4 bits: low nibbles first, then high ones.
static void split_nibbles(const uint8_t *bytes, uint8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = bytes[i] & 15;
        q[i + 16] = bytes[i] >> 4;
    }
}

// The same with a fifth bit for value i in bit i of `high`.
static void split_fives(const uint8_t *high, const uint8_t *bytes, uint8_t *q)
{
    split_nibbles(bytes, q);
    for (int i = 0; i < 32; i++) q[i] |= (uint8_t)((high[i / 8] >> (i % 8) & 1) << 4);
}

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes. The first four of each lie in the low bits of
// bytes 0-3 and 4-7; the last four have their low nibbles in bytes 8-11 and their high bits above the first
// four.
static void k_scales(const uint8_t *packed, int group, uint8_t *scale, uint8_t *minimum)
{
    if (group < 4) {
        *scale = packed[group] & 63;
        *minimum = packed[group + 4] & 63;
    } else {
        *scale = (uint8_t)((packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4);
        *minimum = (uint8_t)((packed[group + 4] >> 4) | (packed[group] >> 6) << 4);
    }
}

// Groups come in pairs that share 32 bytes: the even one in the low nibbles, the odd one in the high ones.
static void k_values(const uint8_t *block, bool five_bits, int group, uint8_t *q)
{
    const uint8_t *high = block + 16, *low = block + (five_bits ? 48 : 16) + group / 2 * 32;
    for (int i = 0; i < 32; i++) {
        q[i] = group % 2 ? low[i] >> 4 : low[i] & 15;
        if (five_bits) q[i] |= (uint8_t)((high[i] >> group & 1) << 4);
    }
}

int gguf_group_bits(gguf_tensor_type type)
{
    switch (type) {
    case GGUF_TYPE_Q4_0:
    case GGUF_TYPE_Q4_1:
    case GGUF_TYPE_Q4_K: return 4;
    case GGUF_TYPE_Q5_0:
    case GGUF_TYPE_Q5_1:
    case GGUF_TYPE_Q5_K: return 5;
    case GGUF_TYPE_Q8_0: return 8;
    default: return 0;
    }
}

static const uint8_t *find_block(gguf_tensor_type type, const uint8_t *row, size_t index, int *group)
{
    size_t groups_a_block = gguf_type_block(type) / 32;
    *group = (int)(index % groups_a_block);
    return row + index / groups_a_block * gguf_type_block_size(type);
}

static void block_scale(gguf_tensor_type type, const uint8_t *block, int group, float *scale, float *bias)
{
    float d = half_at(block);
    uint8_t factor, minimum;
    *scale = d;
    switch (type) {
    case GGUF_TYPE_Q4_0: *bias = -8 * d; break;
    case GGUF_TYPE_Q5_0: *bias = -16 * d; break;
    case GGUF_TYPE_Q8_0: *bias = -128 * d; break;
    case GGUF_TYPE_Q4_1:
    case GGUF_TYPE_Q5_1: *bias = half_at(block + 2); break;
    default: // Q4_K, Q5_K
        k_scales(block + 4, group, &factor, &minimum);
        *scale = d * (float)factor;
        *bias = -(half_at(block + 2) * (float)minimum);
    }
}

void gguf_read_scale(gguf_tensor_type type, const uint8_t *row, size_t index, float *scale, float *bias)
{
    int group;
    const uint8_t *block = find_block(type, row, index, &group);
    block_scale(type, block, group, scale, bias);
}

void gguf_read_group(gguf_tensor_type type, const uint8_t *row, size_t index, gguf_group *g)
{
    int group;
    const uint8_t *block = find_block(type, row, index, &group);
    block_scale(type, block, group, &g->scale, &g->bias);
    switch (type) {
    case GGUF_TYPE_Q4_0: split_nibbles(block + 2, g->q); break;
    case GGUF_TYPE_Q4_1: split_nibbles(block + 4, g->q); break;
    case GGUF_TYPE_Q5_0: split_fives(block + 2, block + 6, g->q); break;
    case GGUF_TYPE_Q5_1: split_fives(block + 4, block + 8, g->q); break;
    case GGUF_TYPE_Q8_0:
        for (int i = 0; i < 32; i++) g->q[i] = block[2 + i] ^ 0x80; // signed to unsigned: + 128
        break;
    default: k_values(block, type == GGUF_TYPE_Q5_K, group, g->q);
    }
}

// Q6_K: 256 values in two halves; a half's 128 values take 64 bytes of nibbles, 32 of upper bits, 8 of
// scales.
static void dequantize_q6_k(const uint8_t *block, float *values)
{
    float d = half_at(block + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, in_half = i % 128, part = in_half / 32, lane = in_half % 32;
        uint8_t nibbles = block[half * 64 + part % 2 * 32 + lane], upper = block[128 + half * 32 + lane];
        int q = (part < 2 ? nibbles & 15 : nibbles >> 4) | (upper >> (2 * part) & 3) << 4;
        values[i] = d * (float)(int8_t)block[192 + i / 16] * (float)(q - 32);
    }
}

// The symmetric types are scale * (q - zero), one rounding; the others scale * q + bias, two.
static void dequantize_group(gguf_tensor_type type, const uint8_t *row, size_t index, float *values)
{
    gguf_group g = {0};
    gguf_read_group(type, row, index, &g);
    int zero = type == GGUF_TYPE_Q4_0 ? 8 : type == GGUF_TYPE_Q5_0 ? 16 : type == GGUF_TYPE_Q8_0 ? 128 : 0;
    for (int i = 0; i < 32; i++)
        values[i] = zero ? g.scale * (float)(g.q[i] - zero) : g.scale * (float)g.q[i] + g.bias;
}

void gguf_dequantize(const gguf_tensor *tensor, size_t first, size_t count, float *values)
{
    for (size_t r = first; r < first + count; r++, values += tensor->columns) {
        const uint8_t *row = tensor->data + r * tensor->row_size;
        switch (tensor->type) {
        case GGUF_TYPE_F32: dtype_to_float(DTYPE_F32, row, values, tensor->columns); break;
        case GGUF_TYPE_F16: dtype_to_float(DTYPE_F16, row, values, tensor->columns); break;
        case GGUF_TYPE_BF16: dtype_to_float(DTYPE_BF16, row, values, tensor->columns); break;
        case GGUF_TYPE_Q6_K:
            for (size_t b = 0; b < tensor->columns / 256; b++)
                dequantize_q6_k(row + b * 210, values + b * 256);
            break;
        default:
            for (size_t g = 0; g < tensor->columns / 32; g++)
                dequantize_group(tensor->type, row, g, values + g * 32);
        }
    }
}
