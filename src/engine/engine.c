// Chooses an engine and passes calls on to its table.
#include "engine/engine.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/plugin.h"
#include <string.h>

extern const engine_methods cpu_engine_methods;

// Engines without methods are plugins.
static const struct engine_row {
    const char *name;
    const engine_methods *methods;
} engines[] = {{"cpu", &cpu_engine_methods}, {"mlx", NULL}};
enum { NUM_ENGINES = sizeof engines / sizeof *engines };

// The best engine of this kind of machine.
#if defined(__APPLE__) && defined(__aarch64__)
static const char auto_engine[] = "mlx";
#else
static const char auto_engine[] = "cpu";
#endif

struct engine {
    const engine_methods *methods;
    void *state;
};

struct engine_model {
    const engine_methods *methods;
    void *state;
    int vocab_size;
};

struct engine_adapter {
    const engine_methods *methods;
    void *state;
    engine_model *model;
    int users; // whoever loaded it, and sequences
};

struct engine_seq {
    const engine_methods *methods;
    void *state;
    engine_model *model;
    adapter_use adapters[ENGINE_MAX_ADAPTERS]; // each holds the adapter
    int num_adapters;
};

int engine_names(const char **names, int capacity)
{
    for (int i = 0; i < NUM_ENGINES && i < capacity; i++) names[i] = engines[i].name;
    return NUM_ENGINES;
}

static llm_status find_methods(const char *name, const engine_methods **methods, llm_error *err)
{
    for (int i = 0; i < NUM_ENGINES; i++) {
        if (strcmp(name, engines[i].name) != 0) continue;
        *methods = engines[i].methods;
        return *methods ? LLM_OK : plugin_open(name, methods, err);
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "this build has no engine \"%s\"", name);
}

static llm_status open_named(const char *name, const engine_options *options, engine **out, llm_error *err)
{
    const engine_methods *methods;
    llm_status status = find_methods(name, &methods, err);
    if (status != LLM_OK) return status;
    engine *e = mem_alloc_zero(1, sizeof *e);
    if (!e) return error_no_memory(err, "an engine");
    e->methods = methods;
    status = methods->open(options, &e->state, err);
    if (status != LLM_OK) mem_free(e);
    else *out = e;
    return status;
}

llm_status engine_open(const char *name, const engine_options *options, engine **out, llm_error *err)
{
    *out = NULL;
    if (name && strcmp(name, "auto") != 0) return open_named(name, options, out, err);
    llm_error reason;
    llm_status status = open_named(auto_engine, options, out, &reason);
    if (status == LLM_OK || strcmp(auto_engine, "cpu") == 0) {
        if (status != LLM_OK && err) *err = reason;
        return status;
    }
    log_message(LOG_WARNING, "the engine is the processor: %s", reason.message);
    return open_named("cpu", options, out, err);
}

void engine_close(engine *e)
{
    if (!e) return;
    e->methods->close(e->state);
    mem_free(e);
}

void engine_get_info(engine *e, engine_info *info) { e->methods->info(e->state, info); }
void engine_set_cache_limit(engine *e, uint64_t bytes) { e->methods->set_cache_limit(e->state, bytes); }
void engine_clear_cache(engine *e) { e->methods->clear_cache(e->state); }

llm_status engine_supports(engine *e, const model_desc *desc, llm_error *err)
{
    llm_status status = model_desc_check(desc, err);
    return status == LLM_OK ? e->methods->supports(e->state, desc, err) : status;
}

// What every engine needs at least.
void engine_estimate_as_stored(const model_desc *desc, const engine_weights *weights, int num_tokens, engine_memory *memory)
{
    *memory = (engine_memory){0};
    uint64_t widest = (uint64_t)desc->hidden_size;
    for (int i = 0; i < desc->num_tensors; i++) {
        const weight_view *view = &weights->views[i];
        uint64_t elements = (uint64_t)view->rows * (uint64_t)view->cols;
        memory->weights_bytes += view->bits ? elements * (uint64_t)view->bits / 8 + 2 * dtype_size(view->scale_type) * elements / (uint64_t)view->group_size
                                            : elements * dtype_size(view->type);
    }
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        int tokens = attention->window && attention->window < num_tokens ? attention->window : num_tokens;
        memory->kv_bytes += 4 * (uint64_t)tokens * (uint64_t)attention->num_kv_heads * (uint64_t)attention->head_dim;
        if ((uint64_t)desc->blocks[i].ffn.size > widest) widest = (uint64_t)desc->blocks[i].ffn.size;
    }
    memory->work_bytes = ENGINE_ESTIMATE_CALL * sizeof(float) * (3 * widest + 4 * (uint64_t)desc->hidden_size);
}

