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

// The largest magnitude of each quad of a row.
static void quad_magnitudes(const float *x, int cols, uint32_t *magnitudes)
{
    __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
    for (int i = 0; i < cols; i += 16) {
        __m512i v = _mm512_and_si512(_mm512_loadu_si512(x + i), mask);
        v = _mm512_max_epu32(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB));
        v = _mm512_max_epu32(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
        __m512i packed = _mm512_maskz_compress_epi32(0x1111, v);
        _mm_storeu_si128((__m128i *)(void *)(magnitudes + i / 4), _mm512_castsi512_si128(packed));
    }
}

static int count_from(const uint32_t *magnitudes, int num_quads, uint32_t least)
{
    __m512i bound = _mm512_set1_epi32((int)least);
    unsigned count = 0;
    int i = 0;
    for (; i + 32 <= num_quads; i += 32) {
        __mmask16 first = _mm512_cmpge_epu32_mask(_mm512_loadu_si512(magnitudes + i), bound);
        __mmask16 second = _mm512_cmpge_epu32_mask(_mm512_loadu_si512(magnitudes + i + 16), bound);
        count += (unsigned)__builtin_popcount(_mm512_kunpackw(first, second));
    }
    for (; i < num_quads; i += 16) {
        __mmask16 exist = (__mmask16)(num_quads - i < 16 ? (1 << (num_quads - i)) - 1 : 0xFFFF);
        __m512i values = _mm512_maskz_loadu_epi32(exist, magnitudes + i);
        count += (unsigned)__builtin_popcount(_mm512_mask_cmpge_epu32_mask(exist, values, bound));
    }
    return (int)count;
}

static void quantize_narrow_row(const float *x, const quantized_rows *out, int row)
{
    int size = out->group_size, num_groups = out->cols / size;
    int8_t *hi = row_of(out->hi, out, row), *lo = row_of(out->lo, out, row);
    uint8_t *wide = out->wide + (size_t)row * (size_t)(out->cols / 32);
    uint32_t *magnitudes = (uint32_t *)(void *)lo; // until the group's turn comes: both have four bytes a quad
    quad_magnitudes(x, out->cols, magnitudes);
    uint32_t limit = narrow_limit(magnitudes, out->cols / 4, count_from);
    for (int group = 0; group < num_groups; group++, x += size, hi += size, lo += size) {
        size_t index = (size_t)row * (size_t)num_groups + (size_t)group;
        quantize_scale scale = narrow_scale_of(float_to_bits(largest_magnitude(x, size)), limit);
        __m512 inverse = _mm512_set1_ps(scale.inverse);
        __m512i sum = _mm512_setzero_si512();
        for (int i = 0; i < size; i += 16) {
            __m512i q = quantize_16(x + i, inverse);
            unsigned large = _mm512_cmpgt_epi32_mask(_mm512_abs_epi32(q), _mm512_set1_epi32(127));
            large |= large >> 1, large = (large | large >> 2) & 0x1111u; // a bit for each quad
            __m512i top = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
            top = _mm512_maskz_mov_epi32((__mmask16)(large * 15), top);
            sum = _mm512_add_epi32(sum, q);
            _mm_storeu_si128((__m128i *)(void *)(hi + i), _mm512_cvtepi32_epi8(top));
            _mm_storeu_si128((__m128i *)(void *)(lo + i), _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, _mm512_slli_epi32(top, 7))));
            large = (large | large >> 3 | large >> 6 | large >> 9) & 15;
            wide[(group * size + i) / 32] |= (uint8_t)(large << i % 32 / 4);
        }
        out->scale[index] = scale.scale;
        out->sum[index] = (float)_mm512_reduce_add_epi32(sum) * scale.scale;
    }
}

void quantize_rows_avx512(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first)
{
    int size = out->group_size, num_groups = out->cols / size;
    for (int row = first; row < first + num_rows; row++, x += x_stride) {
        mark_row(out, row, narrow);
        if (narrow) {
            quantize_narrow_row(x, out, row);
            continue;
        }
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
}
