// Products of a chunk's rows with weight matrices, for the forward pass.
#ifndef ENGINE_CPU_PRODUCTS_H
#define ENGINE_CPU_PRODUCTS_H
#include "engine/cpu/cpu_engine.h"

enum { ITEMS_PER_THREAD = 4 };

// Matrices that read the same input, and where their results go.
typedef struct matmul_group {
    const activations *input;
    const packed_matrix *matrices[3];
    float *results[3];
    size_t strides[3];
    int count;
} matmul_group;

// Adds a linear, if the model has it. Its results come without bias.
void matmul_group_add(matmul_group *group, const cpu_linear *linear, float *result, size_t stride);
// All products of the group, as one job of the pool.
void matmul_group_run(cpu_model *model, const matmul_group *group, int num_rows);
// Makes the integers of a row of work.input that the group's matrices read; activations_shape has said how wide they are.
void matmul_group_quantize(cpu_model *model, const matmul_group *group, int row, bool narrow);

// Sets the shape of the integer forms.
void activations_shape(activations *input, int cols, int rows);
bool uses_integers(const cpu_model *model, const packed_matrix *matrix);
const quantized_rows *activations_integers(const activations *input, const packed_matrix *matrix);
// Results of tiles [tile, tile_end) for rows [row, row_end), on this thread.
void multiply_tiles(const cpu_model *model, const activations *input, const packed_matrix *matrix, int tile, int tile_end,
                    int row, int row_end, float *result, size_t stride);

#endif