llm_status engine_estimate(engine *e, const model_desc *desc, const engine_weights *weights, int num_tokens,
                           engine_memory *memory, llm_error *err)
{
    *memory = (engine_memory){0};
    llm_status status = engine_supports(e, desc, err);
    if (status == LLM_OK && e->methods->estimate)
        status = e->methods->estimate(e->state, desc, weights, num_tokens, memory, err);
    else if (status == LLM_OK)
        engine_estimate_as_stored(desc, weights, num_tokens, memory);
    memory->peak_bytes = memory->weights_bytes + memory->kv_bytes + memory->work_bytes;
    return status;
}

static void estimate_adapter_as_given(const model_desc *desc, const adapter_layer *layers, int num_layers, engine_memory *memory)
{
    for (int i = 0; i < num_layers; i++) {
        uint64_t rows = (uint64_t)desc->tensors[layers[i].tensor].rows, cols = (uint64_t)desc->tensors[layers[i].tensor].cols;
        memory->weights_bytes += sizeof(float) * ((uint64_t)layers[i].rank * (rows + cols) + (layers[i].gain ? rows : 0));
    }
}

llm_status engine_estimate_adapter(engine *e, const model_desc *desc, const adapter_layer *layers, int num_layers,
                                   engine_memory *memory, llm_error *err)
{
    *memory = (engine_memory){0};
    if (e->methods->adapter_estimate) return e->methods->adapter_estimate(e->state, desc, layers, num_layers, memory, err);
    estimate_adapter_as_given(desc, layers, num_layers, memory);
    return LLM_OK;
}

llm_status engine_model_load(engine *e, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                             void *user, engine_model **out, llm_error *err)
{
    *out = NULL;
    llm_status status = engine_supports(e, desc, err);
    if (status != LLM_OK) return status;
    engine_model *model = mem_alloc_zero(1, sizeof *model);
    if (!model) return error_no_memory(err, "a model");
    *model = (engine_model){.methods = e->methods, .vocab_size = desc->vocab_size};
    status = e->methods->model_load(e->state, desc, weights, progress, user, &model->state, err);
    if (status != LLM_OK) mem_free(model);
    else *out = model;
    return status;
}

void engine_model_free(engine_model *model)
{
    if (!model) return;
    model->methods->model_free(model->state);
    mem_free(model);
}

void engine_model_memory(engine_model *model, engine_memory *memory) { model->methods->model_memory(model->state, memory); }
void engine_interrupt(engine_model *model, bool on) { model->methods->interrupt(model->state, on); }

static llm_status wrap_seq(engine_model *model, void *state, engine_seq **out, llm_error *err)
{
    engine_seq *seq = mem_alloc_zero(1, sizeof *seq);
    if (!seq) {
        model->methods->seq_free(state);
        return error_no_memory(err, "a sequence");
    }
    *seq = (engine_seq){.methods = model->methods, .state = state, .model = model};
    *out = seq;
    return LLM_OK;
}

static void hold_adapters(engine_seq *seq, const adapter_use *uses, int count)
{
    for (int i = 0; i < count; i++) uses[i].adapter->users++;
    for (int i = 0; i < seq->num_adapters; i++) engine_adapter_free(seq->adapters[i].adapter);
    if (count) memcpy(seq->adapters, uses, (size_t)count * sizeof *uses);
    seq->num_adapters = count;
}

llm_status engine_seq_create(engine_model *model, engine_seq **out, llm_error *err)
{
    void *state;
    *out = NULL;
    llm_status status = model->methods->seq_create(model->state, &state, err);
    return status == LLM_OK ? wrap_seq(model, state, out, err) : status;
}

llm_status engine_seq_fork(engine_seq *seq, engine_seq **out, llm_error *err)
{
    void *state;
    *out = NULL;
    llm_status status = seq->methods->seq_fork(seq->state, &state, err);
    if (status == LLM_OK) status = wrap_seq(seq->model, state, out, err);
    if (status == LLM_OK) hold_adapters(*out, seq->adapters, seq->num_adapters);
    return status;
}

void engine_seq_free(engine_seq *seq)
{
    if (!seq) return;
    seq->methods->seq_free(seq->state);
    hold_adapters(seq, NULL, 0);
    mem_free(seq);
}

int engine_seq_length(engine_seq *seq) { return seq->methods->seq_length(seq->state); }

llm_status engine_seq_trim(engine_seq *seq, int length, llm_error *err)
{
    if (length < 0 || length > engine_seq_length(seq))
        return error_set(err, LLM_INVALID_ARGUMENT, "cannot trim a sequence of %d tokens to %d", engine_seq_length(seq), length);
    return seq->methods->seq_trim(seq->state, length, err);
}

llm_status engine_seq_save(engine_seq *seq, engine_state_function sink, void *user, llm_error *err)
{
    return seq->methods->seq_save(seq->state, sink, user, err);
}

llm_status engine_seq_restore(engine_seq *seq, int length, engine_state_function source, void *user, llm_error *err)
{
    return seq->methods->seq_restore(seq->state, length, source, user, err);
}

// ---- Adapters

