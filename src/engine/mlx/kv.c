// Sequences: arrays that grow in steps of 256 tokens, shared after a fork until one of them is written. MLX updates
// an array in place when nobody else holds it.
#include "base/mem.h"
#include "engine/mlx/mlx_engine.h"
#include <stdio.h>
#include <string.h>

enum { STEP = 256 };

// Axes of keys and values.
enum { HEADS_AXIS = 1, TOKENS_AXIS = 2 };

static void free_kv(mlx_kv *kv)
{
    mx_release(kv->keys);
    mx_release(kv->values);
    *kv = (mlx_kv){0};
}

// Tells the model how much this sequence holds. What forks share is counted for each.
static void count_bytes(mlx_seq *seq)
{
    uint64_t bytes = 0;
    for (int i = 0; i < seq->model->desc.num_blocks; i++) bytes += mx_bytes(seq->layers[i].keys) + mx_bytes(seq->layers[i].values);
    atomic_fetch_add(&seq->model->kv_bytes, bytes - seq->bytes);
    seq->bytes = bytes;
}

llm_status mlx_seq_create(mlx_model *model, mlx_seq **out, llm_error *err)
{
    mlx_seq *seq = mem_alloc_zero(1, sizeof *seq);
    if (seq) seq->layers = mem_alloc_zero((size_t)model->desc.num_blocks, sizeof *seq->layers);
    if (!seq || !seq->layers) {
        mem_free(seq);
        return error_no_memory(err, "a sequence");
    }
    seq->model = model;
    *out = seq;
    return LLM_OK;
}

static void drop_arrays(mlx_seq *seq)
{
    for (int i = 0; i < seq->model->desc.num_blocks; i++) free_kv(&seq->layers[i]);
    seq->length = 0;
    count_bytes(seq);
}

void mlx_seq_free(mlx_seq *seq)
{
    mlx_forget_ahead(seq->model, seq);
    drop_arrays(seq);
    mlx_note_memory(seq->model);
    mem_free(seq->layers);
    mem_free(seq);
}

// The first position that a token at `position` sees.
static int first_seen(const mlx_seq *seq, int layer, int position)
{
    int window = seq->model->desc.blocks[layer].attention.window;
    return window && position - window + 1 > 0 ? position - window + 1 : 0;
}

llm_status mlx_seq_trim(mlx_seq *seq, int length, llm_error *err)
{
    for (int i = 0; length > 0 && i < seq->model->desc.num_blocks; i++)
        if (seq->layers[i].first > first_seen(seq, i, length))
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "cannot trim a sequence of %d tokens to %d: a windowed layer no longer holds what came before",
                             seq->length, length);
    mlx_forget_ahead(seq->model, seq);
    if (length == 0) drop_arrays(seq);
    seq->length = length;
    return LLM_OK;
}

llm_status mlx_seq_fork(mlx_seq *seq, mlx_seq **out, llm_error *err)
{
    mlx_seq *copy = NULL;
    llm_status status = mlx_seq_create(seq->model, &copy, err);
    if (status != LLM_OK) return status;
    mx_scope *s = seq->model->scope;
    copy->length = seq->length;
    copy->num_adapters = seq->num_adapters;
    memcpy(copy->adapters, seq->adapters, sizeof seq->adapters);
    for (int i = 0; seq->length > 0 && i < seq->model->desc.num_blocks; i++) {
        copy->layers[i] = seq->layers[i];
        copy->layers[i].keys = mx_keep(s, seq->layers[i].keys);
        copy->layers[i].values = mx_keep(s, seq->layers[i].values);
    }
    if (mx_scope_failure(s) != MX_NO_FAILURE) {
        mlx_seq_free(copy);
        return mlx_error(s, "a sequence", err);
    }
    count_bytes(copy);
    *out = copy;
    return LLM_OK;
}

// ---- Room

// Positions [first, length) of `old`, if it is there, at the beginning of `capacity` free ones.
static mx_array *grown(mx_scope *s, const mlx_seq *seq, int layer, const mx_array *old, int first, int capacity)
{
    const attention_desc *attention = &seq->model->desc.blocks[layer].attention;
    int kept = seq->length - first, shape[4] = {1, attention->num_kv_heads, capacity - kept, attention->head_dim};
    mx_array *parts[2] = {NULL, mx_zeros(s, seq->model->blocks[layer].kv_type, shape, 4)};
    if (kept == 0) return mx_keep(s, parts[1]);
    int begin = first - seq->layers[layer].first;
    parts[0] = mx_slice(s, old, TOKENS_AXIS, begin, begin + kept);
    return mx_keep(s, mx_concatenate(s, parts, 2, TOKENS_AXIS));
}

