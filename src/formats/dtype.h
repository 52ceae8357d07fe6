// Element types of tensors, named as safetensors writes them, and conversion of float arrays.
#ifndef FORMATS_DTYPE_H
#define FORMATS_DTYPE_H
#include <stdbool.h>
#include <stddef.h>

// X(suffix of the enumerator and name in files, bytes an element)
#define DTYPE_LIST(X) \
    X(F32, 4) X(F16, 2) X(BF16, 2) X(U8, 1) X(I8, 1) X(U16, 2) X(I16, 2) X(U32, 4) X(I32, 4) X(U64, 8) X(I64, 8) \
    X(F64, 8) X(BOOL, 1)

typedef enum dtype {
#define X(name, size) DTYPE_##name,
    DTYPE_LIST(X)
#undef X
    DTYPE_COUNT
} dtype;

size_t dtype_size(dtype type);      // bytes an element
const char *dtype_name(dtype type); // "BF16", static
bool dtype_from_name(const char *name, size_t length, dtype *type); // false: unknown
bool dtype_is_float(dtype type);    // F32, F16, BF16, F64

// Converts `count` elements of a float type to float32, and back with rounding to nearest even. The untyped side
// need not be aligned: safetensors promises no alignment. False (nothing written) when `type` is no float type.
bool dtype_to_float(dtype type, const void *source, float *target, size_t count);
bool dtype_from_float(dtype type, const float *source, void *target, size_t count);

#endif
