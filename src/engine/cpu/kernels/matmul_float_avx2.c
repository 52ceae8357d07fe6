// Products with float activations in AVX2: two registers are one input of 16 rows.
#include "engine/cpu/kernels/matmul_avx2.h"
#include "engine/cpu/kernels/tables.h"

#define FLOAT_TILES 1
#define FLOAT_TOKENS 3

INLINE void bf16_pairs(const uint8_t *source, float *out)
{
    const __m256i upper = _mm256_set1_epi32((int)0xFFFF0000u);
    ivec pairs = ivec_load(source);
    vec even = {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.a, 16)),
                _mm256_castsi256_ps(_mm256_slli_epi32(pairs.b, 16))};
    vec odd = {_mm256_castsi256_ps(_mm256_and_si256(pairs.a, upper)),
               _mm256_castsi256_ps(_mm256_and_si256(pairs.b, upper))};
    vec_store(out, even);
    vec_store(out + 16, odd);
}

INLINE void affine_octet(const uint8_t *planes, const int bits, int group_size, int octet, vec scale, vec bias,
                         float *out)
{
    const __m256i byte = _mm256_set1_epi32(255);
    UNROLL for (int j = 0; j < 8; j++)
    {
        ivec q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int i = 0; i < 4; i++)
        {
            ivec value = {_mm256_and_si256(_mm256_srli_epi32(q.a, 8 * i), byte),
                          _mm256_and_si256(_mm256_srli_epi32(q.b, 8 * i), byte)};
            vec_store(out + (4 * j + i) * 16, vec_add(vec_mul(scale, vec_of(value)), bias));
        }
    }
}

#include "engine/cpu/kernels/matmul_float_impl.h"

void matmul_float_avx2(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                       int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_float(w, tile_begin, tile_end, x, x_stride, token_begin, token_end, y, y_stride);
}
