// A model directory opened up to, but without, an engine: for `show` and for the loader.
#ifndef NN_MODEL_H
#define NN_MODEL_H
#include "nn/config.h"
#include "nn/weights.h"

// Does not move once opened.
typedef struct model_files {
    model_config config;       // eos ids, sampling defaults
    model_desc desc;           // family, context length, sizes
    safetensors_model tensors; // mapped, read on demand
    model_weights weights;     // bytes, parameters, quantisation
} model_files;

// On failure nothing is held; messages begin with what file or tensor is wrong.
llm_status model_files_open(const char *directory, model_files *files, llm_error *err);
void model_files_close(model_files *files); // a zeroed struct is fine

double model_files_bits_per_weight(const model_files *files); // bytes as stored, scales included, a parameter

#endif