static bool has_room(const mlx_seq *seq, int layer, int tokens)
{
    const mlx_kv *kv = &seq->layers[layer];
    return kv->keys && seq->length + tokens - kv->first <= kv->capacity;
}

// A windowed layer that is full moves what is still seen to the front; a further step of room makes that rare.
static mlx_kv plan_room(const mlx_seq *seq, int layer, int tokens)
{
    bool windowed = seq->model->desc.blocks[layer].attention.window > 0;
    mlx_kv kv = {.first = first_seen(seq, layer, seq->length)};
    int needed = seq->length + tokens - kv.first;
    kv.capacity = (needed + STEP - 1) / STEP * STEP + (windowed ? STEP : 0);
    if (seq->layers[layer].first > kv.first) kv.first = seq->layers[layer].first;
    return kv;
}

// About what the layers need on the way: activations, and scores where attention is not one kernel.
static uint64_t work_bytes(const mlx_seq *seq, int tokens)
{
    const mlx_model *model = seq->model;
    uint64_t rows = (uint64_t)(tokens < model->engine->chunk_rows ? tokens : model->engine->chunk_rows), most = 0;
    for (int i = 0; i < model->desc.num_blocks; i++) {
        const block_desc *block = &model->desc.blocks[i];
        uint64_t keys = (uint64_t)(seq->length + tokens - first_seen(seq, i, seq->length));
        uint64_t scores = model->engine->device.gpu && block->attention.score_softcap == 0 ? 0 : (uint64_t)block->attention.num_heads * keys;
        uint64_t row = 4 * (uint64_t)model->desc.hidden_size + 2 * (uint64_t)block->ffn.size + scores;
        if (row > most) most = row;
    }
    return rows * most * sizeof(float);
}

static llm_status check_limit(const mlx_seq *seq, int tokens, llm_error *err)
{
    const mlx_model *model = seq->model;
    uint64_t wanted = work_bytes(seq, tokens);
    char what[40];
    for (int i = 0; i < model->desc.num_blocks; i++) {
        const attention_desc *attention = &model->desc.blocks[i].attention;
        if (has_room(seq, i, tokens)) continue;
        wanted += 2 * (uint64_t)plan_room(seq, i, tokens).capacity * (uint64_t)(attention->num_kv_heads * attention->head_dim) *
                  dtype_size(model->blocks[i].kv_type);
    }
    snprintf(what, sizeof what, "%d more tokens", tokens);
    return mlx_check_limit(model->scope, wanted, what, err);
}

static llm_status grow(mlx_seq *seq, mlx_kv *larger, int tokens, llm_error *err)
{
    mx_scope *s = seq->model->scope;
    int num_layers = seq->model->desc.num_blocks;
    for (int i = 0; i < num_layers; i++) {
        if (has_room(seq, i, tokens)) continue;
        larger[i] = plan_room(seq, i, tokens);
        larger[i].keys = grown(s, seq, i, seq->layers[i].keys, larger[i].first, larger[i].capacity);
        larger[i].values = grown(s, seq, i, seq->layers[i].values, larger[i].first, larger[i].capacity);
        // Each layer at once, so that no more than one has its old and its new array.
        if (mx_eval(s, (mx_array *[]){larger[i].keys, larger[i].values}, 2)) {
            free_kv(&seq->layers[i]);
            seq->layers[i] = larger[i];
        } else {
            free_kv(&larger[i]);
            count_bytes(seq);
            return mlx_error(s, "room for tokens", err);
        }
    }
    count_bytes(seq);
    return LLM_OK;
}

llm_status mlx_seq_reserve(mlx_seq *seq, int tokens, llm_error *err)
{
    bool room = true;
    for (int i = 0; i < seq->model->desc.num_blocks; i++) room &= has_room(seq, i, tokens);
    if (room) return LLM_OK;
    llm_status status = check_limit(seq, tokens, err);
    if (status != LLM_OK) return status;
    mlx_kv *larger = mem_alloc_zero((size_t)seq->model->desc.num_blocks, sizeof *larger);
    if (!larger) return error_no_memory(err, "the KV cache");
    status = grow(seq, larger, tokens, err);
    mem_free(larger);
    return status;
}

static void settle_array(mx_array **a)
{
    mx_array *computed = mx_keep_computed(*a);
    mx_release(*a);
    *a = computed;
}

void mlx_seq_settle(mlx_seq *seq)
{
    bool whole = true;
    for (int i = 0; i < seq->model->desc.num_blocks; i++) {
        settle_array(&seq->layers[i].keys);
        settle_array(&seq->layers[i].values);
        whole &= seq->layers[i].keys && seq->layers[i].values;
    }
    // Every array was computed once before it was updated, so none can be missing unless memory is.
    if (!whole) drop_arrays(seq);
}

// ---- Saving

