// Activations to 15-bit integers in AVX2: 32 inputs at a time, bit for bit what quantize_scalar.c gives.
#include "engine/cpu/kernels/matmul_avx2.h"
#include "engine/cpu/kernels/quantize.h"
#include "engine/cpu/kernels/tables.h"

static float largest_magnitude(const float *x, int count)
{
    __m256i largest = _mm256_setzero_si256(), mask = _mm256_set1_epi32(0x7FFFFFFF);
    for (int i = 0; i < count; i += 8)
        largest = _mm256_max_epi32(
            largest, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)(x + i)), mask));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
    return bits_to_float((uint32_t)_mm_cvtsi128_si32(half));
}

static int32_t sum_of(__m256i v)
{
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(half);
}

// Clamps as the plain C does: both comparisons take the bound when the value is a NaN.
INLINE __m256i quantize_8(const float *x, __m256 inverse)
{
    __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    scaled = _mm256_min_ps(scaled, _mm256_set1_ps(QUANTIZE_MAX));
    scaled = _mm256_max_ps(scaled, _mm256_set1_ps(-QUANTIZE_MAX));
    return _mm256_cvtps_epi32(scaled);
}

// 4 x 8 numbers that fit a byte, in order.
INLINE void store_bytes(int8_t *target, const __m256i *v)
{
    __m256i words_0 = _mm256_packs_epi32(v[0], v[1]), words_1 = _mm256_packs_epi32(v[2], v[3]);
    __m256i bytes = _mm256_packs_epi16(words_0, words_1); // each pack interleaves the 128-bit halves
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)target, bytes);
}

// The largest of each 128-bit half, in all of its lanes.
INLINE __m256i largest_of_quads(__m256i v)
{
    v = _mm256_max_epi32(v, _mm256_shuffle_epi32(v, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm256_max_epi32(v, _mm256_shuffle_epi32(v, _MM_SHUFFLE(1, 0, 3, 2)));
}

// The largest magnitude of each quad of a row.
static void quad_magnitudes(const float *x, int cols, uint32_t *magnitudes)
{
    const __m256i mask = _mm256_set1_epi32(0x7FFFFFFF), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < cols; i += 32) {
        __m256i v[4];
        UNROLL for (int k = 0; k < 4; k++) v[k] = largest_of_quads(
            _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)(x + i + 8 * k)), mask));
        __m256i all = _mm256_unpacklo_epi64(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpacklo_epi32(v[2], v[3]));
        _mm256_storeu_si256((__m256i *)(void *)(magnitudes + i / 4), _mm256_permutevar8x32_epi32(all, order));
    }
}

// Magnitudes and the bound are not negative.
static int count_from(const uint32_t *magnitudes, int num_quads, uint32_t least)
{
    __m256i below = _mm256_set1_epi32((int)least - 1), count = _mm256_setzero_si256();
    for (int i = 0; i < num_quads; i += 8)
        count = _mm256_sub_epi32(
            count, _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(magnitudes + i)), below));
    return sum_of(count);
}

// Integers to hi and lo. In a narrow row hi stays 0 in quads that fit 8 bits; returns a bit for each of the others.
INLINE unsigned split_32(const float *x, __m256 inverse, const bool narrow, int8_t *hi, int8_t *lo, __m256i *sum)
{
    __m256i top[4], rest[4];
    unsigned wide = 0;
    UNROLL for (int k = 0; k < 4; k++)
    {
        __m256i q = quantize_8(x + 8 * k, inverse);
        top[k] = _mm256_srai_epi32(_mm256_add_epi32(q, _mm256_set1_epi32(64)), 7);
        if (narrow) {
            __m256i large = _mm256_cmpgt_epi32(largest_of_quads(_mm256_abs_epi32(q)), _mm256_set1_epi32(127));
            top[k] = _mm256_and_si256(top[k], large);
            unsigned lanes = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(large));
            wide |= ((lanes & 1) | (lanes >> 3 & 2)) << 2 * k;
        }
        rest[k] = _mm256_sub_epi32(q, _mm256_slli_epi32(top[k], 7));
        *sum = _mm256_add_epi32(*sum, q);
    }
    store_bytes(hi, top);
    store_bytes(lo, rest);
    return wide;
}

static void quantize_row(const float *x, const quantized_rows *out, int row, uint32_t limit, const bool narrow)
{
    int size = out->group_size, num_groups = out->cols / size;
    int8_t *hi = row_of(out->hi, out, row), *lo = row_of(out->lo, out, row);
    for (int group = 0; group < num_groups; group++) {
        const float *source = x + group * size;
        size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
        float largest = largest_magnitude(source, size);
        quantize_scale scale = narrow ? narrow_scale_of(float_to_bits(largest), limit) : quantize_scale_of(largest);
        __m256 inverse = _mm256_set1_ps(scale.inverse);
        __m256i sum = _mm256_setzero_si256();
        for (int i = group * size; i < (group + 1) * size; i += 32) {
            unsigned wide = split_32(x + i, inverse, narrow, hi + i, lo + i, &sum);
            if (narrow) out->wide[((size_t)row * (size_t)out->cols + (size_t)i) / 32] = (uint8_t)wide;
        }
        out->scale[index] = scale.scale;
        out->sum[index] = (float)sum_of(sum) * scale.scale;
    }
}

void quantize_rows_avx2(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        mark_row(out, row, narrow);
        if (narrow) {
            uint32_t *magnitudes = (uint32_t *)(void *)row_of(out->lo, out, row); // room for them until lo is written
            quad_magnitudes(x, out->cols, magnitudes);
            quantize_row(x, out, row, narrow_limit(magnitudes, out->cols / 4, count_from), true);
        } else {
            quantize_row(x, out, row, 0, false);
        }
    }
}
