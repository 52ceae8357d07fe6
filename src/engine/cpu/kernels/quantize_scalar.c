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

// Returns the sum of the integers.
static int32_t quantize_group(const float *x, int count, float inverse, int8_t *hi, int8_t *lo)
{
    int32_t sum = 0;
    for (int i = 0; i < count; i++) {
        float scaled = x[i] * inverse;
        scaled = scaled < QUANTIZE_MAX ? scaled : QUANTIZE_MAX; // a NaN becomes the maximum
        scaled = scaled > -QUANTIZE_MAX ? scaled : -QUANTIZE_MAX;
        int32_t q = (int32_t)lrintf(scaled);
        hi[i] = (int8_t)((q + 64) >> 7);
        lo[i] = (int8_t)(q - 128 * hi[i]);
        sum += q;
    }
    return sum;
}

void quantize_rows_scalar(const float *x, size_t x_stride, int num_rows, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride)
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
