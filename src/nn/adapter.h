// Adapters: reads a LoRA or DoRA adapter's directory, as mlx-lm or PEFT write it, and fits it to a model. What comes out
// is what engines apply and what merging adds to the weights.
#ifndef NN_ADAPTER_H
#define NN_ADAPTER_H
#include "nn/model.h"

typedef struct adapter {
    adapter_layer *layers; // by tensor
    int num_layers;
    const char *format;    // "MLX LoRA", "PEFT DoRA", …
    arena memory;          // owns the arrays
} adapter;

// Checks everything against the base model before it reads a weight of it (DoRA needs the lengths of its rows). A
// tensor that is unknown to the model, of another shape or not finite is LLM_ADAPTER_MERGE_FAILED with its name; what
// adapters may have and we do not apply, LLM_UNSUPPORTED_FORMAT with its name. On failure nothing is held.
llm_status adapter_open(const char *directory, const model_files *base, adapter *a, llm_error *err);
// The layers without their arrays, by the headers of the adapter's file: for estimates. `gain` is NULL or not, as it would be.
llm_status adapter_open_shapes(const char *directory, const model_files *base, adapter *a, llm_error *err);
void adapter_close(adapter *a); // a zeroed struct is fine

// Adds the change to one row of the base weight [cols]: W + b a + gain W.
void adapter_merge_row(const adapter_layer *layer, int row, int cols, float *weights);

#endif
