// MLX affine quantisation: packing, dequantising and quantising. The arithmetic follows MLX's CPU code
// (mlx/backend/cpu/quantized.cpp): every step in float32, rounding to nearest even, nothing fused.
#include "formats/affine.h"
#include "base/half.h"
#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed words are copied as little-endian bytes");

enum { MAX_GROUP = 128 };

bool affine_supported(int bits, int group_size)
{
    bool known_bits = bits >= 2 && bits <= 8 && bits != 7;
    return known_bits && (group_size == 32 || group_size == 64 || group_size == 128);
}

// Eight values fill exactly `bits` bytes of the stream. Inlined with `bits` constant, so the copies have
// fixed sizes.
static inline __attribute__((always_inline)) void pack_eights(const uint8_t *values, size_t eights, int bits,
                                                              uint8_t *packed)
{
    for (size_t i = 0; i < eights; i++) {
        uint64_t word = 0;
        for (int k = 0; k < 8; k++) word |= (uint64_t)values[8 * i + (size_t)k] << (k * bits);
        memcpy(packed + i * (size_t)bits, &word, (size_t)bits);
    }
}

static inline __attribute__((always_inline)) void unpack_eights(const uint8_t *packed, size_t eights,
                                                                int bits, uint8_t *values)
{
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    for (size_t i = 0; i < eights; i++) {
        uint64_t word = 0;
        memcpy(&word, packed + i * (size_t)bits, (size_t)bits);
        for (int k = 0; k < 8; k++) values[8 * i + (size_t)k] = (uint8_t)(word >> (k * bits) & mask);
    }
}

void affine_pack(const uint8_t *values, size_t count, int bits, void *packed)
{
    switch (bits) {
    case 2: pack_eights(values, count / 8, 2, packed); break;
    case 3: pack_eights(values, count / 8, 3, packed); break;
    case 4: pack_eights(values, count / 8, 4, packed); break;
    case 5: pack_eights(values, count / 8, 5, packed); break;
    case 6: pack_eights(values, count / 8, 6, packed); break;
    case 8: memcpy(packed, values, count); break;
    }
}

static void unpack(const uint8_t *packed, size_t count, int bits, uint8_t *values)
{
    switch (bits) {
    case 2: unpack_eights(packed, count / 8, 2, values); break;
    case 3: unpack_eights(packed, count / 8, 3, values); break;
    case 4: unpack_eights(packed, count / 8, 4, values); break;
    case 5: unpack_eights(packed, count / 8, 5, values); break;
    case 6: unpack_eights(packed, count / 8, 6, values); break;
    case 8: memcpy(values, packed, count); break;
    }
}

void affine_unpack(const affine_matrix *m, size_t first, size_t count, uint8_t *values)
{
    size_t row_size = affine_row_size(m->columns, m->bits); // rows follow each other without a gap
    unpack((const uint8_t *)m->weight + first * row_size, count * m->columns, m->bits, values);
}

void affine_dequantize(const affine_matrix *m, size_t first, size_t count, float *values)
{
    size_t group = (size_t)m->group_size, groups = m->columns / group, scale_size = dtype_size(m->scale_type);
    size_t first_group = first * groups, group_bytes = affine_row_size(group, m->bits);
    for (size_t g = first_group; g < first_group + count * groups; g++) {
        uint8_t q[MAX_GROUP];
        float scale, bias, *w = values + (g - first_group) * group;
        dtype_to_float(m->scale_type, (const uint8_t *)m->scales + g * scale_size, &scale, 1);
        dtype_to_float(m->scale_type, (const uint8_t *)m->biases + g * scale_size, &bias, 1);
        unpack((const uint8_t *)m->weight + g * group_bytes, group, m->bits, q);
        for (size_t i = 0; i < group; i++) w[i] = scale * (float)q[i] + bias;
    }
}

// The scale and bias of a group. One end of its range, the one further from zero, becomes the bias and is
// exact; the scale is then bent so that zero, too, falls on a whole q.
static void fit_group(const float *w, size_t count, float max_q, float *scale, float *bias)
{
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        high = high < w[i] ? w[i] : high;
        low = w[i] < low ? w[i] : low;
    }
    bool from_low = fabsf(low) > fabsf(high);
    float step = (high - low) / max_q;
    step = step < 1e-7f ? 1e-7f : step;
    float edge = from_low ? low : high;
    *scale = from_low ? step : -step;
    *bias = 0;
    float edge_q = rintf(edge / *scale);
    if (edge_q != 0) {
        *scale = edge / edge_q;
        *bias = edge;
    }
}

// A value in [0, 2^22) plus this has its integer, rounded to nearest even, in the low mantissa bits.
#define ROUNDER 12582912.0f

void affine_quantize(dtype type, const void *source, size_t rows, size_t columns, int bits, int group_size,
                     void *weight, void *scales, void *biases)
{
    size_t group = (size_t)group_size, element = dtype_size(type), group_bytes = affine_row_size(group, bits);
    float max_q = (float)((1 << bits) - 1);
    for (size_t g = 0; g < rows * (columns / group); g++) {
        float w[MAX_GROUP], scale, bias;
        uint8_t q[MAX_GROUP];
        dtype_to_float(type, (const uint8_t *)source + g * group * element, w, group);
        fit_group(w, group, max_q, &scale, &bias);
        for (size_t i = 0; i < group; i++) {
            // The bounds are whole, so clamping before rounding gives the same; a NaN becomes 0.
            float x = (w[i] - bias) / scale;
            x = x > 0 ? x : 0;
            x = x < max_q ? x : max_q;
            q[i] = (uint8_t)float_to_bits(x + ROUNDER);
        }
        affine_pack(q, group, bits, (uint8_t *)weight + g * group_bytes);
        dtype_from_float(type, &scale, (uint8_t *)scales + g * element, 1);
        dtype_from_float(type, &bias, (uint8_t *)biases + g * element, 1);
    }
}
