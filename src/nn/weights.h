// Finds the bytes of every tensor that a description names: dense, or affine-quantised with its scales and
// biases. Nothing is read but headers; the views point into the mapped files.
#ifndef NN_WEIGHTS_H
#define NN_WEIGHTS_H
#include "engine/engine.h"
#include "formats/safetensors.h"
#include "nn/config.h"

typedef struct weight_source {
    const safetensors_tensor *weight, *scales, *biases; // scales and biases NULL: dense
} weight_source;

typedef struct model_weights {
    weight_view *views;     // [desc->num_tensors], not aligned to their types (see safetensors.h)
    weight_source *sources; // [desc->num_tensors]
    int num_tensors;
    uint64_t total_bytes;    // of the tensors that the model uses, as stored
    uint64_t num_parameters; // logical elements
    int bits, group_size;    // of most quantised parameters; 0: nothing is quantised
    bool mixed;              // some matrices are quantised otherwise than most, or not at all
    dtype type;              // of most unquantised elements (norms, scales): the model's own float type
} model_weights;

// A tensor that is missing, has another shape or type than the description asks for, or has no place in it,
// is LLM_LOAD_FAILED with its name and both shapes; a quantisation that is not affine LLM_UNSUPPORTED_FORMAT.
// `files` must outlive the weights. On failure nothing is held.
llm_status weights_resolve(const model_desc *desc, const model_config *config, const safetensors_model *files,
                           model_weights *weights, llm_error *err);
void weights_free(model_weights *weights); // a zeroed struct is fine

// What engine_model_load takes: releasing a tensor gives its mapped pages back.
engine_weights weights_for_engine(model_weights *weights);

// One row as float32 [cols], dequantised as MLX does it in float32.
void weight_view_row(const weight_view *view, int row, float *out);

#endif
