// Affine weights times integer activations in AVX2: a register holds 8 rows of four inputs (a quad). maddubs adds two
// neighbouring products to 16 bits and would saturate; so sums of 16 bits take as many quads as cannot overflow, then
// go to 32 bits, and weights of 8 bits go in as two halves of 4.
#include "engine/cpu/kernels/matmul_avx2.h"
#include "engine/cpu/kernels/tables.h"

// Sixteen registers: 16-bit sums of four tokens, or of the two halves of two tokens, take eight of them.
#define MAX_TOKENS 4
#define BEST_TOKENS 2
#define BEST_NARROW_TOKENS 4

enum { PAIR = 2 };

// Quads whose products fit 16 bits together: 2 * 127 * (2^bits - 1) * run < 2^15. 8 is as many as are added at
// once.
static inline int quads_per_run(const int bits)
{
    return bits <= 4 || bits == 8 ? 8 : bits == 5 ? 4 : 2;
}

static inline int parts_of(const int bits)
{
    return bits == 8 ? 2 : 1;
}

INLINE __m256i broadcast(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, 4);
    return _mm256_set1_epi32(quad);
}

// Part `part` of the weights of quad `j`: bits [4 * part, 4 * part + 4) of 8, all of fewer.
INLINE ivec quad_part(const uint8_t *planes, const int bits, int group_size, int octet, const int j, const int part)
{
    return bits == 8 ? plane_field(planes + (octet * 8 + j) * 64, 4, part, 0) : quad_values(planes, bits, group_size, octet, j);
}

INLINE ivec any_quad_part(const uint8_t *planes, const int bits, int group_size, int quad, const int part)
{
    return bits == 8 ? plane_field(planes + quad * 64, 4, part, 0) : any_quad_values(planes, bits, group_size, quad);
}

INLINE ivec ivec_zero(void)
{
    return (ivec){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

INLINE ivec add_products(ivec sums, ivec q, __m256i x)
{
    sums.a = _mm256_add_epi16(sums.a, _mm256_maddubs_epi16(q.a, x));
    sums.b = _mm256_add_epi16(sums.b, _mm256_maddubs_epi16(q.b, x));
    // or gcc makes a tree of the additions, all of whose leaves want a register at once
    __asm__("" : "+x"(sums.a), "+x"(sums.b));
    return sums;
}

// Pairs of 16-bit sums, times `factor`, added to 32-bit sums.
INLINE ivec widen(ivec sums, ivec pairs, const int factor)
{
    const __m256i by = _mm256_set1_epi16((short)factor);
    sums.a = _mm256_add_epi32(sums.a, _mm256_madd_epi16(pairs.a, by));
    sums.b = _mm256_add_epi32(sums.b, _mm256_madd_epi16(pairs.b, by));
    __asm__("" : "+x"(sums.a), "+x"(sums.b));
    return sums;
}

// Both products of one octet, for one or two tokens.
INLINE void octet_dots(const uint8_t *planes, const int bits, int group_size, int octet, const int part, const int8_t *hi,
                       const int8_t *lo, size_t cols, const int num_tokens, ivec *sums)
{
    const int run = quads_per_run(bits), unit = 1 << 4 * part;
    ivec sums_hi[PAIR], sums_lo[PAIR];
    UNROLL for (int j = 0; j < 8; j++)
    {
        ivec q = quad_part(planes, bits, group_size, octet, j, part);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            if (j % run == 0) sums_hi[t] = sums_lo[t] = ivec_zero();
            sums_hi[t] = add_products(sums_hi[t], q, broadcast(hi + (size_t)t * cols + 4 * j));
            sums_lo[t] = add_products(sums_lo[t], q, broadcast(lo + (size_t)t * cols + 4 * j));
            if (j % run == run - 1) sums[t] = widen(widen(sums[t], sums_hi[t], 128 * unit), sums_lo[t], unit);
        }
    }
}

// The products of lo alone.
INLINE void octet_dots_narrow(const uint8_t *planes, const int bits, int group_size, int octet, const int part, const int8_t *lo,
                              size_t cols, const int num_tokens, ivec *sums)
{
    const int run = quads_per_run(bits);
    ivec pairs[MAX_TOKENS];
    UNROLL for (int j = 0; j < 8; j++)
    {
        ivec q = quad_part(planes, bits, group_size, octet, j, part);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            if (j % run == 0) pairs[t] = ivec_zero();
            pairs[t] = add_products(pairs[t], q, broadcast(lo + (size_t)t * cols + 4 * j));
            if (j % run == run - 1) sums[t] = widen(sums[t], pairs[t], 1 << 4 * part);
        }
    }
}

