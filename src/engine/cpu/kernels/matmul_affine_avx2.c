// Affine weights times 15-bit activations in AVX2: a register holds 8 rows of four inputs (a quad).
// maddubs adds two neighbouring products to 16 bits and would saturate; so sums of 16 bits take as many quads as
// cannot overflow, then go to 32 bits, and 8-bit weights go in as their low 7 bits and their top bit.
#include "engine/cpu/kernels/matmul_avx2.h"
#include "engine/cpu/kernels/tables.h"

#define HAS_NARROW 0
#define MAX_TILES 1
#define MAX_TOKENS 2
#define BEST_TOKENS 2
#define BEST_NARROW_TOKENS 2

// Quads whose products fit 16 bits together: 2 * 127 * (2^bits - 1) * run < 2^15. 8 is as many as are added at
// once.
static inline int quads_per_run(const int bits)
{
    return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
}

INLINE __m256i broadcast(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, 4);
    return _mm256_set1_epi32(quad);
}

INLINE __m256i add_products(__m256i sums, __m256i q, __m256i x)
{
    sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(q, x));
    __asm__("" : "+x"(sums)); // or gcc makes a tree of the additions, all of whose leaves want a register at once
    return sums;
}

// Pairs of 16-bit sums, times `factor`, added to 32-bit sums.
INLINE __m256i widen(__m256i sums, __m256i pairs, const int factor)
{
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16((short)factor)));
    __asm__("" : "+x"(sums));
    return sums;
}

// The sums of one octet, up to 6 bits.
INLINE void octet_dots(const uint8_t *planes, const int bits, int group_size, int octet, const int8_t *hi,
                       const int8_t *lo, size_t cols, const int num_tokens, ivec *sums)
{
    const int run = quads_per_run(bits);
    ivec sums_hi[MAX_TOKENS], sums_lo[MAX_TOKENS];
    UNROLL for (int j = 0; j < 8; j++)
    {
        ivec q = quad_values(planes, bits, group_size, octet, j);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            __m256i x_hi = broadcast(hi + (size_t)t * cols + 4 * j),
                    x_lo = broadcast(lo + (size_t)t * cols + 4 * j);
            if (j % run == 0) sums_hi[t] = sums_lo[t] = (ivec){_mm256_setzero_si256(), _mm256_setzero_si256()};
            sums_hi[t].a = add_products(sums_hi[t].a, q.a, x_hi);
            sums_hi[t].b = add_products(sums_hi[t].b, q.b, x_hi);
            sums_lo[t].a = add_products(sums_lo[t].a, q.a, x_lo);
            sums_lo[t].b = add_products(sums_lo[t].b, q.b, x_lo);
            if (j % run < run - 1) continue;
            sums[t].a = widen(widen(sums[t].a, sums_hi[t].a, 128), sums_lo[t].a, 1);
            sums[t].b = widen(widen(sums[t].b, sums_hi[t].b, 128), sums_lo[t].b, 1);
        }
    }
}

// One register of 8-bit values: 127 * 127 * 2 and 127 * 2 fit 16 bits.
INLINE __m256i add_bytes(__m256i sums, __m256i q, __m256i x_hi, __m256i x_lo)
{
    __m256i low = _mm256_and_si256(q, _mm256_set1_epi8(127));
    __m256i top = _mm256_and_si256(_mm256_srli_epi16(q, 7), _mm256_set1_epi8(1));
    sums = widen(sums, _mm256_maddubs_epi16(low, x_hi), 128);
    sums = widen(sums, _mm256_maddubs_epi16(top, x_hi), 128 * 128);
    sums = widen(sums, _mm256_maddubs_epi16(low, x_lo), 1);
    return widen(sums, _mm256_maddubs_epi16(top, x_lo), 128);
}

INLINE void octet_dots_8bits(const uint8_t *planes, int octet, const int8_t *hi, const int8_t *lo, size_t cols,
                             const int num_tokens, ivec *sums)
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        ivec q = ivec_load(planes + (octet * 8 + j) * 64);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            __m256i x_hi = broadcast(hi + (size_t)t * cols + 4 * j),
                    x_lo = broadcast(lo + (size_t)t * cols + 4 * j);
            sums[t].a = add_bytes(sums[t].a, q.a, x_hi, x_lo);
            sums[t].b = add_bytes(sums[t].b, q.b, x_hi, x_lo);
        }
    }
}

typedef struct accumulators {
    ivec sums[MAX_TOKENS];
} accumulators;

INLINE void accumulators_clear(accumulators *a, const int num_tiles, const int num_tokens)
{
    (void)num_tiles;
    UNROLL for (int t = 0; t < num_tokens; t++) a->sums[t] =
        (ivec){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

INLINE void accumulators_add(accumulators *a, const uint8_t *const *planes, const int bits, int group_size,
                             int octet, const int8_t *hi, const int8_t *lo, size_t cols, const int num_tiles,
                             const int num_tokens)
{
    (void)num_tiles;
    if (bits == 8)
        octet_dots_8bits(planes[0], octet, hi, lo, cols, num_tokens, a->sums);
    else
        octet_dots(planes[0], bits, group_size, octet, hi, lo, cols, num_tokens, a->sums);
}

INLINE ivec accumulators_sum(const accumulators *a, const int bits, const int r, const int t, const int num_tiles,
                             const int num_tokens, const bool narrow)
{
    (void)narrow;
    (void)bits, (void)r, (void)num_tiles, (void)num_tokens;
    return a->sums[t];
}

#include "engine/cpu/kernels/matmul_affine_impl.h"

void matmul_affine_avx2(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                        int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_affine(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
