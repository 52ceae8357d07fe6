// Reads config.json and generation_config.json of a model directory. It owns the parsed documents and checks
// what every family has in common; the sizes themselves are read by nn/families, each with its own defaults.
#ifndef NN_CONFIG_H
#define NN_CONFIG_H
#include "base/error.h"
#include "base/json.h"

enum { CONFIG_MAX_EOS_IDS = 64 };

// What the model's makers recommend. A negative number: they say nothing.
typedef struct sampling_defaults {
    int do_sample; // 1, 0; -1: nothing said
    float temperature, top_p, min_p, repetition_penalty;
    int top_k;
} sampling_defaults;

typedef struct model_config {
    yyjson_doc *doc;
    yyjson_val *root;         // of config.json
    yyjson_val *quantization; // MLX's "quantization" object: numbers, and paths with their own; NULL: none
    const char *model_type;   // lives as long as doc
    int32_t eos_ids[CONFIG_MAX_EOS_IDS];
    int num_eos_ids; // 0: config says nothing
    sampling_defaults sampling;
} model_config;

// Missing or damaged files are LLM_IO_ERROR or LLM_LOAD_FAILED; a quantisation that is not MLX's affine one,
// or a model that needs its own code, is LLM_UNSUPPORTED_FORMAT. generation_config.json may be missing. On
// failure nothing is held.
llm_status config_open(const char *directory, model_config *config, llm_error *err);
llm_status config_read(const char *text, size_t length, const char *generation_text, size_t generation_length,
                       model_config *config, llm_error *err); // from memory; generation_text may be NULL
void config_close(model_config *config);                      // a zeroed config is fine

#endif
