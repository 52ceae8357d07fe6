// The vector operations of the kernel templates, for AVX2 with FMA and F16C. What each means: simd_avx512.h.
#ifndef ENGINE_CPU_SIMD_H
#define ENGINE_CPU_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KERNEL(name) name##_avx2

typedef __m256 vfloat;
enum { V_LANES = 8, V_REGISTERS = 16 };

static inline vfloat v_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vfloat v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vfloat x)
{
    _mm256_storeu_ps(p, x);
}

static inline __m256i v_lane_numbers(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
static inline __m256i v_first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), v_lane_numbers());
}
static inline vfloat v_load_part(const float *p, int n)
{
    return _mm256_maskload_ps(p, v_first_lanes(n));
}
static inline void v_store_part(float *p, vfloat x, int n)
{
    _mm256_maskstore_ps(p, v_first_lanes(n), x);
}

static inline vfloat v_add(vfloat a, vfloat b)
{
    return _mm256_add_ps(a, b);
}
static inline vfloat v_sub(vfloat a, vfloat b)
{
    return _mm256_sub_ps(a, b);
}
static inline vfloat v_mul(vfloat a, vfloat b)
{
    return _mm256_mul_ps(a, b);
}
static inline vfloat v_div(vfloat a, vfloat b)
{
    return _mm256_div_ps(a, b);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vfloat v_fnma(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vfloat v_max(vfloat a, vfloat b)
{
    return _mm256_max_ps(a, b);
}
static inline vfloat v_min(vfloat a, vfloat b)
{
    return _mm256_min_ps(a, b);
}
static inline vfloat v_abs(vfloat x)
{
    return _mm256_andnot_ps(v_set(-0.0f), x);
}
static inline vfloat v_round(vfloat x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vfloat v_copysign(vfloat x, vfloat sign)
{
    return _mm256_or_ps(v_abs(x), _mm256_and_ps(v_set(-0.0f), sign));
}

static inline vfloat v_power_of_2(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

// In two steps: 2^n itself may be no normal number.
static inline vfloat v_scale(vfloat x, vfloat n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return v_mul(v_mul(x, v_power_of_2(half)), v_power_of_2(_mm256_sub_epi32(whole, half)));
}

static inline vfloat v_select_less(vfloat a, vfloat b, vfloat less, vfloat other)
{
    return _mm256_blendv_ps(other, less, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline vfloat v_select_lanes(vfloat inside, vfloat outside, int begin, int end)
{
    __m256i both = _mm256_andnot_si256(v_first_lanes(begin), v_first_lanes(end));
    return _mm256_blendv_ps(outside, inside, _mm256_castsi256_ps(both));
}

static inline float v_first(vfloat x)
{
    return _mm256_cvtss_f32(x);
} // lane 0

static inline float v_reduce_add(vfloat x)
{
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

static inline float v_reduce_max(vfloat x)
{
    __m128 max = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    max = _mm_max_ps(max, _mm_movehl_ps(max, max));
    return _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
}

typedef __m256i vpairs;
static inline vpairs v_no_pairs(void)
{
    return _mm256_setzero_si256();
}
static inline vpairs v_load_i16_pairs(const int16_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}
static inline vpairs v_load_i8_pairs(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}
static inline vpairs v_load_i16_pairs_part(const int16_t *p, int n)
{
    return _mm256_maskload_epi32((const void *)p, v_first_lanes(n));
}
static inline vpairs v_load_i8_pairs_part(const int8_t *p, int n)
{
    int8_t whole[2 * V_LANES] = {0};
    memcpy(whole, p, (size_t)n * 2);
    return v_load_i8_pairs(whole);
}
static inline vpairs v_set_pair(int32_t pair)
{
    return _mm256_set1_epi32(pair);
}
static inline vpairs v_dot_pairs(vpairs sums, vpairs a, vpairs b)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}
static inline vpairs v_add_sums(vpairs a, vpairs b)
{
    return _mm256_add_epi32(a, b);
}
static inline vfloat v_from_sums(vpairs sums)
{
    return _mm256_cvtepi32_ps(sums);
}
static inline void v_store_i16(int16_t *p, vfloat x)
{
    __m256i whole = _mm256_cvtps_epi32(x);
    _mm_storeu_si128((void *)p, _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}
static inline void v_join_bytes(int16_t *p, const int8_t *high, const int8_t *low, int bits)
{
    _mm256_storeu_si256((void *)p, _mm256_add_epi16(_mm256_slli_epi16(v_load_i8_pairs(high), bits), v_load_i8_pairs(low)));
}
static inline unsigned v_greater(vfloat a, vfloat b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

static inline vfloat v_order_quarters(vfloat x) // 64-bit quarters 0 2 1 3
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), 0xD8));
}

static inline void v_load_pairs(const float *p, vfloat *even, vfloat *odd)
{
    vfloat a = v_load(p), b = v_load(p + V_LANES);
    *even = v_order_quarters(_mm256_shuffle_ps(a, b, 0x88));
    *odd = v_order_quarters(_mm256_shuffle_ps(a, b, 0xDD));
}

static inline void v_store_pairs(float *p, vfloat even, vfloat odd)
{
    vfloat low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    v_store(p, _mm256_permute2f128_ps(low, high, 0x20));
    v_store(p + V_LANES, _mm256_permute2f128_ps(low, high, 0x31));
}

#endif
