// Kernels that count their dots, those of a thread in its counters (counted_avx512.c).
#ifndef COUNTED_H
#define COUNTED_H
#include "engine/cpu/kernels/tables.h"
#if defined(__x86_64__)
extern _Thread_local uint64_t counted_dots_8, counted_dots_16; // instructions: 64 products of 8 bits, 32 of 16 bits
KERNEL_FIELDS(KERNEL_DECLARE, counted)
#endif

#endif
