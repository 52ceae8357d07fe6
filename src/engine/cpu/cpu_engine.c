// The CPU engine behind the engine interface: options, sequences, memory figures.
#include "engine/cpu/cpu_engine.h"
#include "base/cpu.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static void cpu_close(void *state)
{
    cpu_engine *engine = state;
    if (!engine) return;
    thread_pool_free(engine->pool);
    mem_free(engine);
}

static llm_status choose_kv_type(cpu_engine *engine, int bits, llm_error *err)
{
    bool exact = engine->precision == PRECISION_EXACT;
    if (bits == 0) bits = exact ? 32 : 16;
    if (bits != 32 && bits != 16 && bits != 8)
        return error_set(err, LLM_INVALID_ARGUMENT, "the CPU engine has no KV cache of %d bits: 8, 16 or 32", bits);
    if (exact && bits != 32)
        return error_set(err, LLM_INVALID_ARGUMENT, "a KV cache of %d bits is not exact: with exact precision it has 32", bits);
    engine->kv_type = bits == 32 ? DTYPE_F32 : bits == 16 ? DTYPE_I16 : DTYPE_I8;
    return LLM_OK;
}

static llm_status cpu_open(const engine_options *options, void **state, llm_error *err)
{
    cpu_engine *engine = mem_alloc_zero(1, sizeof *engine);
    if (!engine) return error_no_memory(err, "the CPU engine");
    int allowed = cpu_count(), threads = options->num_threads > 0 ? options->num_threads : allowed;
    if (threads > allowed) threads = allowed; // more threads than processors only wait for each other
    engine->kernels = kernels_select();
    engine->precision = options->precision;
    cpu_model_name(engine->device, sizeof engine->device);
    llm_status status = choose_kv_type(engine, options->kv_bits, err);
    if (status == LLM_OK) status = thread_pool_create(threads, &engine->pool, err);
    if (status != LLM_OK) {
        cpu_close(engine);
        return status;
    }
    *state = engine;
    return LLM_OK;
}

static void cpu_info(void *state, engine_info *info)
{
    const cpu_engine *engine = state;
    *info = (engine_info){.name = "cpu", .device = engine->device, .isa = engine->kernels->isa, .version = LLM_VERSION,
                          .num_threads = thread_pool_size(engine->pool)};
}

// model_desc_check has been passed; this engine executes everything that a description can say.
static llm_status cpu_supports(void *state, const model_desc *desc, llm_error *err)
{
    (void)state, (void)desc, (void)err;
    return LLM_OK;
}

static llm_status cpu_load(void *state, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                           void *user, void **model, llm_error *err)
{
    cpu_model *loaded;
    llm_status status = cpu_model_load(state, desc, weights, progress, user, &loaded, err);
    *model = loaded;
    return status;
}

static void cpu_free_model(void *model) { cpu_model_free(model); }

static void cpu_memory(void *model, engine_memory *memory)
{
    const cpu_model *m = model;
    *memory = (engine_memory){.weights_bytes = m->weights_bytes + m->adapter_bytes, .kv_bytes = m->kv_bytes,
                              .work_bytes = m->work.bytes + m->partial_bytes};
    memory->peak_bytes = memory->weights_bytes + memory->kv_bytes + memory->work_bytes;
}

static llm_status cpu_estimate(void *state, const model_desc *desc, const engine_weights *weights, int num_tokens,
                               engine_memory *memory, llm_error *err)
{
    return cpu_model_estimate(state, desc, weights, num_tokens, memory, err);
}

static llm_status cpu_seq_create(void *model, void **out, llm_error *err)
{
    cpu_seq *seq = mem_alloc_zero(1, sizeof *seq);
    if (!seq) return error_no_memory(err, "a sequence");
    seq->model = model;
    llm_status status = kv_cache_create(&seq->cache, &seq->model->kv, &seq->model->kv_bytes, err);
    if (status != LLM_OK) mem_free(seq);
    else *out = seq;
    return status;
}

static void cpu_seq_free(void *state)
{
    cpu_seq *seq = state;
    kv_cache_free(&seq->cache);
    mem_free(seq);
}

static int cpu_seq_length(void *seq) { return ((cpu_seq *)seq)->cache.length; }

static llm_status cpu_seq_trim(void *state, int length, llm_error *err)
{
    cpu_seq *seq = state;
    if (!kv_cache_can_trim(&seq->cache, length))
        return error_set(err, LLM_INVALID_ARGUMENT, "cannot trim a sequence of %d tokens to %d: a windowed layer no longer holds what came before",
                         seq->cache.length, length);
    kv_cache_trim(&seq->cache, length);
    return LLM_OK;
}

static llm_status cpu_seq_fork(void *state, void **out, llm_error *err)
{
    cpu_seq *seq = state, *copy = mem_alloc_zero(1, sizeof *copy);
    if (!copy) return error_no_memory(err, "a sequence");
    *copy = *seq;
    copy->cache = (kv_cache){0};
    llm_status status = kv_cache_fork(&seq->cache, &copy->cache, err);
    if (status != LLM_OK) mem_free(copy);
    else *out = copy;
    return status;
}

// Describes one layer's part; allocates it. False: pages have none.
static bool state_array(const cpu_seq *seq, int layer, kv_plane part, engine_state_array *array, llm_status *status, llm_error *err)
{
    const kv_layout *layout = seq->cache.layout;
    kv_part_shape shape = kv_layout_part(layout, layer, part);
    int first = kv_cache_first_position(&seq->cache, layer), heads = layout->layers[layer].num_kv_heads;
    *array = (engine_state_array){.type = shape.type, .first_position = first, .shape = {seq->cache.length - first, heads, shape.row}};
    if (shape.row == 0) return false;
    snprintf(array->name, sizeof array->name, "layers.%d.%s", layer, shape.name);
    array->data = mem_alloc_zero((size_t)array->shape[0], (size_t)heads * (size_t)shape.row * dtype_size(array->type));
    if (!array->data) *status = error_no_memory(err, "a saved sequence");
    return array->data != NULL;
}

