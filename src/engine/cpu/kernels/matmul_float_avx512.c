// Products with float activations in AVX-512: a register is one input of 16 rows.
#include "engine/cpu/kernels/matmul_avx512.h"
#include "engine/cpu/kernels/tables.h"

#define FLOAT_TILES 2
#define FLOAT_TOKENS 4
INLINE void bf16_pairs(const uint8_t *source, float *out)
{
    __m512i pairs = _mm512_loadu_si512(source);
    vec_store(out, _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)));
    vec_store(out + 16, _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000u))));
}

INLINE void affine_octet(const uint8_t *planes, const int bits, int group_size, int octet, vec scale, vec bias,
                         float *out)
{
    const __m512i byte = _mm512_set1_epi32(255);
    UNROLL for (int j = 0; j < 8; j++)
    {
        __m512i q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int i = 0; i < 4; i++)
        {
            __m512 value = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(q, (unsigned)(8 * i)), byte));
            vec_store(out + (4 * j + i) * 16, _mm512_add_ps(_mm512_mul_ps(scale, value), bias));
        }
    }
}

#include "engine/cpu/kernels/matmul_float_impl.h"

void matmul_float_avx512(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                         int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_float(w, tile_begin, tile_end, x, x_stride, token_begin, token_end, y, y_stride);
}