static llm_status check_layers(const model_desc *desc, const adapter_layer *layers, int num_layers, llm_error *err)
{
    for (int i = 0; i < num_layers; i++) {
        if (!model_desc_is_linear(desc, layers[i].tensor) || layers[i].rank < 1 || !layers[i].a || !layers[i].b)
            return error_set(err, LLM_INVALID_ARGUMENT, "layer %d of the adapter fits no linear layer of the model", i);
        for (int j = 0; j < i; j++)
            if (layers[j].tensor == layers[i].tensor)
                return error_set(err, LLM_INVALID_ARGUMENT, "the adapter changes %s twice", desc->tensors[layers[i].tensor].name);
    }
    return LLM_OK;
}

llm_status engine_adapter_load(engine_model *model, const model_desc *desc, const adapter_layer *layers, int num_layers,
                               engine_adapter **out, llm_error *err)
{
    *out = NULL;
    if (!model->methods->adapter_load)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the engine \"%s\" does not apply adapters", model->methods->name);
    llm_status status = check_layers(desc, layers, num_layers, err);
    engine_adapter *adapter = status == LLM_OK ? mem_alloc_zero(1, sizeof *adapter) : NULL;
    if (status != LLM_OK) return status;
    if (!adapter) return error_no_memory(err, "an adapter");
    *adapter = (engine_adapter){.methods = model->methods, .model = model, .users = 1};
    status = model->methods->adapter_load(model->state, layers, num_layers, &adapter->state, err);
    if (status != LLM_OK) mem_free(adapter);
    else *out = adapter;
    return status;
}

void engine_adapter_free(engine_adapter *adapter)
{
    if (!adapter || --adapter->users > 0) return;
    adapter->methods->adapter_free(adapter->state);
    mem_free(adapter);
}

bool engine_seq_has_adapters(const engine_seq *seq, const adapter_use *uses, int count)
{
    bool same = seq->num_adapters == count;
    for (int i = 0; same && i < count; i++)
        same = uses[i].adapter == seq->adapters[i].adapter && uses[i].strength == seq->adapters[i].strength;
    return same;
}

llm_status engine_seq_set_adapters(engine_seq *seq, const adapter_use *uses, int count, llm_error *err)
{
    void *states[ENGINE_MAX_ADAPTERS];
    float strengths[ENGINE_MAX_ADAPTERS];
    if (engine_seq_has_adapters(seq, uses, count)) return LLM_OK;
    if (count < 0 || count > ENGINE_MAX_ADAPTERS)
        return error_set(err, LLM_INVALID_ARGUMENT, "%d adapters at once; there may be %d", count, ENGINE_MAX_ADAPTERS);
    for (int i = 0; i < count; i++) {
        if (uses[i].adapter->model != seq->model) return error_set(err, LLM_INVALID_ARGUMENT, "an adapter of another model");
        states[i] = uses[i].adapter->state;
        strengths[i] = uses[i].strength;
    }
    llm_status status = seq->methods->seq_trim(seq->state, 0, err);
    if (status == LLM_OK) status = seq->methods->seq_set_adapters(seq->state, states, strengths, count, err);
    if (status == LLM_OK) hold_adapters(seq, uses, count);
    return status;
}

static llm_status check_item(const engine_model *model, const engine_batch_item *items, int index, llm_error *err)
{
    const engine_batch_item *item = &items[index];
    if (item->seq->model != model) return error_set(err, LLM_INVALID_ARGUMENT, "a sequence of another model");
    if (item->num_tokens < 1 || item->num_logits < 0 || item->num_logits > item->num_tokens)
        return error_set(err, LLM_INVALID_ARGUMENT, "%d logits of %d tokens", item->num_logits, item->num_tokens);
    for (int i = 0; i < index; i++)
        if (items[i].seq == item->seq) return error_set(err, LLM_INVALID_ARGUMENT, "a sequence stands twice in a batch");
    for (int i = 0; i < item->num_tokens; i++)
        if (item->tokens[i] < 0 || item->tokens[i] >= model->vocab_size)
            return error_set(err, LLM_INVALID_ARGUMENT, "token %d is not in the vocabulary of %d", item->tokens[i], model->vocab_size);
    return LLM_OK;
}

llm_status engine_forward(engine_model *model, const engine_batch_item *items, int num_items, float *logits, llm_error *err)
{
    void *few[16], **seqs = few;
    if (num_items < 1) return error_set(err, LLM_INVALID_ARGUMENT, "an empty batch");
    llm_status status = LLM_OK;
    for (int i = 0; status == LLM_OK && i < num_items; i++) status = check_item(model, items, i, err);
    if (status != LLM_OK) return status;
    if (num_items > (int)(sizeof few / sizeof *few)) seqs = mem_alloc_zero((size_t)num_items, sizeof *seqs);
    if (!seqs) return error_no_memory(err, "a batch");
    for (int i = 0; i < num_items; i++) seqs[i] = items[i].seq->state;
    status = model->methods->forward(model->state, items, seqs, num_items, logits, err);
    if (seqs != few) mem_free(seqs);
    return status;
}
