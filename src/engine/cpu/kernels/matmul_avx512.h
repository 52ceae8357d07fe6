// What the AVX-512 matrix kernels share: a register holds one number for each row of a tile.
#ifndef ENGINE_CPU_MATMUL_AVX512_H
#define ENGINE_CPU_MATMUL_AVX512_H
#include "engine/cpu/kernels/tile.h"
#include <immintrin.h>

// Kernels are written once with constant parameters and inlined into one function for each of them.
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef __m512 vec;
typedef __m512i ivec;

INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE vec vec_splat(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vec vec_multiply_add(vec a, vec b, vec sum)
{
    return _mm512_fmadd_ps(a, b, sum);
}
INLINE vec vec_fma(vec v, float x, vec sum)
{
    return _mm512_fmadd_ps(v, _mm512_set1_ps(x), sum);
}
INLINE vec vec_of(ivec v)
{
    return _mm512_cvtepi32_ps(v);
}
INLINE void prefetch(const uint8_t *address)
{
    _mm_prefetch((const char *)address, _MM_HINT_T0);
}

// 16 floats of a 2 or 4 byte type.
INLINE vec load_floats(dtype type, const uint8_t *values)
{
    if (type == DTYPE_F32) return _mm512_loadu_ps(values);
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)values);
    if (type == DTYPE_F16) return _mm512_cvtph_ps(halves);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// Bits [0, width) of the values of quad `j` of an octet (8 quads, 32 inputs), shifted up by `to`.
INLINE __m512i plane_field(const uint8_t *plane, const int width, const int j, const int to)
{
    __m512i value = _mm512_loadu_si512(plane + j * width / 8 * 64);
    const int shift = j * width % 8 - to;
    if (shift > 0) value = _mm512_srli_epi16(value, (unsigned)shift);
    if (shift < 0) value = _mm512_slli_epi16(value, (unsigned)-shift);
    return _mm512_and_si512(value, _mm512_set1_epi8((char)(((1 << width) - 1) << to)));
}

// q of quad `j` of octet `octet` of a group.
INLINE __m512i quad_values(const uint8_t *planes, const int bits, int group_size, int octet, const int j)
{
    const int low_width = tile_planes(bits).low, high_width = tile_planes(bits).high;
    const uint8_t *low = planes + octet * low_width * 64;
    // In this order, which volatile keeps: where lines come out of order the processor sees no stream, and reads at
    // two thirds of the rate (Zen 4).
    if (bits == 8) return *(const volatile __m512i *)(const void *)(low + j * 64);
    __m512i value = plane_field(low, low_width, j, 0);
    if (!high_width) return value;
    const uint8_t *high = planes + (group_size * low_width * 2 + octet * high_width * 64);
    return _mm512_or_si512(value, plane_field(high, high_width, j, low_width));
}

// q of any quad of a group, whose number is not known when this is compiled.
INLINE __m512i any_plane_field(const uint8_t *plane, const int width, int quad, const int to)
{
    __m512i value = _mm512_loadu_si512(plane + quad * width / 8 * 64);
    value = _mm512_srl_epi16(value, _mm_cvtsi32_si128(quad * width % 8));
    value = _mm512_and_si512(value, _mm512_set1_epi8((char)((1 << width) - 1)));
    return to ? _mm512_slli_epi16(value, (unsigned)to) : value;
}

INLINE __m512i any_quad_values(const uint8_t *planes, const int bits, int group_size, int quad)
{
    const int low_width = tile_planes(bits).low, high_width = tile_planes(bits).high;
    if (bits == 8) return _mm512_loadu_si512(planes + quad * 64);
    __m512i value = any_plane_field(planes, low_width, quad, 0);
    if (!high_width) return value;
    return _mm512_or_si512(value, any_plane_field(planes + group_size * low_width * 2, high_width, quad, low_width));
}

#endif
