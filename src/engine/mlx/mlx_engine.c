// The MLX engine behind the engine interface, as a plugin: each call goes to the worker thread.
#include "engine/mlx/mlx_engine.h"
#include "base/mem.h"
#include "engine/mlx/worker.h"
#include "engine/plugin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

llm_status mlx_error(mx_scope *s, const char *what, llm_error *err)
{
    mx_failure failure = mx_scope_failure(s);
    const char *message = mx_scope_message(s);
    llm_status status = failure == MX_NO_MEMORY ? error_set(err, LLM_OUT_OF_MEMORY, "MLX has no memory for %s: %s", what, message)
                                                : error_set(err, LLM_INTERNAL_ERROR, "MLX failed at %s: %s", what, *message ? message : "no reason given");
    mx_scope_clear(s);
    return status;
}

void mlx_note_memory(mlx_model *model)
{
    mx_scope *s = model->scope;
    if (!s) return;
    // MLX shrinks its cache with the next allocation only.
    if (mx_get_memory(s).cache > model->engine->cache_limit) mx_clear_cache(s);
    mx_memory memory = mx_get_memory(s);
    atomic_store(&model->active_bytes, memory.active);
    atomic_store(&model->cache_bytes, memory.cache);
    atomic_store(&model->peak_bytes, memory.peak);
}

// Where there is no memory at all, MLX's processor backend writes to address 0: what cannot fit is refused before.
llm_status mlx_check_limit(mx_scope *s, uint64_t bytes, const char *what, llm_error *err)
{
    uint64_t limit = mx_memory_limit(s), wanted = mx_get_memory(s).active + bytes;
    if (wanted <= limit) return LLM_OK;
    return error_set_amounts(err, LLM_INSUFFICIENT_MEMORY, wanted, limit, "with %s, %llu bytes are needed; the memory limit is %llu", what,
                             (unsigned long long)wanted, (unsigned long long)limit);
}

// ---- Calls on the worker. Each struct is one call's arguments.

typedef struct engine_call {
    mlx_engine *engine;
    uint64_t bytes;
    llm_error *err;
    llm_status status;
} engine_call;

// A number in the environment, for comparisons and tests.
static int setting(const char *name, int fallback)
{
    const char *value = getenv(name);
    return value && *value ? atoi(value) : fallback;
}

static void open_on_worker(void *arg)
{
    engine_call *call = arg;
    mlx_engine *engine = call->engine;
    mx_scope *s = mx_scope_create();
    if (!s) {
        call->status = error_no_memory(call->err, "the MLX engine");
        return;
    }
    const char *wanted = getenv("LLMLOCAL_MLX_DEVICE");
    bool gpu = mx_has_gpu() && !(wanted && strcmp(wanted, "cpu") == 0);
    mx_open_device(s, gpu, &engine->device);
    // A processor takes long for a layer, and gains nothing from larger chunks or from working ahead.
    engine->chunk_rows = gpu ? 2048 : 32;
    engine->by_layer = !gpu;
    engine->ahead = setting("LLMLOCAL_MLX_AHEAD", gpu) != 0;
    if (mx_scope_failure(s) != MX_NO_FAILURE) call->status = mlx_error(s, "opening a device", call->err);
    mx_scope_free(s);
}

static llm_status mlx_open(const engine_options *options, void **state, llm_error *err)
{
    if (options->kv_bits != 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "the MLX engine keeps keys and values as the model computes them, not in %d bits", options->kv_bits);
    mlx_engine *engine = mem_alloc_zero(1, sizeof *engine);
    if (!engine) return error_no_memory(err, "the MLX engine");
    engine->precision = options->precision;
    engine->cache_limit = options->cache_limit;
    engine->memory_limit = options->memory_limit;
    engine->wired_limit = options->wired_limit;
    engine_call call = {.engine = engine, .err = err};
    llm_status status = worker_call(open_on_worker, &call, err);
    if (status == LLM_OK) status = call.status;
    if (status != LLM_OK) mem_free(engine);
    else *state = engine;
    return status;
}

static void mlx_close(void *state) { mem_free(state); }

static void mlx_info(void *state, engine_info *info)
{
    const mlx_engine *engine = state;
    *info = (engine_info){.name = "mlx", .device = engine->device.name, .isa = engine->device.kind, .version = mx_version(), .num_threads = 1,
                          .memory_bytes = engine->device.memory, .prefill_tokens = engine->device.gpu ? engine->chunk_rows : 0};
}

