// The kernel functions by name, for the files that define them and for kernels.c, which puts them into tables.
// The field `rms_norm` of the table for avx2 is the function rms_norm_avx2; its type is the field's.
#ifndef ENGINE_CPU_TABLES_H
#define ENGINE_CPU_TABLES_H
#include "engine/cpu/kernels/kernels.h"

#define KERNEL_FIELDS(X, isa) \
    X(quantize_rows, isa) X(matmul_affine, isa) X(matmul_float, isa) \
    X(attention_page, isa) X(attention_query, isa) X(attention_segment, isa) X(attention_scores, isa) X(attention_values, isa) \
    X(attention_merge, isa) X(kv_store, isa) \
    X(rms_norm, isa) X(layer_norm, isa) X(rope, isa) X(activate, isa) X(add_scaled, isa) X(softcap, isa)

#define KERNEL_DECLARE(field, isa) __typeof__(*((const kernels *)0)->field) field##_##isa;

KERNEL_FIELDS(KERNEL_DECLARE, scalar)
#if defined(__x86_64__)
KERNEL_FIELDS(KERNEL_DECLARE, avx2)
KERNEL_FIELDS(KERNEL_DECLARE, avx512) // with VNNI and VBMI
#elif defined(__aarch64__)
KERNEL_FIELDS(KERNEL_DECLARE, neon) // with dot product and half-precision arithmetic
#endif

#endif
