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

void quantize_rows_avx2(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        if (narrow) {
            quantize_rows_scalar(x, x_stride, 1, true, out, row);
            continue;
        }
        mark_row(out, row, false);
        for (int group = 0; group < num_groups; group++) {
            const float *source = x + group * size;
            size_t at = (size_t)row * (size_t)out->cols + (size_t)(group * size);
            size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
            quantize_scale scale = quantize_scale_of(largest_magnitude(source, size));
            __m256 inverse = _mm256_set1_ps(scale.inverse);
            __m256i sum = _mm256_setzero_si256();
            for (int i = 0; i < size; i += 32) {
                __m256i hi[4], lo[4];
                UNROLL for (int k = 0; k < 4; k++)
                {
                    __m256i q = quantize_8(source + i + 8 * k, inverse);
                    hi[k] = _mm256_srai_epi32(_mm256_add_epi32(q, _mm256_set1_epi32(64)), 7);
                    lo[k] = _mm256_sub_epi32(q, _mm256_slli_epi32(hi[k], 7));
                    sum = _mm256_add_epi32(sum, q);
                }
                store_bytes(out->hi + at + i, hi);
                store_bytes(out->lo + at + i, lo);
            }
            out->scale[index] = scale.scale;
            out->sum[index] = (float)sum_of(sum) * scale.scale;
        }
    }
}
