// exp and log from additions, multiplications and bit operations alone: the same bits on every machine and
// every C library (the build forbids fused multiply-adds), and loops over them vectorise.
#ifndef NN_PORTABLE_MATH_H
#define NN_PORTABLE_MATH_H
#include "base/half.h"

// e^x for x <= 0, within 2 units in the last place; 0 below -87 (the result would be subnormal). x must not
// be NaN.
static inline float portable_exp(float x)
{
    // Integers choose what happens below -87 (0x42AE0000 without its sign): choices by floats keep loops from
    // vectorising.
    int32_t magnitude = (int32_t)(float_to_bits(x) & 0x7FFFFFFFu),
            kept = magnitude < 0x42AE0000 ? magnitude : 0x42AE0000;
    uint32_t alive = 0u - ((uint32_t)(magnitude - 0x42AE0001) >> 31);
    float clamped = -bits_to_float((uint32_t)kept);
    float shifted = clamped * 1.44269504f + 12582912.0f; // 1.5 * 2^23: the low bits now hold round(x / ln 2)
    float n = shifted - 12582912.0f;
    float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f; // |r| <= ln 2 / 2
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float power = p * (r * r) + r + 1.0f;
    return bits_to_float((float_to_bits(power) + (float_to_bits(shifted) << 23)) & alive); // times 2^n
}

// Natural logarithm of a normal positive number, within 1e-15.
static inline double portable_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7FF) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m; // 1 <= m < 2, then 0.71 < m < 1.42
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) m *= 0.5, exponent++;
    double s = (m - 1) / (m + 1), s2 = s * s, term = s, sum = 0; // log m = 2 artanh s, |s| < 0.172
    for (int k = 1; k <= 21; k += 2, term *= s2) sum += term / k;
    return exponent * 0.6931471805599453 + 2 * sum;
}

#endif