static llm_status cpu_seq_save(void *state, engine_state_function sink, void *user, llm_error *err)
{
    const cpu_seq *seq = state;
    llm_status status = LLM_OK;
    for (int i = 0; status == LLM_OK && i < seq->cache.layout->num_layers * KV_PARTS; i++) {
        engine_state_array array;
        int layer = i / KV_PARTS;
        kv_plane part = (kv_plane)(i % KV_PARTS);
        if (!state_array(seq, layer, part, &array, &status, err)) continue;
        kv_cache_read(&seq->cache, layer, part, array.data);
        status = sink(user, &array, err);
        mem_free(array.data);
    }
    return status;
}

// One part of a layer: asks for it, checks that it reaches back as far as the layer's window does, and as the layer's first
// part, whose position *first keeps.
static llm_status restore_part(cpu_seq *seq, int layer, kv_plane part, int length, engine_state_function source, void *user, int64_t *first, llm_error *err)
{
    engine_state_array array;
    llm_status status = LLM_OK;
    int window = seq->model->desc.blocks[layer].attention.window;
    int first_needed = window && length - window + 1 > 0 ? length - window + 1 : 0;
    if (!state_array(seq, layer, part, &array, &status, err)) return status;
    status = source(user, &array, err);
    if (part == KV_KEYS) *first = array.first_position;
    if (status == LLM_OK && (array.first_position != *first || *first < 0 || *first > first_needed))
        status = error_set(err, LLM_LOAD_FAILED, "a saved sequence does not hold what layer %d needs", layer);
    if (status == LLM_OK)
        kv_cache_write(&seq->cache, layer, part, (int)array.first_position, length - (int)array.first_position, array.data);
    mem_free(array.data);
    return status;
}

static llm_status cpu_seq_restore(void *state, int length, engine_state_function source, void *user, llm_error *err)
{
    cpu_seq *seq = state;
    if (seq->cache.length != 0) return error_set(err, LLM_INVALID_ARGUMENT, "only an empty sequence can be restored");
    if (length < 0 || length > seq->model->desc.context_length)
        return error_set(err, LLM_LOAD_FAILED, "a saved sequence of %d tokens does not fit this model", length);
    llm_status status = kv_cache_reserve(&seq->cache, length, err);
    if (status != LLM_OK) return status;
    kv_cache_advance(&seq->cache, length);
    int64_t first = 0; // of the layer's parts, which begin with its keys
    for (int i = 0; status == LLM_OK && i < seq->cache.layout->num_layers * KV_PARTS; i++)
        status = restore_part(seq, i / KV_PARTS, (kv_plane)(i % KV_PARTS), length, source, user, &first, err);
    if (status != LLM_OK) kv_cache_trim(&seq->cache, 0);
    else kv_cache_drop_unseen(&seq->cache);
    return status;
}

static llm_status cpu_forward_batch(void *model, const engine_batch_item *items, void *const *seqs, int num_items,
                                    float *logits, llm_error *err)
{
    return cpu_forward(model, items, (cpu_seq *const *)seqs, num_items, logits, err);
}

static llm_status cpu_load_adapter(void *model, const adapter_layer *layers, int num_layers, void **out, llm_error *err)
{
    cpu_adapter *adapter;
    llm_status status = cpu_adapter_load(model, layers, num_layers, &adapter, err);
    *out = adapter;
    return status;
}

static llm_status cpu_estimate_adapter(void *state, const model_desc *desc, const adapter_layer *layers, int num_layers,
                                       engine_memory *memory, llm_error *err)
{
    (void)state;
    return cpu_adapter_estimate(desc, layers, num_layers, memory, err);
}

static void cpu_free_adapter(void *adapter) { cpu_adapter_free(adapter); }

static llm_status cpu_set_adapters(void *seq, void *const *adapters, const float *strengths, int count, llm_error *err)
{
    return cpu_seq_set_adapters(seq, (cpu_adapter *const *)adapters, strengths, count, err);
}

static void cpu_interrupt(void *model, bool on) { atomic_store(&((cpu_model *)model)->interrupted, on); }

// Freed blocks go back to the system at once: there is no cache to limit or clear.
static void cpu_set_cache_limit(void *state, uint64_t bytes) { (void)state, (void)bytes; }
static void cpu_clear_cache(void *state) { (void)state; }

const engine_methods cpu_engine_methods = {
    .api_version = ENGINE_API_VERSION,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .supports = cpu_supports,
    .model_load = cpu_load,
    .model_free = cpu_free_model,
    .model_memory = cpu_memory,
    .seq_create = cpu_seq_create,
    .seq_free = cpu_seq_free,
    .seq_length = cpu_seq_length,
    .seq_trim = cpu_seq_trim,
    .seq_fork = cpu_seq_fork,
    .seq_save = cpu_seq_save,
    .seq_restore = cpu_seq_restore,
    .forward = cpu_forward_batch,
    .interrupt = cpu_interrupt,
    .set_cache_limit = cpu_set_cache_limit,
    .clear_cache = cpu_clear_cache,
    .estimate = cpu_estimate,
    .adapter_load = cpu_load_adapter,
    .adapter_free = cpu_free_adapter,
    .seq_set_adapters = cpu_set_adapters,
    .adapter_estimate = cpu_estimate_adapter,
};
