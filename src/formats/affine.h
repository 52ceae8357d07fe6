// MLX's affine quantisation, w = scale * q + bias, in plain C: the oracle of every engine, and what converts
// models. A matrix is [rows, columns]; groups of `group_size` columns share a scale and a bias. The q of a
// row form one little-endian bit stream, column 0 in the lowest bits: `bits` bits each, columns * bits / 32
// uint32 words a row (3, 5 and 6 bits straddle words; every 32 columns end on one). Scales and biases are
// [rows, columns / group_size].
#ifndef FORMATS_AFFINE_H
#define FORMATS_AFFINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "formats/dtype.h"

bool affine_supported(int bits, int group_size); // 2, 3, 4, 5, 6, 8 and 32, 64, 128

// Bytes of a packed row. `columns` is a multiple of 32.
static inline size_t affine_row_size(size_t columns, int bits) { return columns / 8 * (size_t)bits; }

// A quantised matrix as its three tensors lie in a file: no alignment is assumed.
typedef struct affine_matrix {
    const void *weight; // [rows, columns * bits / 32] uint32
    const void *scales; // [rows, columns / group_size] of scale_type
    const void *biases; // likewise
    dtype scale_type;   // F32, F16 or BF16
    size_t rows, columns;
    int bits, group_size;
} affine_matrix;

// Rows [first, first + count): q as one byte a value into [count, columns], and w as float32 likewise
// (scale * q, rounded, + bias, rounded: what MLX's float32 dequantisation gives).
void affine_unpack(const affine_matrix *m, size_t first, size_t count, uint8_t *values);
void affine_dequantize(const affine_matrix *m, size_t first, size_t count, float *values);

// Packs bytes (each < 2^bits) of `count` values, a multiple of 32, into count * bits / 8 bytes.
void affine_pack(const uint8_t *values, size_t count, int bits, void *packed);

// Quantises [rows, columns] of F32, F16 or BF16 to what mx.quantize gives, bit for bit: sums in float32,
// scales and biases stored in the input's type. `columns` is a multiple of group_size. Rows are independent:
// callers may split.
void affine_quantize(dtype type, const void *source, size_t rows, size_t columns, int bits, int group_size,
                     void *weight, void *scales, void *biases);

#endif
