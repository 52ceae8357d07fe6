// Products with float activations in NEON: four registers are one input of 16 rows.
#include "engine/cpu/kernels/matmul_neon.h"
#include "engine/cpu/kernels/tables.h"

#define FLOAT_TILES 1
#define FLOAT_TOKENS 3

INLINE void bf16_pairs(const uint8_t *source, float *out)
{
    FOUR
    {
        uint32x4_t pairs = vreinterpretq_u32_u8(vld1q_u8(source + 16 * k));
        vst1q_f32(out + 4 * k, vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)));
        vst1q_f32(out + 16 + 4 * k, vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xFFFF0000u))));
    }
}

INLINE void affine_octet(const uint8_t *planes, const int bits, int group_size, int octet, vec scale, vec bias,
                         float *out)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        quad_bytes q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int i = 0; i < 4; i++)
        {
            vec value;
            FOUR
            {
                uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_u8(q.v[k]), vdupq_n_s32(-8 * i));
                value.v[k] = vcvtq_f32_u32(vandq_u32(shifted, vdupq_n_u32(255)));
            }
            vec_store(out + (4 * j + i) * 16, vec_add(vec_mul(scale, value), bias));
        }
    }
}

#include "engine/cpu/kernels/matmul_float_impl.h"

void matmul_float_neon(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                       int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_float(w, tile_begin, tile_end, x, x_stride, token_begin, token_end, y, y_stride);
}
