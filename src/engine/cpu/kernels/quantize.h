// What every quantize_rows does alike for a group: the scale and its inverse from the largest magnitude.
#ifndef ENGINE_CPU_QUANTIZE_H
#define ENGINE_CPU_QUANTIZE_H

#define QUANTIZE_MAX 16319.0f // 127 * 128 + 63: hi and lo both fit

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

#endif
