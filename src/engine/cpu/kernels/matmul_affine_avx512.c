// Affine weights times 15-bit activations with VNNI: a register holds 16 rows of four inputs (a quad), a dot
// instruction adds their products with one token's quad, broadcast from memory, to 16 sums.
#include "engine/cpu/kernels/matmul_avx512.h"
#include "engine/cpu/kernels/tables.h"

// With more than 2 x 3 the compiler runs out of registers and spills: 2 x 4 is 8 % slower, 2 x 6 40 %.
#define MAX_TILES 2
#define MAX_TOKENS 3
enum { MAX_CHAINS = 4 };

INLINE __m512i broadcast(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, 4);
    return _mm512_set1_epi32(quad);
}

// A dot that was summed in several chains.
INLINE __m512i add_chains(const __m512i *chain, const int chains)
{
    if (chains == 1) return chain[0];
    __m512i sum = _mm512_add_epi32(chain[0], chain[1]);
    return chains == 2 ? sum : _mm512_add_epi32(sum, _mm512_add_epi32(chain[2], chain[3]));
}

INLINE void group_dots(const uint8_t *const *planes, const int bits, int group_size, const int8_t *hi,
                       const int8_t *lo, size_t cols, const int num_tiles, const int num_tokens,
                       ivec dots[MAX_TILES][MAX_TOKENS])
{
    // A dot waits for the one before it in the same sum: few sums need several chains to keep the processor busy.
    const int chains = num_tiles * num_tokens >= 4 ? 1 : num_tiles * num_tokens >= 2 ? 2 : 4;
    __m512i dots_hi[MAX_TILES][MAX_TOKENS][MAX_CHAINS], dots_lo[MAX_TILES][MAX_TOKENS][MAX_CHAINS];
    UNROLL for (int r = 0; r < num_tiles; r++)
        UNROLL for (int t = 0; t < num_tokens; t++)
            UNROLL for (int c = 0; c < chains; c++) dots_hi[r][t][c] = dots_lo[r][t][c] = _mm512_setzero_si512();
    for (int octet = 0; octet < group_size / 32; octet++, hi += 32, lo += 32) {
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
                    const int c = j % chains;
                    dots_hi[r][t][c] = _mm512_dpbusd_epi32(dots_hi[r][t][c], q[r], quad_hi);
                    dots_lo[r][t][c] = _mm512_dpbusd_epi32(dots_lo[r][t][c], q[r], quad_lo);
                }
            }
        }
    }
    UNROLL for (int r = 0; r < num_tiles; r++)
        UNROLL for (int t = 0; t < num_tokens; t++)
            dots[r][t] = _mm512_add_epi32(_mm512_slli_epi32(add_chains(dots_hi[r][t], chains), 7),
                                          add_chains(dots_lo[r][t], chains));
}

#include "engine/cpu/kernels/matmul_affine_impl.h"

void matmul_affine_avx512(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                          int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_affine(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
