// What the NEON matrix kernels share: four registers hold one number for each row of a tile, four rows each.
#ifndef ENGINE_CPU_MATMUL_NEON_H
#define ENGINE_CPU_MATMUL_NEON_H
#include "engine/cpu/kernels/tile.h"
#include <arm_neon.h>

// Kernels are written once with constant parameters and inlined into one function for each of them.
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define FOUR UNROLL for (int k = 0; k < 4; k++)

typedef struct vec {
    float32x4_t v[4];
} vec;
typedef struct ivec {
    int32x4_t v[4];
} ivec;
typedef struct quad_bytes { // four inputs of 16 rows
    uint8x16_t v[4];
} quad_bytes;

INLINE vec vec_splat(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (vec){{v, v, v, v}};
}
INLINE vec vec_zero(void)
{
    return vec_splat(0.0f);
}
INLINE vec vec_load(const float *p)
{
    vec v;
    FOUR v.v[k] = vld1q_f32(p + 4 * k);
    return v;
}
INLINE void vec_store(float *p, vec v)
{
    FOUR vst1q_f32(p + 4 * k, v.v[k]);
}
INLINE vec vec_add(vec a, vec b)
{
    FOUR a.v[k] = vaddq_f32(a.v[k], b.v[k]);
    return a;
}
INLINE vec vec_mul(vec a, vec b)
{
    FOUR a.v[k] = vmulq_f32(a.v[k], b.v[k]);
    return a;
}
INLINE vec vec_multiply_add(vec a, vec b, vec sum)
{
    FOUR sum.v[k] = vfmaq_f32(sum.v[k], a.v[k], b.v[k]);
    return sum;
}
INLINE vec vec_fma(vec v, float x, vec sum)
{
    FOUR sum.v[k] = vfmaq_n_f32(sum.v[k], v.v[k], x);
    return sum;
}
INLINE vec vec_of(ivec v)
{
    vec result;
    FOUR result.v[k] = vcvtq_f32_s32(v.v[k]);
    return result;
}
INLINE void prefetch(const uint8_t *address)
{
    __builtin_prefetch(address);
}

// 16 floats of a 2 or 4 byte type.
INLINE vec load_floats(dtype type, const uint8_t *values)
{
    vec v;
    if (type == DTYPE_F32) {
        FOUR v.v[k] = vreinterpretq_f32_u8(vld1q_u8(values + 16 * k));
        return v;
    }
    FOUR
    {
        uint16x4_t halves = vreinterpret_u16_u8(vld1_u8(values + 8 * k));
        v.v[k] = type == DTYPE_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(halves))
                                   : vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
    }
    return v;
}

// Bits [0, width) of the values of quad `j` of an octet (8 quads, 32 inputs), shifted up by `to`.
INLINE quad_bytes plane_field(const uint8_t *plane, const int width, const int j, const int to)
{
    quad_bytes q;
    const int shift = to - j * width % 8; // vshlq shifts right by negative counts
    const uint8x16_t mask = vdupq_n_u8((uint8_t)(((1 << width) - 1) << to));
    FOUR
    {
        uint8x16_t value = vld1q_u8(plane + j * width / 8 * 64 + 16 * k);
        q.v[k] = vandq_u8(vshlq_u8(value, vdupq_n_s8((int8_t)shift)), mask);
    }
    return q;
}

// q of quad `j` of octet `octet` of a group.
INLINE quad_bytes quad_values(const uint8_t *planes, const int bits, int group_size, int octet, const int j)
{
    const int low_width = tile_planes(bits).low, high_width = tile_planes(bits).high;
    quad_bytes q;
    if (bits == 8) {
        FOUR q.v[k] = vld1q_u8(planes + (octet * 8 + j) * 64 + 16 * k);
        return q;
    }
    q = plane_field(planes + octet * low_width * 64, low_width, j, 0);
    if (!high_width) return q;
    const uint8_t *plane = planes + (group_size * low_width * 2 + octet * high_width * 64);
    quad_bytes high = plane_field(plane, high_width, j, low_width);
    FOUR q.v[k] = vorrq_u8(q.v[k], high.v[k]);
    return q;
}

#endif
