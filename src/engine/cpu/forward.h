// Inside the forward pass: a chunk of rows, the steps over its rows, and the products that read what these make.
#ifndef ENGINE_CPU_FORWARD_H
#define ENGINE_CPU_FORWARD_H
#include "engine/cpu/cpu_engine.h"

// One chunk: rows of several sequences.
typedef struct chunk {
    cpu_model *model;
    const block_desc *desc;   // of the layer that runs
    cpu_block *block;
    int layer;
    int num_rows, num_spans, num_logit_rows;
    int first_logit_row;      // of those whose logits are computed together
    chunk_span *spans;
    bool adapted;             // some sequence has adapters
    bool own;                 // few rows, no adapters: each thread makes the inputs of products for itself
    int32_t tokens[MAX_CHUNK_ROWS];
    int positions[MAX_CHUNK_ROWS];
    int spans_of[MAX_CHUNK_ROWS];       // row -> span
    bool narrow[MAX_CHUNK_ROWS];        // the row is part of a prompt: its activations are quantised with fewer bits
    int logit_rows[MAX_CHUNK_ROWS];     // rows whose logits are wanted
} chunk;

// Where a step over rows finds the residual stream, and puts what it makes: buffers that all threads share, or a thread's own.
typedef struct row_buffers {
    float *hidden, *result;   // rows of work.hidden_stride
    activations *input;
} row_buffers;

typedef void (*row_function)(chunk *c, int row, const row_buffers *buffers);

// Linears that read the same input, and where their results go.
typedef struct product_group {
    const cpu_linear *linears[3];
    float *results[3];
    size_t strides[3];
    int count;
} product_group;

void add_to_group(product_group *group, const cpu_linear *linear, float *result, size_t stride);
// Makes the integer forms that the group's linears read of a row of the input.
void quantize_input(const chunk *c, const product_group *group, int row, bool narrow, const activations *input);

// Calls the function for rows [0, num_rows); few are done by the caller.
void for_rows(chunk *c, int num_rows, row_function function);
// The products of a group with rows [0, num_rows) of an input of `cols` columns, which make_input makes a row of; with biases,
// unless adapters come in between.
void run_group(chunk *c, const product_group *group, int cols, int num_rows, row_function make_input);
// Before the first step of a chunk whose threads make their inputs for themselves.
void begin_own_steps(chunk *c);

#endif