// model_desc_check has been passed, and the graph can say all that a description can; shapes that MLX refuses fail at load.
static llm_status mlx_supports(void *state, const model_desc *desc, llm_error *err)
{
    (void)state, (void)desc, (void)err;
    return LLM_OK;
}

static void limit_on_worker(void *arg)
{
    engine_call *call = arg;
    mx_scope *s = mx_scope_create();
    if (s) mx_set_cache_limit(s, call->bytes);
    if (s && mx_get_memory(s).cache > call->bytes) mx_clear_cache(s);
    mx_scope_free(s);
}

static void mlx_set_cache_limit(void *state, uint64_t bytes)
{
    engine_call call = {.engine = state, .bytes = bytes};
    call.engine->cache_limit = bytes;
    worker_call(limit_on_worker, &call, NULL);
}

static void clear_on_worker(void *arg)
{
    (void)arg;
    mx_scope *s = mx_scope_create();
    if (s) mx_clear_cache(s);
    mx_scope_free(s);
}

static void mlx_clear_cache(void *state)
{
    (void)state;
    worker_call(clear_on_worker, NULL, NULL);
}

// ---- Models

typedef struct model_call {
    mlx_engine *engine;
    const model_desc *desc;
    const engine_weights *weights;
    engine_progress progress;
    void *user;
    mlx_model *model;
    const engine_batch_item *items;
    void *const *seqs;
    int num_items;
    float *logits;
    llm_error *err;
    llm_status status;
} model_call;

static void load_on_worker(void *arg)
{
    model_call *call = arg;
    call->status = mlx_model_load(call->engine, call->desc, call->weights, call->progress, call->user, &call->model, call->err);
}

static llm_status mlx_load(void *state, const model_desc *desc, const engine_weights *weights, engine_progress progress, void *user,
                           void **model, llm_error *err)
{
    model_call call = {.engine = state, .desc = desc, .weights = weights, .progress = progress, .user = user, .err = err};
    llm_status status = worker_call(load_on_worker, &call, err);
    if (status == LLM_OK) status = call.status;
    if (status == LLM_OK) *model = call.model;
    return status;
}

static void free_on_worker(void *model) { mlx_model_free(model); }
static void mlx_free_model(void *model) { worker_call(free_on_worker, model, NULL); }

static void mlx_memory(void *model, engine_memory *memory)
{
    mlx_model *m = model;
    uint64_t weights = m->weights_bytes + atomic_load(&m->adapter_bytes), kv = atomic_load(&m->kv_bytes);
    uint64_t active = atomic_load(&m->active_bytes);
    *memory = (engine_memory){.weights_bytes = weights, .kv_bytes = kv, .work_bytes = active > weights + kv ? active - weights - kv : 0, .cache_bytes = atomic_load(&m->cache_bytes),
                              .peak_bytes = atomic_load(&m->peak_bytes)};
}

static void forward_on_worker(void *arg)
{
    model_call *call = arg;
    call->status = mlx_forward(call->model, call->items, (mlx_seq *const *)call->seqs, call->num_items, call->logits, call->err);
}

static llm_status mlx_forward_batch(void *model, const engine_batch_item *items, void *const *seqs, int num_items, float *logits,
                                    llm_error *err)
{
    model_call call = {.model = model, .items = items, .seqs = seqs, .num_items = num_items, .logits = logits, .err = err};
    llm_status status = worker_call(forward_on_worker, &call, err);
    return status == LLM_OK ? call.status : status;
}

static void mlx_interrupt(void *model, bool on) { atomic_store(&((mlx_model *)model)->interrupted, on); }

// ---- Sequences

typedef struct seq_call {
    mlx_model *model;
    mlx_seq *seq, *out;
    int length;
    engine_state_function function;
    void *user;
    llm_error *err;
    llm_status status;
} seq_call;

static void create_on_worker(void *arg)
{
    seq_call *call = arg;
    call->status = mlx_seq_create(call->model, &call->out, call->err);
}

static void free_seq_on_worker(void *seq) { mlx_seq_free(seq); }

static void trim_on_worker(void *arg)
{
    seq_call *call = arg;
    call->status = mlx_seq_trim(call->seq, call->length, call->err);
}

