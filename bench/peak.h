// Independent integer dots from registers: the most that a thread of this processor can do.
#ifndef PEAK_H
#define PEAK_H
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>

// Each function does PEAK_CHAINS dots a loop (that of AVX2 half as many). `seed` keeps the compiler from knowing the sums,
// which are returned so that they are wanted.
enum { PEAK_CHAINS = 16 };

#define PEAK_DOTS(name, isa, dot)                                                                            \
    __attribute__((target(isa))) static inline uint64_t name(int seed, int loops)                            \
    {                                                                                                        \
        __m512i sums[PEAK_CHAINS], a = _mm512_set1_epi32(seed), b = _mm512_set1_epi32(3);                    \
        uint64_t total = 0;                                                                                  \
        for (int k = 0; k < PEAK_CHAINS; k++) sums[k] = a;                                                   \
        for (int i = 0; i < loops; i++) {                                                                    \
            _Pragma("GCC unroll 16") for (int k = 0; k < PEAK_CHAINS; k++) sums[k] = dot(sums[k], a, b);     \
            __asm__ volatile("" : "+v"(a));                                                                  \
        }                                                                                                    \
        for (int k = 0; k < PEAK_CHAINS; k++) total += (uint64_t)_mm512_reduce_add_epi32(sums[k]);           \
        return total;                                                                                        \
    }
PEAK_DOTS(peak_dots_8, "avx512f,avx512vnni", _mm512_dpbusd_epi32)  // 64 products of 8 bits each
PEAK_DOTS(peak_dots_16, "avx512f,avx512vnni", _mm512_dpwssd_epi32) // 32 products of 16 bits each

__attribute__((target("avx2"))) static inline uint64_t peak_dots_avx2(int seed, int loops)
{
    __m256i sums[PEAK_CHAINS / 2], a = _mm256_set1_epi32(seed), b = _mm256_set1_epi32(3);
    uint64_t total = 0;
    for (int k = 0; k < PEAK_CHAINS / 2; k++) sums[k] = a;
    for (int i = 0; i < loops; i++) {
#pragma GCC unroll 16
        for (int k = 0; k < PEAK_CHAINS / 2; k++) {
            sums[k] = _mm256_add_epi16(sums[k], _mm256_maddubs_epi16(a, b));
            __asm__ volatile("" : "+x"(a)); // or one product serves all sums
        }
    }
    for (int k = 0; k < PEAK_CHAINS / 2; k++) total += (uint64_t)_mm256_extract_epi32(sums[k], 0);
    return total;
}
#endif

#endif
