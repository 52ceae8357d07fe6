// Activations to 15-bit integers in AVX-512: 16 inputs at a time, bit for bit what quantize_scalar.c gives.
#include "engine/cpu/kernels/matmul_avx512.h"
#include "engine/cpu/kernels/quantize.h"
#include "engine/cpu/kernels/tables.h"

static float largest_magnitude(const float *x, int count)
{
    __m512i largest = _mm512_setzero_si512(), mask = _mm512_set1_epi32(0x7FFFFFFF);
    for (int i = 0; i < count; i += 16)
        largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_loadu_si512(x + i), mask));
    return bits_to_float(_mm512_reduce_max_epu32(largest));
}

// Clamps as the plain C does: both comparisons take the bound when the value is a NaN.
INLINE __m512i quantize_16(const float *x, __m512 inverse)
{
    __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x), inverse);
    scaled = _mm512_min_ps(scaled, _mm512_set1_ps(QUANTIZE_MAX));
    scaled = _mm512_max_ps(scaled, _mm512_set1_ps(-QUANTIZE_MAX));
    return _mm512_cvtps_epi32(scaled);
}

void quantize_rows_avx512(const float *x, size_t x_stride, int num_rows, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride)
        for (int group = 0; group < num_groups; group++) {
            const float *source = x + group * size;
            size_t at = (size_t)row * (size_t)out->cols + (size_t)(group * size);
            size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
            quantize_scale scale = quantize_scale_of(largest_magnitude(source, size));
            __m512 inverse = _mm512_set1_ps(scale.inverse);
            __m512i sum = _mm512_setzero_si512();
            for (int i = 0; i < size; i += 16) {
                __m512i q = quantize_16(source + i, inverse);
                __m512i hi = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
                __m512i lo = _mm512_sub_epi32(q, _mm512_slli_epi32(hi, 7));
                sum = _mm512_add_epi32(sum, q);
                _mm_storeu_si128((__m128i *)(void *)(out->hi + at + i), _mm512_cvtepi32_epi8(hi));
                _mm_storeu_si128((__m128i *)(void *)(out->lo + at + i), _mm512_cvtepi32_epi8(lo));
            }
            out->scale[index] = scale.scale;
            out->sum[index] = (float)_mm512_reduce_add_epi32(sum) * scale.scale;
        }
}
