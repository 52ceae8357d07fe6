// What the AVX2 matrix kernels share: two registers hold one number for each row of a tile, rows 0 to 7 and 8
// to 15.
#ifndef ENGINE_CPU_MATMUL_AVX2_H
#define ENGINE_CPU_MATMUL_AVX2_H
#include "engine/cpu/kernels/tile.h"
#include <immintrin.h>

// Kernels are written once with constant parameters and inlined into one function for each of them.
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef struct vec {
    __m256 a, b;
} vec;
typedef struct ivec {
    __m256i a, b;
} ivec;

INLINE vec vec_zero(void)
{
    return (vec){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
INLINE vec vec_splat(float x)
{
    return (vec){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
INLINE vec vec_load(const float *p)
{
    return (vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
INLINE vec vec_add(vec v, vec w)
{
    return (vec){_mm256_add_ps(v.a, w.a), _mm256_add_ps(v.b, w.b)};
}
INLINE vec vec_mul(vec v, vec w)
{
    return (vec){_mm256_mul_ps(v.a, w.a), _mm256_mul_ps(v.b, w.b)};
}
INLINE vec vec_multiply_add(vec v, vec w, vec sum)
{
    return (vec){_mm256_fmadd_ps(v.a, w.a, sum.a), _mm256_fmadd_ps(v.b, w.b, sum.b)};
}
INLINE vec vec_fma(vec v, float x, vec sum)
{
    return vec_multiply_add(v, vec_splat(x), sum);
}
INLINE vec vec_of(ivec v)
{
    return (vec){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)};
}
INLINE void prefetch(const uint8_t *address)
{
    _mm_prefetch((const char *)address, _MM_HINT_T0);
}

INLINE ivec ivec_load(const uint8_t *p)
{
    return (ivec){_mm256_loadu_si256((const __m256i *)(const void *)p),
                  _mm256_loadu_si256((const __m256i *)(const void *)(p + 32))};
}

INLINE __m256 load_halves(dtype type, const uint8_t *values)
{
    __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)values);
    if (type == DTYPE_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

// 16 floats of a 2 or 4 byte type.
INLINE vec load_floats(dtype type, const uint8_t *values)
{
    if (type != DTYPE_F32) return (vec){load_halves(type, values), load_halves(type, values + 16)};
    ivec bits = ivec_load(values);
    return (vec){_mm256_castsi256_ps(bits.a), _mm256_castsi256_ps(bits.b)};
}

INLINE __m256i shifted_field(__m256i value, const int shift, __m256i mask)
{
    if (shift > 0) value = _mm256_srli_epi16(value, shift);
    if (shift < 0) value = _mm256_slli_epi16(value, -shift);
    return _mm256_and_si256(value, mask);
}

// Bits [0, width) of the values of quad `j` of an octet (8 quads, 32 inputs), shifted up by `to`.
INLINE ivec plane_field(const uint8_t *plane, const int width, const int j, const int to)
{
    ivec value = ivec_load(plane + j * width / 8 * 64);
    const int shift = j * width % 8 - to;
    const __m256i mask = _mm256_set1_epi8((char)(((1 << width) - 1) << to));
    return (ivec){shifted_field(value.a, shift, mask), shifted_field(value.b, shift, mask)};
}

// q of quad `j` of octet `octet` of a group.
INLINE ivec quad_values(const uint8_t *planes, const int bits, int group_size, int octet, const int j)
{
    const int low_width = tile_planes(bits).low, high_width = tile_planes(bits).high;
    const uint8_t *low = planes + octet * low_width * 64;
    if (bits == 8) return ivec_load(low + j * 64);
    ivec value = plane_field(low, low_width, j, 0);
    if (!high_width) return value;
    const uint8_t *plane = planes + (group_size * low_width * 2 + octet * high_width * 64);
    ivec high = plane_field(plane, high_width, j, low_width);
    return (ivec){_mm256_or_si256(value.a, high.a), _mm256_or_si256(value.b, high.b)};
}

// q of any quad of a group, whose number is not known when this is compiled.
INLINE __m256i any_field(const uint8_t *chunk, const int width, const int to, __m128i shift)
{
    __m256i value = _mm256_srl_epi16(_mm256_loadu_si256((const __m256i *)(const void *)chunk), shift);
    value = _mm256_and_si256(value, _mm256_set1_epi8((char)((1 << width) - 1)));
    return to ? _mm256_slli_epi16(value, to) : value;
}

INLINE ivec any_plane_field(const uint8_t *plane, const int width, int quad, const int to)
{
    const uint8_t *chunk = plane + quad * width / 8 * 64;
    __m128i shift = _mm_cvtsi32_si128(quad * width % 8);
    return (ivec){any_field(chunk, width, to, shift), any_field(chunk + 32, width, to, shift)};
}

INLINE ivec any_quad_values(const uint8_t *planes, const int bits, int group_size, int quad)
{
    const int low_width = tile_planes(bits).low, high_width = tile_planes(bits).high;
    ivec value = any_plane_field(planes, low_width, quad, 0);
    if (!high_width) return value;
    ivec high = any_plane_field(planes + group_size * low_width * 2, high_width, quad, low_width);
    return (ivec){_mm256_or_si256(value.a, high.a), _mm256_or_si256(value.b, high.b)};
}

#endif