typedef struct accumulators {
    ivec sums[MAX_TOKENS];
} accumulators;

INLINE void accumulators_clear(accumulators *a, const int num_tokens)
{
    UNROLL for (int t = 0; t < num_tokens; t++) a->sums[t] = ivec_zero();
}

// For tokens `t` and, if there is one, t + 1.
INLINE void add_pair(accumulators *a, const uint8_t *planes, const int bits, int group_size, int octet, const int8_t *hi,
                     const int8_t *lo, size_t cols, const int num_tokens, const int t)
{
    UNROLL for (int part = 0; part < parts_of(bits); part++)
        octet_dots(planes, bits, group_size, octet, part, hi + (size_t)t * cols, lo + (size_t)t * cols, cols,
                   num_tokens - t < PAIR ? num_tokens - t : PAIR, a->sums + t);
}

INLINE void accumulators_add(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                             int octet, const int8_t *hi, const int8_t *lo, size_t cols, const int num_tokens)
{
    _Static_assert(MAX_TOKENS <= 2 * PAIR, "two pairs at most");
    add_pair(a, planes, bits, group_size, octet, hi, lo, cols, num_tokens, 0);
    if (num_tokens > PAIR) add_pair(a, planes, bits, group_size, octet, hi, lo, cols, num_tokens, PAIR);
}

// The products of hi alone, for the quads of a group whose bit is set.
INLINE void wide_dots(const uint8_t *planes, const int bits, int group_size, unsigned quads, const int part, const int8_t *hi,
                      size_t cols, const int num_tokens, ivec *sums)
{
    while (quads) {
        ivec pairs[MAX_TOKENS];
        UNROLL for (int t = 0; t < num_tokens; t++) pairs[t] = ivec_zero();
        for (int i = 0; i < quads_per_run(bits) && quads; i++, quads &= quads - 1) {
            int quad = __builtin_ctz(quads);
            ivec q = any_quad_part(planes, bits, group_size, quad, part);
            UNROLL for (int t = 0; t < num_tokens; t++) pairs[t] =
                add_products(pairs[t], q, broadcast(hi + (size_t)t * cols + 4 * quad));
        }
        UNROLL for (int t = 0; t < num_tokens; t++) sums[t] = widen(sums[t], pairs[t], 128 << 4 * part);
    }
}

INLINE void accumulators_add_wide(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                  unsigned quads, const int8_t *hi, size_t cols, const int num_tokens)
{
    UNROLL for (int part = 0; part < parts_of(bits); part++)
        wide_dots(planes, bits, group_size, quads, part, hi, cols, num_tokens, a->sums);
}

INLINE void accumulators_add_narrow(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                    int octet, const int8_t *lo, size_t cols, const int num_tokens)
{
    UNROLL for (int part = 0; part < parts_of(bits); part++)
        octet_dots_narrow(planes, bits, group_size, octet, part, lo, cols, num_tokens, a->sums);
}

INLINE ivec accumulators_sum(const accumulators *a, const int bits, const int t, const bool narrow)
{
    (void)bits, (void)narrow;
    return a->sums[t];
}

#include "engine/cpu/kernels/matmul_affine_impl.h"

void matmul_affine_avx2(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                        int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_affine(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
