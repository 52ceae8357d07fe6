// The integer kernels for AVX-512 from their own sources, where each dot that is executed counts itself: for bench_prefill.c.
#include "counted.h"
#if defined(__x86_64__)
#include <immintrin.h>

_Thread_local uint64_t counted_dots_8, counted_dots_16;

static inline __m512i counted_dpbusd(__m512i sums, __m512i a, __m512i b)
{
    counted_dots_8++;
    return _mm512_dpbusd_epi32(sums, a, b);
}
#define _mm512_dpbusd_epi32 counted_dpbusd
#define matmul_affine_avx512 matmul_affine_counted
#include "engine/cpu/kernels/matmul_affine_avx512.c"

#include "engine/cpu/kernels/simd_avx512.h"
static inline vpairs counted_dot_pairs(vpairs sums, vpairs a, vpairs b)
{
    counted_dots_16++;
    return v_dot_pairs(sums, a, b);
}
#define v_dot_pairs counted_dot_pairs
#define prefetch prefetch_page // both kernels have one
#undef KERNEL
#define KERNEL(name) name##_counted
#include "engine/cpu/kernels/attention_impl.h"
#include "engine/cpu/kernels/attention_integer_impl.h"
#include "engine/cpu/kernels/attention_high_impl.h"
#endif
