// The vector kernels for 64-bit Arm.
#if defined(__aarch64__)
#include "engine/cpu/kernels/simd_neon.h"
#include "engine/cpu/kernels/vector_impl.h"
#endif
