// What every quantize_rows does alike for a group: the scale and its inverse from the largest magnitude.
#ifndef ENGINE_CPU_QUANTIZE_H
#define ENGINE_CPU_QUANTIZE_H

#include "engine/cpu/kernels/kernels.h"
#include "base/half.h"
#include <math.h>
#include <string.h>

#define QUANTIZE_MAX 16319.0f // 127 * 128 + 63: hi and lo both fit
#define NARROW_MAX 127.0f     // lo alone
enum { WIDE_SHARE = 8 };     // one quad in so many keeps hi in a narrow row

typedef struct quantize_scale {
    float scale, inverse;
} quantize_scale;

// A group below 2^-100 counts as zero, so that the inverse stays finite. An infinite or NaN maximum makes the
// scale so, and with it every product of the group: an overflow in a model is seen, not hidden.
static inline quantize_scale quantize_scale_of(float largest)
{
    if (largest < 0x1p-100f) return (quantize_scale){0.0f, 0.0f};
    float scale = largest / QUANTIZE_MAX;
    return (quantize_scale){scale, 1.0f / scale};
}

// Where the row's products begin in the arrays.
static inline int8_t *row_of(int8_t *values, const quantized_rows *q, int row)
{
    return values + (size_t)row * (size_t)q->cols;
}

static inline void mark_row(const quantized_rows *q, int row, bool narrow)
{
    if (!q->narrow) return; // only kernels that are asked for narrow rows read these
    q->narrow[row] = narrow;
    memset(q->wide + (size_t)row * (size_t)(q->cols / 32), narrow ? 0 : 255, (size_t)(q->cols / 32));
}

// The bit pattern of a magnitude that at most one in WIDE_SHARE of the quads' magnitudes exceeds. Bits below the
// fourth of the mantissa are not worth a search.
static inline uint32_t narrow_limit(const uint32_t *magnitudes, int num_quads,
                                    int (*count)(const uint32_t *magnitudes, int num_quads, uint32_t least))
{
    uint32_t limit = 0;
    for (int bit = 30; bit >= 19; bit--)
        if (count(magnitudes, num_quads, limit | 1u << bit) > num_quads / WIDE_SHARE) limit |= 1u << bit;
    return limit | 0x7FFFF;
}

// The step of a group of a narrow row, from its largest magnitude: that of the row's limit where some quad exceeds it,
// else as fine as 8 bits allow; and never so fine that the largest does not fit 15 bits.
static inline quantize_scale narrow_scale_of(uint32_t largest, uint32_t limit)
{
    float whole = bits_to_float(largest), part = bits_to_float(largest > limit ? limit : largest);
    if (whole < 0x1p-100f) return (quantize_scale){0.0f, 0.0f};
    float for_part = part / NARROW_MAX, for_whole = whole / QUANTIZE_MAX;
    float scale = for_part > for_whole ? for_part : for_whole; // a NaN reaches for_whole, and is taken
    return (quantize_scale){scale, 1.0f / scale};
}

#endif
