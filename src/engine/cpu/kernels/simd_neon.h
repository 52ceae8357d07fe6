// The vector operations of the kernel templates, for 64-bit Arm. What each means: simd_avx512.h.
#ifndef ENGINE_CPU_SIMD_H
#define ENGINE_CPU_SIMD_H
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KERNEL(name) name##_neon

typedef float32x4_t vfloat;
enum { V_LANES = 4, V_REGISTERS = 32 };

static inline vfloat v_set(float x)
{
    return vdupq_n_f32(x);
}
static inline vfloat v_load(const float *p)
{
    return vld1q_f32(p);
}
static inline void v_store(float *p, vfloat x)
{
    vst1q_f32(p, x);
}

static inline vfloat v_load_part(const float *p, int n)
{
    float whole[V_LANES] = {0};
    memcpy(whole, p, (size_t)n * sizeof *p);
    return v_load(whole);
}

static inline void v_store_part(float *p, vfloat x, int n)
{
    float whole[V_LANES];
    v_store(whole, x);
    memcpy(p, whole, (size_t)n * sizeof *p);
}

static inline vfloat v_add(vfloat a, vfloat b)
{
    return vaddq_f32(a, b);
}
static inline vfloat v_sub(vfloat a, vfloat b)
{
    return vsubq_f32(a, b);
}
static inline vfloat v_mul(vfloat a, vfloat b)
{
    return vmulq_f32(a, b);
}
static inline vfloat v_div(vfloat a, vfloat b)
{
    return vdivq_f32(a, b);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return vfmaq_f32(c, a, b);
}
static inline vfloat v_fnma(vfloat a, vfloat b, vfloat c)
{
    return vfmsq_f32(c, a, b);
}
static inline vfloat v_max(vfloat a, vfloat b)
{
    return vmaxq_f32(a, b);
}
static inline vfloat v_min(vfloat a, vfloat b)
{
    return vminq_f32(a, b);
}
static inline vfloat v_abs(vfloat x)
{
    return vabsq_f32(x);
}
static inline vfloat v_round(vfloat x)
{
    return vrndnq_f32(x);
}
static inline vfloat v_copysign(vfloat x, vfloat sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, x);
}

static inline vfloat v_power_of_2(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

// In two steps: 2^n itself may be no normal number.
static inline vfloat v_scale(vfloat x, vfloat n)
{
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return v_mul(v_mul(x, v_power_of_2(half)), v_power_of_2(vsubq_s32(whole, half)));
}

static inline vfloat v_select_less(vfloat a, vfloat b, vfloat less, vfloat other)
{
    return vbslq_f32(vcltq_f32(a, b), less, other);
}

static inline vfloat v_select_lanes(vfloat inside, vfloat outside, int begin, int end)
{
    static const int32_t numbers[V_LANES] = {0, 1, 2, 3};
    int32x4_t lane = vld1q_s32(numbers);
    uint32x4_t both = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(begin)), vcltq_s32(lane, vdupq_n_s32(end)));
    return vbslq_f32(both, inside, outside);
}

static inline float v_first(vfloat x)
{
    return vgetq_lane_f32(x, 0);
} // lane 0

static inline float v_reduce_add(vfloat x)
{
    return vaddvq_f32(x);
}
static inline float v_reduce_max(vfloat x)
{
    return vmaxvq_f32(x);
}

// The products of four pairs stay apart until v_from_sums adds each pair's.
typedef struct vpairs {
    int16x8_t pairs;
    int32x4_t low, high; // sums of products of the first two pairs, and of the others
} vpairs;
static inline vpairs v_of_pairs(int16x8_t pairs)
{
    return (vpairs){pairs, vdupq_n_s32(0), vdupq_n_s32(0)};
}
static inline vpairs v_no_pairs(void)
{
    return v_of_pairs(vdupq_n_s16(0));
}
static inline vpairs v_load_i16_pairs(const int16_t *p)
{
    return v_of_pairs(vld1q_s16(p));
}
static inline vpairs v_load_i8_pairs(const int8_t *p)
{
    return v_of_pairs(vmovl_s8(vld1_s8(p)));
}
static inline vpairs v_load_i16_pairs_part(const int16_t *p, int n)
{
    int16_t whole[2 * V_LANES] = {0};
    memcpy(whole, p, (size_t)n * 2 * sizeof *p);
    return v_load_i16_pairs(whole);
}
static inline vpairs v_load_i8_pairs_part(const int8_t *p, int n)
{
    int8_t whole[2 * V_LANES] = {0};
    memcpy(whole, p, (size_t)n * 2);
    return v_load_i8_pairs(whole);
}
static inline vpairs v_set_pair(int32_t pair)
{
    return v_of_pairs(vreinterpretq_s16_s32(vdupq_n_s32(pair)));
}
static inline vpairs v_dot_pairs(vpairs sums, vpairs a, vpairs b)
{
    sums.low = vmlal_s16(sums.low, vget_low_s16(a.pairs), vget_low_s16(b.pairs));
    sums.high = vmlal_high_s16(sums.high, a.pairs, b.pairs);
    return sums;
}
static inline vpairs v_add_sums(vpairs a, vpairs b)
{
    return (vpairs){a.pairs, vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
static inline vfloat v_from_sums(vpairs sums)
{
    return vcvtq_f32_s32(vpaddq_s32(sums.low, sums.high));
}
static inline void v_store_i16(int16_t *p, vfloat x)
{
    vst1_s16(p, vqmovn_s32(vcvtnq_s32_f32(x)));
}
static inline void v_join_bytes(int16_t *p, const int8_t *high, const int8_t *low, int bits)
{
    vst1q_s16(p, vaddq_s16(vshlq_s16(vmovl_s8(vld1_s8(high)), vdupq_n_s16((int16_t)bits)), vmovl_s8(vld1_s8(low))));
}
static inline unsigned v_greater(vfloat a, vfloat b)
{
    return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), (uint32x4_t){1, 2, 4, 8}));
}

static inline void v_load_pairs(const float *p, vfloat *even, vfloat *odd)
{
    float32x4x2_t pairs = vld2q_f32(p);
    *even = pairs.val[0];
    *odd = pairs.val[1];
}

static inline void v_store_pairs(float *p, vfloat even, vfloat odd)
{
    vst2q_f32(p, (float32x4x2_t){{even, odd}});
}

#endif
