// LLMLocalMLX: the backend for models in MLX's format, written against the public table like any other.
#include "backend/adapters.h"
#include "backend/loaded_model.h"
#include "backend/score.h"
#include "backend/session.h"
#include "backend/session_file.h"
#include "backend/tool_messages.h"
#include "backend/transcript.h"
#include "backend/turn.h"
#include "base/mem.h"
#include "client/options.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct mlx_backend {
    llm_mlx_options options;
    char *engine_name;  // behind options.engine
    loaded_model model; // weights NULL: none is loaded
    session apart;      // of the latest request beside the chats: the next one may begin alike
} mlx_backend;

void llm_mlx_options_init(llm_mlx_options *options)
{
    *options = (llm_mlx_options){.size = sizeof *options, .gpu_cache_limit = (uint64_t)20 << 20};
}

static void mlx_unload(void *state)
{
    mlx_backend *b = state;
    session_free(&b->apart);
    loaded_model_close(&b->model);
}

static llm_status mlx_load(void *state, const llm_model_spec *spec, llm_progress_function progress, void *user, llm_error *err)
{
    mlx_backend *b = state;
    llm_status status = loaded_model_open(spec, &b->options, progress, user, &b->model, err);
    if (status == LLM_OK) status = session_create(&b->model, &b->apart, err);
    if (status != LLM_OK) mlx_unload(b);
    return status;
}

// What a request adds to the transcript before the answer.
static llm_status take_request(const session *chat, const llm_request *request, message_list *added, llm_error *err)
{
    if (request->kind == LLM_REQUEST_PROMPT) return message_list_add(added, &(llm_message){.role = "user", .content = request->text}, err);
    llm_status status = tool_results_check(&chat->transcript, request->messages, request->num_messages, err);
    for (int i = 0; i < request->num_messages && status == LLM_OK; i++) status = message_list_add(added, &request->messages[i], err);
    return status;
}

// A turn of the chat: the transcript grows only when the answer is whole.
static llm_status generate_turn(mlx_backend *b, const llm_request *request, llm_stream_writer *writer, llm_error *err)
{
    session *chat = request->session;
    llm_message *history = NULL;
    int count;
    message_list added = {0};
    llm_status status = take_request(chat, request, &added, err);
    if (status == LLM_OK) status = session_messages(chat, request->system_prompt, &history, &count, err);
    if (status == LLM_OK) status = turn_run(&b->model, chat, history, count, &added, request->config, writer, err);
    if (status == LLM_OK) status = message_list_move(&chat->transcript, &added, err);
    message_list_free(&added);
    mem_free(history);
    return status;
}

static llm_status complete(mlx_backend *b, const llm_request *request, llm_stream_writer *writer, llm_error *err)
{
    token_list tokens = {0};
    llm_status status = LLM_OK;
    if (request->kind == LLM_REQUEST_TEXT)
        status = tokenizer_encode(b->model.tok, request->text, strlen(request->text), TOKENIZER_ADD_SPECIAL, &tokens, err);
    else if (!token_list_append(&tokens, request->tokens, (size_t)request->num_tokens)) status = error_no_memory(err, "a prompt");
    if (status == LLM_OK) status = turn_complete(&b->model, &b->apart, &tokens, request->config, writer, err);
    token_list_free(&tokens);
    return status;
}

// An answer beside the chats. What its prompt shares with the latest of them is not read again.
static llm_status generate_apart(mlx_backend *b, const llm_request *request, llm_stream_writer *writer, llm_error *err)
{
    message_list added = {0};
    if (request->kind != LLM_REQUEST_MESSAGES) return complete(b, request, writer, err);
    llm_status status = turn_run(&b->model, &b->apart, request->messages, request->num_messages, &added, request->config, writer, err);
    message_list_free(&added);
    return status;
}

static llm_status mlx_generate(void *state, const llm_request *request, llm_stream_writer *writer, llm_error *err)
{
    mlx_backend *b = state;
    bool of_chat = request->kind == LLM_REQUEST_PROMPT || request->kind == LLM_REQUEST_RESULTS;
    llm_status status = of_chat ? generate_turn(b, request, writer, err) : generate_apart(b, request, writer, err);
    atomic_store(&b->model.context_tokens, (int)(of_chat ? (session *)request->session : &b->apart)->ledger.count);
    return status;
}

// ---- Sessions

static llm_status mlx_session_create(void *state, void **out, llm_error *err)
{
    session *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return error_no_memory(err, "a session");
    llm_status status = session_create(&((mlx_backend *)state)->model, s, err);
    if (status != LLM_OK) mem_free(s);
    else *out = s;
    return status;
}

static void mlx_session_free(void *state, void *s)
{
    (void)state;
    session_free(s);
    mem_free(s);
}

static llm_status mlx_session_reset(void *state, void *s, llm_error *err)
{
    (void)state, (void)err;
    session_reset(s);
    return LLM_OK;
}

static llm_status mlx_session_save(void *state, void *s, const char *system_prompt, const char *path, llm_error *err)
{
    return session_save(s, &((mlx_backend *)state)->model, system_prompt, path, err);
}

static llm_status mlx_session_load(void *state, void *s, const char *path, char **system_prompt, llm_error *err)
{
    return session_load(s, &((mlx_backend *)state)->model, path, system_prompt, err);
}

static char *mlx_session_messages(void *state, void *s, llm_error *err)
{
    (void)state;
    return transcript_json_copy(&((session *)s)->transcript, err);
}

// ---- The rest

