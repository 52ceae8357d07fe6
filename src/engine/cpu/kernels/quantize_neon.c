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

void quantize_rows_neon(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        if (narrow) {
            quantize_rows_scalar(x, x_stride, 1, true, out, row);
            continue;
        }
        mark_row(out, row, false);
        for (int group = 0; group < num_groups; group++) {
            const float *source = x + group * size;
            size_t at = (size_t)row * (size_t)out->cols + (size_t)(group * size);
            size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
            quantize_scale scale = quantize_scale_of(largest_magnitude(source, size));
            int32x4_t sum = vdupq_n_s32(0);
            for (int i = 0; i < size; i += 16) {
                ivec hi, lo;
                FOUR
                {
                    int32x4_t q = quantize_4(source + i + 4 * k, scale.inverse);
                    hi.v[k] = vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7);
                    lo.v[k] = vsubq_s32(q, vshlq_n_s32(hi.v[k], 7));
                    sum = vaddq_s32(sum, q);
                }
                store_bytes(out->hi + at + i, hi);
                store_bytes(out->lo + at + i, lo);
            }
            out->scale[index] = scale.scale;
            out->sum[index] = (float)vaddvq_s32(sum) * scale.scale;
        }
    }
}