static void fork_on_worker(void *arg)
{
    seq_call *call = arg;
    call->status = mlx_seq_fork(call->seq, &call->out, call->err);
}

static void save_on_worker(void *arg)
{
    seq_call *call = arg;
    call->status = mlx_seq_save(call->seq, call->function, call->user, call->err);
}

static void restore_on_worker(void *arg)
{
    seq_call *call = arg;
    call->status = mlx_seq_restore(call->seq, call->length, call->function, call->user, call->err);
}

static llm_status call_seq(void (*function)(void *arg), seq_call *call)
{
    llm_status status = worker_call(function, call, call->err);
    return status == LLM_OK ? call->status : status;
}

static llm_status mlx_create(void *model, void **seq, llm_error *err)
{
    seq_call call = {.model = model, .err = err};
    llm_status status = call_seq(create_on_worker, &call);
    *seq = call.out;
    return status;
}

static void mlx_free_seq(void *seq) { worker_call(free_seq_on_worker, seq, NULL); }
static int mlx_length(void *seq) { return ((mlx_seq *)seq)->length; }

static llm_status mlx_trim(void *seq, int length, llm_error *err)
{
    return call_seq(trim_on_worker, &(seq_call){.seq = seq, .length = length, .err = err});
}

static llm_status mlx_fork(void *seq, void **copy, llm_error *err)
{
    seq_call call = {.seq = seq, .err = err};
    llm_status status = call_seq(fork_on_worker, &call);
    *copy = call.out;
    return status;
}

static llm_status mlx_save(void *seq, engine_state_function sink, void *user, llm_error *err)
{
    return call_seq(save_on_worker, &(seq_call){.seq = seq, .function = sink, .user = user, .err = err});
}

static llm_status mlx_restore(void *seq, int length, engine_state_function source, void *user, llm_error *err)
{
    return call_seq(restore_on_worker, &(seq_call){.seq = seq, .length = length, .function = source, .user = user, .err = err});
}

// ---- Adapters

typedef struct adapter_call {
    mlx_model *model;
    const adapter_layer *layers;
    int num_layers;
    mlx_adapter *adapter;
    llm_error *err;
    llm_status status;
} adapter_call;

static void load_adapter_on_worker(void *arg)
{
    adapter_call *call = arg;
    call->status = mlx_adapter_load(call->model, call->layers, call->num_layers, &call->adapter, call->err);
}

static llm_status mlx_load_adapter(void *model, const adapter_layer *layers, int num_layers, void **adapter, llm_error *err)
{
    adapter_call call = {.model = model, .layers = layers, .num_layers = num_layers, .err = err};
    llm_status status = worker_call(load_adapter_on_worker, &call, err);
    *adapter = call.adapter;
    return status == LLM_OK ? call.status : status;
}

static void free_adapter_on_worker(void *adapter) { mlx_adapter_free(adapter); }
static void mlx_free_adapter(void *adapter) { worker_call(free_adapter_on_worker, adapter, NULL); }

// No call of MLX.
static llm_status mlx_set_adapters(void *seq, void *const *adapters, const float *strengths, int count, llm_error *err)
{
    (void)err;
    mlx_seq_set_adapters(seq, (mlx_adapter *const *)adapters, strengths, count);
    return LLM_OK;
}

static const engine_methods methods = {
    .api_version = ENGINE_API_VERSION,
    .name = "mlx",
    .open = mlx_open,
    .close = mlx_close,
    .info = mlx_info,
    .supports = mlx_supports,
    .model_load = mlx_load,
    .model_free = mlx_free_model,
    .model_memory = mlx_memory,
    .seq_create = mlx_create,
    .seq_free = mlx_free_seq,
    .seq_length = mlx_length,
    .seq_trim = mlx_trim,
    .seq_fork = mlx_fork,
    .seq_save = mlx_save,
    .seq_restore = mlx_restore,
    .forward = mlx_forward_batch,
    .interrupt = mlx_interrupt,
    .set_cache_limit = mlx_set_cache_limit,
    .clear_cache = mlx_clear_cache,
    .adapter_load = mlx_load_adapter,
    .adapter_free = mlx_free_adapter,
    .seq_set_adapters = mlx_set_adapters,
};

PLUGIN_EXPORT extern const engine_plugin llm_engine_plugin;
const engine_plugin llm_engine_plugin = {ENGINE_API_VERSION, LLM_VERSION, &methods};
