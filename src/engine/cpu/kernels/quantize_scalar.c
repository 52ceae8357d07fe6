// Activations to 15-bit integers, the plain C way that every other one must equal bit for bit.
#include "engine/cpu/kernels/quantize.h"
#include "engine/cpu/kernels/tables.h"
#include "base/half.h"
#include <math.h>

// The largest magnitude, by bit pattern: an infinity or a NaN in the group wins and reaches the scale.
static float largest_magnitude(const float *x, int count)
{
    uint32_t largest = 0;
    for (int i = 0; i < count; i++) {
        uint32_t magnitude = float_to_bits(x[i]) & 0x7FFFFFFFu;
        if (magnitude > largest) largest = magnitude;
    }
    return bits_to_float(largest);
}

static int32_t quantize_one(float x, float inverse)
{
    float scaled = x * inverse;
    scaled = scaled < QUANTIZE_MAX ? scaled : QUANTIZE_MAX; // a NaN becomes the maximum
    scaled = scaled > -QUANTIZE_MAX ? scaled : -QUANTIZE_MAX;
    return (int32_t)lrintf(scaled);
}

// Returns the sum of the integers.
static int32_t quantize_group(const float *x, int count, float inverse, int8_t *hi, int8_t *lo)
{
    int32_t sum = 0;
    for (int i = 0; i < count; i++) {
        int32_t q = quantize_one(x[i], inverse);
        hi[i] = (int8_t)((q + 64) >> 7);
        lo[i] = (int8_t)(q - 128 * hi[i]);
        sum += q;
    }
    return sum;
}

// A group of a narrow row; sets the bits of its quads that keep hi.
static int32_t quantize_narrow_group(const float *x, int count, float inverse, int8_t *hi, int8_t *lo, uint8_t *wide)
{
    int32_t sum = 0, q[4];
    for (int i = 0; i < count; i += 4) {
        bool fits = true;
        for (int k = 0; k < 4; k++) {
            q[k] = quantize_one(x[i + k], inverse);
            fits = fits && q[k] >= -127 && q[k] <= 127;
            sum += q[k];
        }
        for (int k = 0; k < 4; k++) {
            hi[i + k] = (int8_t)(fits ? 0 : (q[k] + 64) >> 7);
            lo[i + k] = (int8_t)(q[k] - 128 * hi[i + k]);
        }
        if (!fits) wide[i / 32] |= (uint8_t)(1 << i / 4 % 8);
    }
    return sum;
}

static int count_from(const uint32_t *magnitudes, int num_quads, uint32_t least)
{
    int count = 0;
    for (int i = 0; i < num_quads; i++) count += magnitudes[i] >= least;
    return count;
}

static void quantize_narrow_row(const float *x, const quantized_rows *out, int row)
{
    int size = out->group_size, num_groups = out->cols / size, num_quads = out->cols / 4;
    int8_t *hi = row_of(out->hi, out, row), *lo = row_of(out->lo, out, row);
    uint8_t *wide = out->wide + (size_t)row * (size_t)(out->cols / 32);
    uint32_t *magnitudes = (uint32_t *)(void *)lo; // until the group's turn comes: both have four bytes a quad
    for (int i = 0; i < num_quads; i++) magnitudes[i] = float_to_bits(largest_magnitude(x + 4 * i, 4));
    uint32_t limit = narrow_limit(magnitudes, num_quads, count_from);
    for (int group = 0; group < num_groups; group++) {
        int at = group * size;
        size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
        quantize_scale scale = narrow_scale_of(float_to_bits(largest_magnitude(x + at, size)), limit);
        int32_t sum = quantize_narrow_group(x + at, size, scale.inverse, hi + at, lo + at, wide + at / 32);
        out->scale[index] = scale.scale;
        out->sum[index] = (float)sum * scale.scale;
    }
}

void quantize_rows_scalar(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        mark_row(out, row, narrow);
        if (narrow) {
            quantize_narrow_row(x, out, row);
            continue;
        }
        for (int group = 0; group < num_groups; group++) {
            size_t at = (size_t)row * (size_t)out->cols + (size_t)(group * size);
            size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
            float largest = largest_magnitude(x + group * size, size);
            quantize_scale scale = quantize_scale_of(largest);
            int32_t sum = quantize_group(x + group * size, size, scale.inverse, out->hi + at, out->lo + at);
            out->scale[index] = scale.scale;
            out->sum[index] = (float)sum * scale.scale;
        }
    }
}
