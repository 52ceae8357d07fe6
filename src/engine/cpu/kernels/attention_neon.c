// The attention kernels for 64-bit Arm.
#if defined(__aarch64__)
#include "engine/cpu/kernels/simd_neon.h"
#include "engine/cpu/kernels/attention_impl.h"
#include "engine/cpu/kernels/attention_integer_impl.h"
#include "engine/cpu/kernels/attention_high_impl.h"
#endif
