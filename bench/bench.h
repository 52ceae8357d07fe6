// What the benchmarks on the engine interface share.
#ifndef BENCH_H
#define BENCH_H
#include "order.h"
#include "engine/engine.h"
#include "nn/model.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static llm_error err;

static inline void check(llm_status status)
{
    if (status == LLM_OK) return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, err.message);
    exit(1);
}

// Returns the size of the vocabulary.
static inline int load_model(const char *engine_name, const char *directory, const engine_options *options, engine **device, engine_model **model)
{
    model_files files = {0};
    check(model_files_open(directory, &files, &err));
    engine_weights weights = weights_for_engine(&files.weights);
    check(engine_open(engine_name, options, device, &err));
    check(engine_model_load(*device, &files.desc, &weights, NULL, NULL, model, &err));
    int vocab_size = files.desc.vocab_size;
    model_files_close(&files);
    return vocab_size;
}

#endif
