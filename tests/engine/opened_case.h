// A golden model on an engine, its tokens, and forward passes over them.
#ifndef OPENED_CASE_H
#define OPENED_CASE_H
#include "base/mem.h"
#include "engine/engine.h"
#include "nn/golden_models.h"
#include <math.h>

static llm_error err;

typedef struct opened {
    golden golden;
    engine *device;
    engine_model *model;
    int32_t ids[MAX_TOKENS]; // prompt, then the greedy answer
    int prompt, total, vocab;
} opened;

// The golden model is open already: its description may have been changed.
static inline void load_case_on(const char *engine_name, const char *name, const engine_options *options, opened *o)
{
    engine_weights weights = weights_for_engine(&o->golden.files.weights);
    weights.release = NULL; // the reference may read them again
    assert_ok(engine_open(engine_name, options, &o->device, &err));
    if (engine_model_load(o->device, &o->golden.files.desc, &weights, NULL, NULL, &o->model, &err) != LLM_OK)
        fail_msg("%s: %s", name, err.message);
    o->vocab = o->golden.files.desc.vocab_size;
    o->prompt = read_ids(yyjson_obj_get(o->golden.root, "ids"), o->ids, 0);
    o->total = read_ids(yyjson_obj_get(o->golden.root, "greedy"), o->ids, o->prompt);
}

// `context`: 0, or instead of the model's own context length.
static inline void open_case_on(const char *engine_name, const char *name, const engine_options *options, int context, opened *o)
{
    open_golden(name, &o->golden);
    if (context) o->golden.files.desc.context_length = context;
    load_case_on(engine_name, name, options, o);
}

static inline void close_case(opened *o)
{
    engine_model_free(o->model);
    engine_close(o->device);
    close_golden(&o->golden);
}

static inline engine_seq *new_seq(const opened *o)
{
    engine_seq *seq;
    assert_ok(engine_seq_create(o->model, &seq, &err));
    return seq;
}

// Forwards tokens [begin, end) and returns their logits [end - begin][vocab] (owned).
static inline float *forward(const opened *o, engine_seq *seq, int begin, int end)
{
    float *logits = mem_alloc_zero((size_t)(end - begin) * (size_t)o->vocab, sizeof *logits);
    engine_batch_item item = {seq, o->ids + begin, end - begin, end - begin, false};
    int length = engine_seq_length(seq);
    assert_ok(engine_forward(o->model, &item, 1, logits, &err));
    assert_int_equal(engine_seq_length(seq), length + end - begin);
    return logits;
}

static inline double largest_difference(const float *a, const float *b, int count)
{
    double worst = 0;
    for (int i = 0; i < count; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

#endif
