// How the bytes of a packed tile are found (engine/cpu/pack.h has the layout). For pack.c and the kernels.
#ifndef ENGINE_CPU_TILE_H
#define ENGINE_CPU_TILE_H
#include "engine/cpu/pack.h"
#include "base/half.h"

// The values of a group lie in one or two planes, low bits first; high is 0 where one plane is enough.
typedef struct plane_widths {
    int low, high;
} plane_widths;

static inline plane_widths tile_planes(int bits)
{
    switch (bits) {
    case 3: return (plane_widths){2, 1};
    case 5: return (plane_widths){4, 1};
    case 6: return (plane_widths){4, 2};
    default: return (plane_widths){bits, 0};
    }
}

// Bytes of a group's scales, and of its biases, which follow them.
static inline size_t tile_scale_bytes(dtype scale_type)
{
    return TILE_ROWS * (scale_type == DTYPE_F32 ? 4 : 2);
}

// Bytes of one group: scales, biases and planes.
static inline size_t tile_group_bytes(int bits, int group_size, dtype scale_type)
{
    return 2 * tile_scale_bytes(scale_type) + (size_t)(group_size * bits * TILE_ROWS / 8);
}

static inline const uint8_t *tile_at(const packed_matrix *m, int tile)
{
    return m->data + (size_t)tile * m->tile_bytes;
}

// Element `index` of an array of 2 or 4 byte floats.
static inline float tile_float(dtype type, const uint8_t *values, size_t index)
{
    uint16_t half;
    float value;
    if (type == DTYPE_F32) {
        memcpy(&value, values + 4 * index, 4);
        return value;
    }
    memcpy(&half, values + 2 * index, 2);
    return type == DTYPE_F16 ? f16_to_float(half) : bf16_to_float(half);
}

// q of input `i` of a group and row `row`, from the group's planes.
static inline unsigned tile_value(const uint8_t *planes, int bits, int group_size, int row, int i)
{
    plane_widths widths = tile_planes(bits);
    int byte = row * 4 + i % 4, quad = i / 4, quads = 8 / widths.low;
    unsigned value = planes[quad / quads * 64 + byte] >> quad % quads * widths.low & ((1u << widths.low) - 1);
    if (!widths.high) return value;
    planes += group_size * widths.low * TILE_ROWS / 8;
    quads = 8 / widths.high;
    unsigned high = planes[quad / quads * 64 + byte] >> quad % quads * widths.high & ((1u << widths.high) - 1);
    return value | high << widths.low;
}

#endif
