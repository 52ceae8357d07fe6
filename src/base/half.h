// 16-bit floating point to and from float32, rounding to nearest even. Plain C; kernels have vector forms.
#ifndef BASE_HALF_H
#define BASE_HALF_H
#include <stdint.h>
#include <string.h>

static inline float bits_to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t float_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float bf16_to_float(uint16_t half) { return bits_to_float((uint32_t)half << 16); }

static inline uint16_t float_to_bf16(float value)
{
    uint32_t bits = float_to_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40); // NaN stays NaN
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

static inline float f16_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3FF;
    if (exponent == 31) return bits_to_float(sign | 0x7F800000u | mantissa << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
    return bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t float_to_f16(float value)
{
    uint32_t bits = float_to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00);
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00); // rounds to infinity
    if (magnitude < 0x38800000u) {                                  // subnormal: let float addition round
        float rounded = bits_to_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (float_to_bits(rounded) - 0x3F000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xFFF + (magnitude >> 13 & 1)) >> 13));
}

#endif
