// Makes an MLX model directory from a GGUF file or from an unquantised Hugging Face directory.
#ifndef MODELS_CONVERT_H
#define MODELS_CONVERT_H
#include "base/error.h"

// Called now and then, `done` from 0 to 1; false cancels (LLM_CANCELLED).
typedef bool (*convert_progress)(void *user, double done);

typedef struct convert_options {
    int bits;          // 2, 3, 4, 5, 6, 8; 0: as the source has it (GGUF blocks keep theirs where MLX can hold them)
    int group_size;    // with bits: 32, 64 or 128; 0: 64
    const char *dtype; // of what is not quantised: "float16", "bfloat16", "float32"; NULL: what fits the source best
    convert_progress progress; // NULL: none
    void *user;
} convert_options;

// What happened to the weights, for people: a line for each tensor that was not taken over exactly.
typedef struct convert_report {
    char **lines;
    size_t num_lines, capacity;
    size_t num_tensors;   // of the source, taken over
    size_t num_exact;     // of these, with every value as it was
    uint64_t total_bytes; // of the weights written
} convert_report;

// Converts `source` (a .gguf file, or a directory with config.json and model*.safetensors) into the new directory
// `destination`. It must not exist, or be empty; its parent must exist. It appears complete or not at all.
// `options` NULL: the defaults. `report` may be NULL; otherwise the caller frees it, after a failure, too.
llm_status convert_model(const char *source, const char *destination, const convert_options *options,
                         convert_report *report, llm_error *err);
void convert_report_free(convert_report *report);

#endif
