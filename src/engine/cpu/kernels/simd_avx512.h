// The vector operations of the kernel templates, for AVX-512 (F, BW, DQ, VL).
#ifndef ENGINE_CPU_SIMD_H
#define ENGINE_CPU_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL(name) name##_avx512

typedef __m512 vfloat;
enum { V_LANES = 16, V_REGISTERS = 32 };

static inline vfloat v_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vfloat v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vfloat x)
{
    _mm512_storeu_ps(p, x);
}

static inline __mmask16 v_first_lanes(int n)
{
    return (__mmask16)((1u << n) - 1);
}

// The first n lanes, n < V_LANES; nothing beyond is touched, the other lanes are 0.
static inline vfloat v_load_part(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v_first_lanes(n), p);
}
static inline void v_store_part(float *p, vfloat x, int n)
{
    _mm512_mask_storeu_ps(p, v_first_lanes(n), x);
}

static inline vfloat v_add(vfloat a, vfloat b)
{
    return _mm512_add_ps(a, b);
}
static inline vfloat v_sub(vfloat a, vfloat b)
{
    return _mm512_sub_ps(a, b);
}
static inline vfloat v_mul(vfloat a, vfloat b)
{
    return _mm512_mul_ps(a, b);
}
static inline vfloat v_div(vfloat a, vfloat b)
{
    return _mm512_div_ps(a, b);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fmadd_ps(a, b, c);
} // a b + c
static inline vfloat v_fnma(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fnmadd_ps(a, b, c);
} // c - a b
// A NaN in b comes through; one in a does not.
static inline vfloat v_max(vfloat a, vfloat b)
{
    return _mm512_max_ps(a, b);
}
static inline vfloat v_min(vfloat a, vfloat b)
{
    return _mm512_min_ps(a, b);
}
static inline vfloat v_abs(vfloat x)
{
    return _mm512_abs_ps(x);
}
static inline vfloat v_round(vfloat x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vfloat v_copysign(vfloat x, vfloat sign)
{
    __m512i bits = _mm512_set1_epi32(INT32_MIN); // picks bits of `sign` where set, of x elsewhere
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(bits, _mm512_castps_si512(sign), _mm512_castps_si512(x), 0xCA));
}

// x 2^n for whole n in [-152, 128]
static inline vfloat v_scale(vfloat x, vfloat n)
{
    return _mm512_scalef_ps(x, n);
}

static inline vfloat v_select_less(vfloat a, vfloat b, vfloat less, vfloat other) // a < b ? less : other
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), other, less);
}

static inline vfloat v_select_lanes(vfloat inside, vfloat outside, int begin, int end) // begin <= lane < end
{
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask16 from = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(begin));
    __mmask16 both = _mm512_mask_cmplt_epi32_mask(from, lane, _mm512_set1_epi32(end));
    return _mm512_mask_blend_ps(both, outside, inside);
}

static inline float v_first(vfloat x)
{
    return _mm512_cvtss_f32(x);
} // lane 0

static inline float v_reduce_add(vfloat x)
{
    return _mm512_reduce_add_ps(x);
}
static inline float v_reduce_max(vfloat x)
{
    return _mm512_reduce_max_ps(x);
}

// Pairs of 16-bit integers, V_LANES of them; or V_LANES sums of products of such pairs, in 32 bits.
typedef __m512i vpairs;
static inline vpairs v_no_pairs(void)
{
    return _mm512_setzero_si512();
}
static inline vpairs v_load_i16_pairs(const int16_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline vpairs v_load_i8_pairs(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}
// The first n pairs, n < V_LANES
static inline vpairs v_load_i16_pairs_part(const int16_t *p, int n)
{
    return _mm512_maskz_loadu_epi32(v_first_lanes(n), p);
}
static inline vpairs v_load_i8_pairs_part(const int8_t *p, int n)
{
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi16(v_first_lanes(n), p));
}
static inline vpairs v_set_pair(int32_t pair) // the same pair in every lane
{
    return _mm512_set1_epi32(pair);
}
static inline vpairs v_dot_pairs(vpairs sums, vpairs a, vpairs b) // sums + a.first b.first + a.second b.second
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b)); // gcc copies the sums of its own builtin to and fro
    return sums;
}
static inline vpairs v_add_sums(vpairs a, vpairs b)
{
    return _mm512_add_epi32(a, b);
}
static inline vfloat v_from_sums(vpairs sums)
{
    return _mm512_cvtepi32_ps(sums);
}
static inline void v_store_i16(int16_t *p, vfloat x) // the nearest integers, ties to even
{
    _mm256_storeu_si256((void *)p, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
}
// high[i] * 2^bits + low[i] into p[i], for 2 V_LANES bytes
static inline void v_join_bytes(int16_t *p, const int8_t *high, const int8_t *low, int bits)
{
    _mm512_storeu_si512(p, _mm512_add_epi16(_mm512_slli_epi16(v_load_i8_pairs(high), (unsigned)bits), v_load_i8_pairs(low)));
}
static inline unsigned v_greater(vfloat a, vfloat b) // bit i: lane i of a is greater
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

// 2 V_LANES floats as their even and odd elements
static inline void v_load_pairs(const float *p, vfloat *even, vfloat *odd)
{
    __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vfloat a = v_load(p), b = v_load(p + V_LANES);
    *even = _mm512_permutex2var_ps(a, first, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(1)), b);
}

static inline void v_store_pairs(float *p, vfloat even, vfloat odd)
{
    __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    v_store(p, _mm512_permutex2var_ps(even, low, odd));
    v_store(p + V_LANES, _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
}

#endif
