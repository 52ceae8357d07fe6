// Affine weights times integer activations with the signed dot product of Armv8.2: a register holds 4 rows of four
// inputs (a quad). Weights of 8 bits are lowered by 128 to fit a signed byte; 128 times the sum of the activations
// then makes up for it.
#include "engine/cpu/kernels/matmul_neon.h"
#include "engine/cpu/kernels/tables.h"

// Thirty-two registers: the sums of four tokens, or both sums of two tokens, take sixteen of them.
#define MAX_TOKENS 4
#define BEST_TOKENS 2
#define BEST_NARROW_TOKENS 4

enum { PAIR = 2 };

// Adds four quads of one token's activations, lane by lane, to the sums of four rows each.
#define ADD_QUAD(sums, q, x, lane)                                                                                \
    FOUR sums.v[k] = vdotq_laneq_s32(sums.v[k], vreinterpretq_s8_u8(q.v[k]), x, lane)

INLINE ivec ivec_splat(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (ivec){{v, v, v, v}};
}

INLINE quad_bytes signed_values(const uint8_t *planes, const int bits, int group_size, int octet, const int j)
{
    quad_bytes q = quad_values(planes, bits, group_size, octet, j);
    if (bits == 8) FOUR q.v[k] = veorq_u8(q.v[k], vdupq_n_u8(128));
    return q;
}

typedef struct accumulators {
    ivec hi[MAX_TOKENS], lo[MAX_TOKENS];
    int32x4_t offsets[MAX_TOKENS]; // sums of the activations, 8 bits only
} accumulators;

// Half an octet: 16 inputs, of `num_tokens` tokens from `first` on.
INLINE void add_half(accumulators *a, const uint8_t *planes, const int bits, int group_size, int octet,
                     const int half, const int8_t *hi, const int8_t *lo, size_t cols, const int first, const int num_tokens)
{
    int8x16_t x_hi[PAIR], x_lo[PAIR];
    int32x4_t *offsets = a->offsets + first;
    UNROLL for (int t = 0; t < num_tokens; t++)
    {
        x_hi[t] = vld1q_s8(hi + (size_t)t * cols + 16 * half);
        x_lo[t] = vld1q_s8(lo + (size_t)t * cols + 16 * half);
        if (bits == 8) { // 128 * hi + lo
            offsets[t] = vaddq_s32(offsets[t], vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), x_hi[t], vdupq_n_s8(1)), 7));
            offsets[t] = vdotq_s32(offsets[t], x_lo[t], vdupq_n_s8(1));
        }
    }
#define ADD_LANE(lane)                                                                                            \
    {                                                                                                             \
        quad_bytes q = signed_values(planes, bits, group_size, octet, 4 * half + lane);                           \
        UNROLL for (int t = 0; t < num_tokens; t++)                                                               \
        {                                                                                                         \
            ADD_QUAD(a->hi[first + t], q, x_hi[t], lane);                                                         \
            ADD_QUAD(a->lo[first + t], q, x_lo[t], lane);                                                         \
        }                                                                                                         \
    }
    ADD_LANE(0) ADD_LANE(1) ADD_LANE(2) ADD_LANE(3)
#undef ADD_LANE
}

INLINE void accumulators_clear(accumulators *a, const int num_tokens)
{
    UNROLL for (int t = 0; t < num_tokens; t++)
    {
        a->hi[t] = a->lo[t] = ivec_splat(0);
        a->offsets[t] = vdupq_n_s32(0);
    }
}

INLINE void accumulators_add(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                             int octet, const int8_t *hi, const int8_t *lo, size_t cols, const int num_tokens)
{
    UNROLL for (int first = 0; first < num_tokens; first += PAIR)
    {
        const size_t at = (size_t)first * cols;
        const int count = num_tokens - first < PAIR ? num_tokens - first : PAIR;
        add_half(a, planes, bits, group_size, octet, 0, hi + at, lo + at, cols, first, count);
        add_half(a, planes, bits, group_size, octet, 1, hi + at, lo + at, cols, first, count);
    }
}

// The products of hi alone, for the quads of a group whose bit is set: they come before those of lo.
INLINE void accumulators_add_wide(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                  unsigned quads, const int8_t *hi, size_t cols, const int num_tokens)
{
    for (; quads; quads &= quads - 1) {
        int quad = __builtin_ctz(quads);
        quad_bytes q = signed_values(planes, bits, group_size, 0, quad);
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            int32_t four;
            memcpy(&four, hi + (size_t)t * cols + 4 * quad, 4);
            int32x4_t x = vdupq_n_s32(four);
            FOUR a->lo[t].v[k] = vdotq_s32(a->lo[t].v[k], vreinterpretq_s8_u8(q.v[k]), vreinterpretq_s8_s32(x));
            if (bits == 8) // one lane: the sum of the offsets takes all
                a->offsets[t] = vdotq_s32(a->offsets[t], vreinterpretq_s8_s32(vsetq_lane_s32(four, vdupq_n_s32(0), 0)), vdupq_n_s8(1));
        }
    }
    UNROLL for (int t = 0; t < num_tokens; t++)
    {
        FOUR a->lo[t].v[k] = vshlq_n_s32(a->lo[t].v[k], 7);
        a->offsets[t] = vshlq_n_s32(a->offsets[t], 7);
    }
}

INLINE void accumulators_add_narrow(accumulators *a, const uint8_t *planes, const int bits, int group_size,
                                    int octet, const int8_t *lo, size_t cols, const int num_tokens)
{
    UNROLL for (int half = 0; half < 2; half++)
    {
        int8x16_t x[MAX_TOKENS];
        UNROLL for (int t = 0; t < num_tokens; t++)
        {
            x[t] = vld1q_s8(lo + (size_t)t * cols + 16 * half);
            if (bits == 8) a->offsets[t] = vdotq_s32(a->offsets[t], x[t], vdupq_n_s8(1));
        }
#define ADD_LANE(lane)                                                                                            \
    {                                                                                                             \
        quad_bytes q = signed_values(planes, bits, group_size, octet, 4 * half + lane);                        \
        UNROLL for (int t = 0; t < num_tokens; t++) ADD_QUAD(a->lo[t], q, x[t], lane);                            \
    }
        ADD_LANE(0) ADD_LANE(1) ADD_LANE(2) ADD_LANE(3)
#undef ADD_LANE
    }
}

INLINE ivec accumulators_sum(const accumulators *a, const int bits, const int t, const bool narrow)
{
    ivec sum = a->lo[t], offset = ivec_splat(bits == 8 ? 128 * vaddvq_s32(a->offsets[t]) : 0);
    if (!narrow) FOUR sum.v[k] = vaddq_s32(vshlq_n_s32(a->hi[t].v[k], 7), sum.v[k]);
    FOUR sum.v[k] = vaddq_s32(sum.v[k], offset.v[k]);
    return sum;
}

#include "engine/cpu/kernels/matmul_affine_impl.h"

void matmul_affine_neon(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x,
                        int token_begin, int token_end, float *y, size_t y_stride)
{
    matmul_affine(w, tile_begin, tile_end, x, token_begin, token_end, y, y_stride);
}