static size_t position_bytes(const mlx_seq *seq, int layer)
{
    const attention_desc *attention = &seq->model->desc.blocks[layer].attention;
    return (size_t)attention->num_kv_heads * (size_t)attention->head_dim * dtype_size(seq->model->blocks[layer].kv_type);
}

// Describes positions [first, length) of one layer's keys or values; allocates them.
static llm_status state_array(const mlx_seq *seq, int layer, const char *what, int first, int length, engine_state_array *array,
                              llm_error *err)
{
    const attention_desc *attention = &seq->model->desc.blocks[layer].attention;
    *array = (engine_state_array){.type = seq->model->blocks[layer].kv_type, .first_position = first,
                                  .shape = {length - first, attention->num_kv_heads, attention->head_dim}};
    snprintf(array->name, sizeof array->name, "layers.%d.%s", layer, what);
    array->data = mem_alloc_zero((size_t)(length - first), position_bytes(seq, layer));
    return array->data ? LLM_OK : error_no_memory(err, "a saved sequence");
}

static llm_status save_array(const mlx_seq *seq, int layer, const char *what, const mx_array *a, engine_state_function sink,
                             void *user, llm_error *err)
{
    engine_state_array array;
    mx_scope *s = seq->model->scope;
    int first = seq->layers[layer].first, tokens = seq->length - first;
    llm_status status = state_array(seq, layer, what, first, seq->length, &array, err);
    if (status != LLM_OK) return status;
    const mx_array *part = mx_swap_axes(s, mx_slice(s, a, TOKENS_AXIS, 0, tokens), HEADS_AXIS, TOKENS_AXIS);
    if (!mx_read(s, part, array.data, (size_t)tokens * position_bytes(seq, layer))) status = mlx_error(s, "a saved sequence", err);
    if (status == LLM_OK) status = sink(user, &array, err);
    mem_free(array.data);
    return status;
}

llm_status mlx_seq_save(mlx_seq *seq, engine_state_function sink, void *user, llm_error *err)
{
    llm_status status = LLM_OK;
    for (int i = 0; seq->length > 0 && status == LLM_OK && i < seq->model->desc.num_blocks; i++) {
        status = save_array(seq, i, "keys", seq->layers[i].keys, sink, user, err);
        if (status == LLM_OK) status = save_array(seq, i, "values", seq->layers[i].values, sink, user, err);
    }
    return status;
}

static llm_status restore_array(mlx_seq *seq, int layer, int length, const char *what, mx_array **target,
                                engine_state_function source, void *user, llm_error *err)
{
    engine_state_array array;
    mx_scope *s = seq->model->scope;
    const attention_desc *attention = &seq->model->desc.blocks[layer].attention;
    llm_status status = state_array(seq, layer, what, 0, length, &array, err);
    if (status == LLM_OK) status = source(user, &array, err);
    if (status == LLM_OK && (array.first_position < 0 || array.first_position > first_seen(seq, layer, length)))
        status = error_set(err, LLM_LOAD_FAILED, "a saved sequence does not hold what layer %d needs", layer);
    if (status == LLM_OK) {
        // Windowed layers take what they see.
        int first = first_seen(seq, layer, length), tokens = length - first;
        int shape[4] = {1, tokens, attention->num_kv_heads, attention->head_dim};
        const uint8_t *data = (const uint8_t *)array.data + (size_t)(first - (int)array.first_position) * position_bytes(seq, layer);
        *target = mx_keep(s, mx_swap_axes(s, mx_from_data(s, data, array.type, shape, 4), HEADS_AXIS, TOKENS_AXIS));
        seq->layers[layer].first = first;
        seq->layers[layer].capacity = tokens;
        if (!*target || !mx_eval(s, target, 1)) status = mlx_error(s, "a saved sequence", err);
    }
    mem_free(array.data);
    return status;
}

llm_status mlx_seq_restore(mlx_seq *seq, int length, engine_state_function source, void *user, llm_error *err)
{
    llm_status status = LLM_OK;
    if (seq->length != 0) return error_set(err, LLM_INVALID_ARGUMENT, "only an empty sequence can be restored");
    if (length < 0 || length > seq->model->desc.context_length)
        return error_set(err, LLM_LOAD_FAILED, "a saved sequence of %d tokens does not fit this model", length);
    drop_arrays(seq);
    for (int i = 0; length > 0 && status == LLM_OK && i < seq->model->desc.num_blocks; i++) {
        mlx_kv *kv = &seq->layers[i];
        status = restore_array(seq, i, length, "keys", &kv->keys, source, user, err);
        if (status == LLM_OK) status = restore_array(seq, i, length, "values", &kv->values, source, user, err);
    }
    if (status != LLM_OK) drop_arrays(seq);
    else {
        seq->length = length;
        count_bytes(seq);
    }
    return status;
}
