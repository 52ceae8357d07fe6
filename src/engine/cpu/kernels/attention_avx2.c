// The attention kernels for AVX2.
#if defined(__x86_64__)
#include "engine/cpu/kernels/simd_avx2.h"
#include "engine/cpu/kernels/attention_impl.h"
#include "engine/cpu/kernels/attention_integer_impl.h"
#include "engine/cpu/kernels/attention_high_impl.h"
#endif
