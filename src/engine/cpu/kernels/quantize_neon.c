// Activations to 15-bit integers in NEON: 16 inputs at a time, bit for bit what quantize_scalar.c gives.
#include "engine/cpu/kernels/matmul_neon.h"
#include "engine/cpu/kernels/quantize.h"
#include "engine/cpu/kernels/tables.h"

static float largest_magnitude(const float *x, int count)
{
    uint32x4_t largest = vdupq_n_u32(0), mask = vdupq_n_u32(0x7FFFFFFF);
    for (int i = 0; i < count; i += 4)
        largest = vmaxq_u32(largest, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), mask));
    return bits_to_float(vmaxvq_u32(largest));
}

// Clamps as the plain C does: both comparisons take the bound when the value is a NaN.
INLINE int32x4_t quantize_4(const float *x, float inverse)
{
    const float32x4_t high = vdupq_n_f32(QUANTIZE_MAX), low = vdupq_n_f32(-QUANTIZE_MAX);
    float32x4_t scaled = vmulq_n_f32(vld1q_f32(x), inverse);
    scaled = vbslq_f32(vcltq_f32(scaled, high), scaled, high);
    scaled = vbslq_f32(vcgtq_f32(scaled, low), scaled, low);
    return vcvtnq_s32_f32(scaled);
}

// 16 numbers that fit a byte.
INLINE void store_bytes(int8_t *target, ivec v)
{
    int16x8_t words_0 = vcombine_s16(vmovn_s32(v.v[0]), vmovn_s32(v.v[1]));
    int16x8_t words_1 = vcombine_s16(vmovn_s32(v.v[2]), vmovn_s32(v.v[3]));
    vst1q_s8(target, vcombine_s8(vmovn_s16(words_0), vmovn_s16(words_1)));
}

// The largest magnitude of each quad of a row.
static void quad_magnitudes(const float *x, int cols, uint32_t *magnitudes)
{
    uint32x4_t mask = vdupq_n_u32(0x7FFFFFFF);
    for (int i = 0; i < cols; i += 16) {
        uint32x4_t v[4];
        FOUR v[k] = vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i + 4 * k)), mask);
        vst1q_u32(magnitudes + i / 4, vpmaxq_u32(vpmaxq_u32(v[0], v[1]), vpmaxq_u32(v[2], v[3])));
    }
}

static int count_from(const uint32_t *magnitudes, int num_quads, uint32_t least)
{
    uint32x4_t bound = vdupq_n_u32(least), count = vdupq_n_u32(0);
    for (int i = 0; i < num_quads; i += 4) count = vsubq_u32(count, vcgeq_u32(vld1q_u32(magnitudes + i), bound));
    return (int)vaddvq_u32(count);
}

// Integers to hi and lo. In a narrow row hi stays 0 in quads that fit 8 bits; returns a bit for each of the others.
INLINE unsigned split_16(const float *x, float inverse, const bool narrow, int8_t *hi, int8_t *lo, int32x4_t *sum)
{
    ivec top, rest;
    unsigned wide = 0;
    FOUR
    {
        int32x4_t q = quantize_4(x + 4 * k, inverse);
        bool has_top = !narrow || vmaxvq_s32(vabsq_s32(q)) > 127;
        top.v[k] = has_top ? vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7) : vdupq_n_s32(0);
        wide |= (unsigned)has_top << k;
        rest.v[k] = vsubq_s32(q, vshlq_n_s32(top.v[k], 7));
        *sum = vaddq_s32(*sum, q);
    }
    store_bytes(hi, top);
    store_bytes(lo, rest);
    return wide;
}

static void quantize_row(const float *x, const quantized_rows *out, int row, uint32_t limit, const bool narrow)
{
    int size = out->group_size, num_groups = out->cols / size;
    int8_t *hi = row_of(out->hi, out, row), *lo = row_of(out->lo, out, row);
    for (int group = 0; group < num_groups; group++) {
        const float *source = x + group * size;
        size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
        float largest = largest_magnitude(source, size);
        quantize_scale scale = narrow ? narrow_scale_of(float_to_bits(largest), limit) : quantize_scale_of(largest);
        int32x4_t sum = vdupq_n_s32(0);
        for (int i = group * size; i < (group + 1) * size; i += 32) {
            unsigned wide = split_16(x + i, scale.inverse, narrow, hi + i, lo + i, &sum);
            wide |= split_16(x + i + 16, scale.inverse, narrow, hi + i + 16, lo + i + 16, &sum) << 4;
            if (narrow) out->wide[((size_t)row * (size_t)out->cols + (size_t)i) / 32] = (uint8_t)wide;
        }
        out->scale[index] = scale.scale;
        out->sum[index] = (float)vaddvq_s32(sum) * scale.scale;
    }
}

void quantize_rows_neon(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        mark_row(out, row, narrow);
        if (narrow) {
            uint32_t *magnitudes = (uint32_t *)(void *)row_of(out->lo, out, row); // room for them until lo is written
            quad_magnitudes(x, out->cols, magnitudes);
            quantize_row(x, out, row, narrow_limit(magnitudes, out->cols / 4, count_from), true);
        } else {
            quantize_row(x, out, row, 0, false);
        }
    }
}
