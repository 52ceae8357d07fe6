// Weight matrices in the order the kernels read them. A matrix W [rows, cols] is cut into tiles of 16 rows; a tile
// is one stream of bytes from its first input to its last, so that one pass over it feeds 16 outputs at once
// and each SIMD lane of 32 bits belongs to one row. Rows are padded with zeros to a whole tile.
//
// Affine tile: for each group of `group_size` inputs
//     scales [16], biases [16]  in scale_type (2 or 4 bytes each)
//     planes: the bits of q, low ones first: 2 = 2 | 3 = 2+1 | 4 = 4 | 5 = 4+1 | 6 = 4+2 | 8 = 8 bits a plane.
//     A plane of width p is a run of 64-byte chunks; a chunk holds 8/p quads of inputs: byte 4*row + i of chunk c
//     has, in bits [p*j, p*j + p), q of input 4*(c*8/p + j) + i of that row.
// Dense tile: F32 [cols][16] · F16 [cols][16] · BF16 [cols/2][16][2] (two neighbouring inputs of a row side by side; an
//     odd last input is paired with zero).
#ifndef ENGINE_CPU_PACK_H
#define ENGINE_CPU_PACK_H
#include "engine/engine.h"

enum { TILE_ROWS = 16 };

typedef struct packed_matrix {
    dtype type;              // DTYPE_U32: affine; else dense
    int rows, cols, num_tiles;
    int bits, group_size;    // affine only
    dtype scale_type;        // affine only
    size_t tile_bytes;       // a multiple of 64
    uint8_t *data;           // [num_tiles][tile_bytes], 64-byte aligned; owned where packed_matrix_create made it
} packed_matrix;

// Checks that the view is of a kind this engine knows, and sets all but the data of a matrix of `rows` of its rows.
llm_status packed_matrix_shape(packed_matrix *m, const weight_view *view, int rows, llm_error *err);
// The same, and allocates the data (not filled).
llm_status packed_matrix_create(packed_matrix *m, const weight_view *view, int rows, llm_error *err);
void packed_matrix_free(packed_matrix *m);

// Fills tiles [tile_begin, tile_end) with rows from `row_begin` of the view on; several threads may fill different tiles.
void packed_matrix_fill(packed_matrix *m, const weight_view *view, int row_begin, int tile_begin, int tile_end);

// One row as float32 [cols]: an embedding look-up.
void packed_matrix_row(const packed_matrix *m, int row, float *out);

size_t packed_matrix_bytes(const packed_matrix *m);

#endif
