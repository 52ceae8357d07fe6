// Affine weights times 15-bit activations with VNNI: a register holds 16 rows of four inputs (a quad), a dot
// instruction adds their products with one token's quad, broadcast from memory, to 16 sums.
#include "engine/cpu/kernels/matmul_avx512.h"
#include "engine/cpu/kernels/tables.h"

// With more than 2 x 3 sums the compiler runs out of registers and spills: 2 x 4 is 8 % slower, 2 x 6 40 %. But
// four tokens in one pass are better than in two.
#define HAS_NARROW 1
#define MAX_TILES 2
#define MAX_TOKENS 4
#define BEST_TOKENS 3
#define BEST_NARROW_TOKENS 3

INLINE __m512i broadcast(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, 4);
    return _mm512_set1_epi32(quad);
}

// A single tile sums even and odd quads apart: two short chains of dots instead of a long one.
typedef struct accumulators {
    __m512i hi[MAX_TILES][MAX_TOKENS], lo[MAX_TILES][MAX_TOKENS];
} accumulators;

INLINE void accumulators_clear(accumulators *a, const int num_tiles, const int num_tokens)
{
    (void)num_tiles;
    UNROLL for (int r = 0; r < MAX_TILES; r++) UNROLL for (int t = 0; t < num_tokens; t++) a->hi[r][t] =
        a->lo[r][t] = _mm512_setzero_si512();
}

INLINE void accumulators_add(accumulators *a, const uint8_t *const *planes, const int bits, int group_size,
                             int octet, const int8_t *hi, const int8_t *lo, size_t cols, const int num_tiles,
                             const int num_tokens)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        __m512i q[MAX_TILES];
        UNROLL for (int r = 0; r < num_tiles; r++) q[r] = quad_values(planes[r], bits, group_size, octet, j);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            __m512i quad_hi = broadcast(hi + (size_t)t * cols + 4 * j);
            __m512i quad_lo = broadcast(lo + (size_t)t * cols + 4 * j);
            UNROLL for (int r = 0; r < num_tiles; r++)
            {
                const int chain = num_tiles == 1 ? j % MAX_TILES : r;
                a->hi[chain][t] = _mm512_dpbusd_epi32(a->hi[chain][t], q[r], quad_hi);
                a->lo[chain][t] = _mm512_dpbusd_epi32(a->lo[chain][t], q[r], quad_lo);
            }
        }
    }
}

// The products of hi alone, for the quads of a group whose bit is set: they come before those of lo.
INLINE void accumulators_add_wide(accumulators *a, const uint8_t *const *planes, const int bits, int group_size,
                                  unsigned quads, const int8_t *hi, size_t cols, const int num_tiles, const int num_tokens)
{
    for (; quads; quads &= quads - 1) {
        int quad = __builtin_ctz(quads);
        __m512i q[MAX_TILES];
        UNROLL for (int r = 0; r < num_tiles; r++) q[r] = any_quad_values(planes[r], bits, group_size, quad);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            __m512i quad_hi = broadcast(hi + (size_t)t * cols + 4 * quad);
            UNROLL for (int r = 0; r < num_tiles; r++) a->lo[r][t] = _mm512_dpbusd_epi32(a->lo[r][t], q[r], quad_hi);
        }
    }
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
        a->lo[r][t] = _mm512_slli_epi32(a->lo[r][t], 7);
}

INLINE void accumulators_add_narrow(accumulators *a, const uint8_t *const *planes, const int bits, int group_size,
                                    int octet, const int8_t *lo, size_t cols, const int num_tiles, const int num_tokens)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        __m512i q[MAX_TILES];
        UNROLL for (int r = 0; r < num_tiles; r++) q[r] = quad_values(planes[r], bits, group_size, octet, j);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            __m512i quad_lo = broadcast(lo + (size_t)t * cols + 4 * j);
            UNROLL for (int r = 0; r < num_tiles; r++)
            {
                const int chain = num_tiles == 1 ? j % MAX_TILES : r;
                a->lo[chain][t] = _mm512_dpbusd_epi32(a->lo[chain][t], q[r], quad_lo);
            }
        }
    }
}

INLINE ivec accumulators_sum(const accumulators *a, const int bits, const int r, const int t, const int num_tiles,
                             const int num_tokens, const bool narrow)
{
    (void)bits, (void)num_tokens;
    __m512i hi = a->hi[r][t], lo = a->lo[r][t];
    if (narrow) return num_tiles == 1 ? _mm512_add_epi32(lo, a->lo[1][t]) : lo;
    if (num_tiles == 1) hi = _mm512_add_epi32(hi, a->hi[1][t]), lo = _mm512_add_epi32(lo, a->lo[1][t]);
    return _mm512_add_epi32(_mm512_slli_epi32(hi, 7), lo);
}

#include "engine/cpu/kernels/matmul_affine_impl.h"

void matmul_affine_avx512(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_affine(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