static void mlx_cancel(void *state) { engine_interrupt(((mlx_backend *)state)->model.weights, true); }

static llm_status mlx_memory(void *state, llm_memory *memory, llm_error *err)
{
    (void)err;
    engine_memory figures;
    engine_model_memory(((mlx_backend *)state)->model.weights, &figures);
    memory->weights_bytes = figures.weights_bytes;
    memory->kv_bytes = figures.kv_bytes;
    memory->work_bytes = figures.work_bytes;
    memory->cache_bytes = figures.cache_bytes;
    memory->peak_bytes = figures.peak_bytes;
    memory->context_tokens = atomic_load(&((mlx_backend *)state)->model.context_tokens);
    memory->context_length = ((mlx_backend *)state)->model.context_length;
    return LLM_OK;
}

static llm_status mlx_score(void *state, const int32_t *tokens, int num_tokens, int num_top, llm_score_function on_position,
                            void *user, llm_error *err)
{
    return score_tokens(&((mlx_backend *)state)->model, tokens, num_tokens, num_top, on_position, user, err);
}

static llm_status mlx_add_adapter(void *state, const char *name, const llm_adapter *source, llm_error *err)
{
    mlx_backend *b = state;
    return adapters_add(&b->model, name, source, &b->options, err);
}

static llm_status mlx_remove_adapter(void *state, const char *name, llm_error *err)
{
    return adapters_remove(&((mlx_backend *)state)->model, name, err);
}

static void copy_info(engine *device, llm_engine_info *info)
{
    engine_info from;
    engine_get_info(device, &from);
    snprintf(info->name, sizeof info->name, "%s", from.name);
    snprintf(info->device, sizeof info->device, "%s", from.device);
    snprintf(info->isa, sizeof info->isa, "%s", from.isa);
    snprintf(info->version, sizeof info->version, "%s", from.version);
    info->available = true;
    info->num_threads = from.num_threads;
    info->memory_bytes = from.memory_bytes ? from.memory_bytes : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static llm_status mlx_engine_info(void *state, llm_engine_info *info, llm_error *err)
{
    mlx_backend *b = state;
    *info = (llm_engine_info){0};
    if (!b->model.device) return error_set(err, LLM_MODEL_NOT_LOADED, "no model is loaded");
    copy_info(b->model.device, info);
    return LLM_OK;
}

int llm_engines(llm_engine_info *engines, int capacity)
{
    const char *names[16];
    int count = engine_names(names, 16);
    for (int i = 0; i < count && i < capacity; i++) {
        engine *device;
        llm_error err = {0};
        engines[i] = (llm_engine_info){0};
        snprintf(engines[i].name, sizeof engines[i].name, "%s", names[i]);
        if (engine_open(names[i], &(engine_options){0}, &device, &err) != LLM_OK) {
            snprintf(engines[i].reason, sizeof engines[i].reason, "%.*s", (int)sizeof engines[i].reason - 1, err.message);
            continue;
        }
        copy_info(device, &engines[i]);
        engine_close(device);
    }
    return count;
}

static void mlx_destroy(void *state)
{
    mlx_backend *b = state;
    mem_free(b->engine_name);
    mem_free(b);
}

static const llm_backend_methods mlx_methods = {
    .api_version = LLM_BACKEND_API,
    .name = "mlx",
    .load = mlx_load,
    .unload = mlx_unload,
    .generate = mlx_generate,
    .destroy = mlx_destroy,
    .cancel = mlx_cancel,
    .memory = mlx_memory,
    .score = mlx_score,
    .engine_info = mlx_engine_info,
    .add_adapter = mlx_add_adapter,
    .remove_adapter = mlx_remove_adapter,
    .session_create = mlx_session_create,
    .session_free = mlx_session_free,
    .session_reset = mlx_session_reset,
    .session_save = mlx_session_save,
    .session_load = mlx_session_load,
    .session_messages_json = mlx_session_messages,
};

static llm_status check_options(const llm_mlx_options *options, llm_error *err)
{
    engine *probe;
    if (options->num_threads < 0) return error_set(err, LLM_INVALID_ARGUMENT, "num_threads is %d, must be 0 or more", options->num_threads);
    if (options->precision != LLM_PRECISION_FAST && options->precision != LLM_PRECISION_EXACT)
        return error_set(err, LLM_INVALID_ARGUMENT, "precision is %d, must be fast or exact", (int)options->precision);
    llm_status status = engine_open(options->engine, &(engine_options){.num_threads = 1, .kv_bits = options->kv_bits, .precision = options->precision == LLM_PRECISION_EXACT ? PRECISION_EXACT : PRECISION_FAST}, &probe, err);
    if (status == LLM_OK) engine_close(probe);
    return status;
}

llm_backend *llm_mlx_backend_create(const llm_mlx_options *options, llm_error *err)
{
    mlx_backend *b = mem_alloc_zero(1, sizeof *b);
    if (!b) return error_no_memory(err, "a backend"), NULL;
    llm_mlx_options_init(&b->options);
    llm_status status = LLM_OK;
    if (options) status = options_read(&b->options, sizeof b->options, options, "llm_mlx_options_init", err);
    if (status == LLM_OK) status = check_options(&b->options, err);
    if (status == LLM_OK && b->options.engine) {
        b->options.engine = b->engine_name = mem_copy_string(b->options.engine);
        if (!b->engine_name) status = error_no_memory(err, "a backend");
    }
    llm_backend *backend = status == LLM_OK ? llm_backend_create(&mlx_methods, b, err) : NULL;
    if (!backend) mlx_destroy(b);
    return backend;
}
