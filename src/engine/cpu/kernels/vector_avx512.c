// The vector kernels for AVX-512.
#if defined(__x86_64__)
#include "engine/cpu/kernels/simd_avx512.h"
#include "engine/cpu/kernels/vector_impl.h"
#endif
