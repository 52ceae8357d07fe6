// Affine weights times 15-bit activations with VNNI: a register holds 16 rows of four inputs (a quad), a dot
// instruction adds their products with one token's quad, broadcast from memory, to 16 sums.
#include "engine/cpu/kernels/matmul_avx512.h"
#include "engine/cpu/kernels/tables.h"

// For up to eight tokens, which one stream of weights serves four at a time; matmul_many_avx512.h has the others.
#define MAX_TOKENS 4
#define BEST_TOKENS 4
#define BEST_NARROW_TOKENS 4

INLINE __m512i broadcast(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, 4);
    return _mm512_set1_epi32(quad);
}

enum { CHAINS = 2 }; // even and odd quads are summed apart: two short chains of dots instead of a long one

typedef struct accumulators {
    __m512i hi[CHAINS][MAX_TOKENS], lo[CHAINS][MAX_TOKENS];
} accumulators;

INLINE void accumulators_clear(accumulators *a, const int num_tokens)
{
    UNROLL for (int chain = 0; chain < CHAINS; chain++) UNROLL for (int t = 0; t < num_tokens; t++) a->hi[chain][t] =
        a->lo[chain][t] = _mm512_setzero_si512();
}

INLINE void accumulators_add(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                             int octet, const int8_t *hi, const int8_t *lo, size_t cols, const int num_tokens)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        const int chain = j % CHAINS;
        __m512i q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            a->hi[chain][t] = _mm512_dpbusd_epi32(a->hi[chain][t], q, broadcast(hi + (size_t)t * cols + 4 * j));
            a->lo[chain][t] = _mm512_dpbusd_epi32(a->lo[chain][t], q, broadcast(lo + (size_t)t * cols + 4 * j));
        }
    }
}

// The products of hi alone, for the quads of a group whose bit is set: they come before those of lo.
INLINE void accumulators_add_wide(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                  unsigned quads, const int8_t *hi, size_t cols, const int num_tokens)
{
    for (; quads; quads &= quads - 1) {
        int quad = __builtin_ctz(quads);
        __m512i q = any_quad_values(planes, bits, group_size, quad);
        UNROLL for (int t = 0; t < num_tokens; t++)
            a->lo[0][t] = _mm512_dpbusd_epi32(a->lo[0][t], q, broadcast(hi + (size_t)t * cols + 4 * quad));
    }
    UNROLL for (int t = 0; t < num_tokens; t++) a->lo[0][t] = _mm512_slli_epi32(a->lo[0][t], 7);
}

INLINE void accumulators_add_narrow(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                    int octet, const int8_t *lo, size_t cols, const int num_tokens)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        __m512i q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int t = 0; t < num_tokens; t++)
            a->lo[j % CHAINS][t] = _mm512_dpbusd_epi32(a->lo[j % CHAINS][t], q, broadcast(lo + (size_t)t * cols + 4 * j));
    }
}

INLINE ivec accumulators_sum(const accumulators *a, const int bits, const int t, const bool narrow)
{
    (void)bits;
    __m512i lo = _mm512_add_epi32(a->lo[0][t], a->lo[1][t]);
    return narrow ? lo : _mm512_add_epi32(_mm512_slli_epi32(_mm512_add_epi32(a->hi[0][t], a->hi[1][t]), 7), lo);
}

#include "engine/cpu/kernels/matmul_affine_impl.h"
#include "engine/cpu/kernels/matmul_many_avx512.h"

void matmul_affine_avx512(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    bool many = token_end - token_begin > 2 * MAX_TOKENS;
    (many ? matmul_affine_many : matmul_affine)(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
