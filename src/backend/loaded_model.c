// Loading a model: directory, headers, whether it fits, text side, then the weights into the engine.
#include "backend/loaded_model.h"
#include "backend/adapters.h"
#include "base/mem.h"
#include "base/thread.h"
#include "models/adapter_source.h"
#include "models/memory.h"
#include "models/resolve.h"
#include "nn/model.h"
#include <string.h>

llm_status text_side_open(const char *directory, tokenizer **tok, chat_template **chat, llm_error *err)
{
    *tok = NULL;
    *chat = NULL;
    llm_status status = tokenizer_load(directory, tok, err);
    if (status == LLM_OK) status = chat_template_load(directory, chat, err);
    if (status != LLM_OK) {
        tokenizer_free(*tok);
        *tok = NULL;
    }
    return status;
}

// The text side of a model, read on a thread of its own while the weights are packed: with a large vocabulary it takes as long.
typedef struct text_job {
    loaded_model *model;
    pthread_t thread;
    bool apart;
    llm_status status;
    llm_error err;
} text_job;

static void *run_text_job(void *argument)
{
    text_job *job = argument;
    job->status = text_side_open(job->model->directory, &job->model->tok, &job->model->chat, &job->err);
    return NULL;
}

static void text_job_start(text_job *job, loaded_model *model)
{
    *job = (text_job){.model = model};
    job->apart = thread_start(&job->thread, run_text_job, job);
    if (!job->apart) run_text_job(job);
}

// Its failure comes before that of the weights.
static llm_status text_job_end(text_job *job, llm_status status, llm_error *err)
{
    if (job->apart) pthread_join(job->thread, NULL);
    if (job->status == LLM_OK) return status;
    if (err) *err = job->err;
    return job->status;
}

typedef struct load_progress {
    llm_progress_function progress;
    void *user;
} load_progress;

static bool pass_progress(void *user, double fraction)
{
    const load_progress *p = user;
    return !p->progress || p->progress(p->user, "loading weights", fraction) == 0;
}

static void add_end_token(loaded_model *model, int32_t token)
{
    if (token >= 0 && !loaded_model_is_end(model, token) && model->num_eos_ids < CONFIG_MAX_EOS_IDS)
        model->eos_ids[model->num_eos_ids++] = token;
}

static void find_end_tokens(loaded_model *model, const model_config *config)
{
    for (int i = 0; i < config->num_eos_ids; i++) add_end_token(model, config->eos_ids[i]);
    const char *text = model->chat ? chat_template_token(model->chat, "eos_token") : NULL;
    if (text) add_end_token(model, tokenizer_token_id(model->tok, text, strlen(text)));
}

static llm_status open_engine(const llm_mlx_options *options, engine **device, llm_error *err)
{
    engine_options wanted = {.precision = options->precision == LLM_PRECISION_EXACT ? PRECISION_EXACT : PRECISION_FAST,
                             .num_threads = options->num_threads,
                             .kv_bits = options->kv_bits,
                             .cache_limit = options->gpu_cache_limit,
                             .memory_limit = options->gpu_memory_limit,
                             .wired_limit = options->gpu_wired_limit};
    llm_status status = engine_open(options->engine, &wanted, device, err);
    if (status == LLM_OK) engine_set_cache_limit(*device, options->gpu_cache_limit);
    return status;
}

static llm_status check_memory(const llm_model_spec *spec, const char *directory, const model_files *files, const adapter *own,
                               const llm_mlx_options *options, engine *device, llm_error *err)
{
    llm_memory_estimate estimate;
    llm_status status = memory_estimate(spec, directory, files, own, device, &estimate, err);
    return status == LLM_OK ? memory_check(&estimate, options->memory, options->memory_user, err) : status;
}

static llm_status load_weights(model_files *files, llm_progress_function progress, void *user, loaded_model *model, llm_error *err)
{
    load_progress pass = {progress, user};
    engine_info info;
    engine_get_info(model->device, &info);
    model->prefill_tokens = info.prefill_tokens;
    engine_weights weights = weights_for_engine(&files->weights);
    return engine_model_load(model->device, &files->desc, &weights, pass_progress, &pass, &model->weights, err);
}

static llm_status identify(loaded_model *model, const llm_model_spec *spec, const model_files *files, const adapter *own,
                           llm_error *err)
{
    model->name = mem_copy_string(spec->id ? spec->id : spec->base);
    if (!model->name) return error_no_memory(err, "a model");
    return model_fingerprint(model->directory, files, own, model->fingerprint, err);
}

llm_status loaded_model_open(const llm_model_spec *spec, const llm_mlx_options *options, llm_progress_function progress,
                             void *user, loaded_model *model, llm_error *err)
{
    *model = (loaded_model){0};
    model_files files = {0};
    adapter own = {0};
    char *directory = NULL;
    bool adapted = spec->adapter.kind != LLM_ADAPTER_NONE;
    llm_status status = adapted ? adapter_resolve(&spec->adapter, progress, user, &directory, err) : LLM_OK;
    if (status == LLM_OK) status = model_resolve(spec, progress, user, &model->directory, err);
    if (status == LLM_OK) status = model_files_open(model->directory, &files, err);
    if (status == LLM_OK && adapted) status = adapter_open(directory, &files, &own, err); // it fails before weights are read
    if (status == LLM_OK) status = open_engine(options, &model->device, err);
    if (status == LLM_OK)
        status = check_memory(spec, model->directory, &files, adapted ? &own : NULL, options, model->device, err);
    if (status == LLM_OK) status = identify(model, spec, &files, &own, err); // now: the load gives the pages back that it looks at
    if (status == LLM_OK) {
        text_job text;
        text_job_start(&text, model);
        status = load_weights(&files, progress, user, model, err);
        status = text_job_end(&text, status, err);
    }
    if (status == LLM_OK) {
        model->vocab_size = files.desc.vocab_size;
        model->context_length = files.desc.context_length;
        if (spec->context_length > 0 && spec->context_length < model->context_length) model->context_length = spec->context_length;
        find_end_tokens(model, &files.config);
        model->precision = options->precision;
        model->kv_bits = options->kv_bits;
    }
    if (status == LLM_OK && adapted) status = adapters_put(model, ADAPTERS_DEFAULT, &files.desc, &own, err);
    if (status != LLM_OK && status != LLM_CANCELLED && err) error_prefix(err, "cannot load \"%s\"", spec->id ? spec->id : spec->base);
    adapter_close(&own);
    model_files_close(&files);
    mem_free(directory);
    if (status != LLM_OK) loaded_model_close(model);
    return status;
}

void loaded_model_close(loaded_model *model)
{
    adapters_free(model);
    engine_model_free(model->weights);
    engine_close(model->device);
    chat_template_free(model->chat);
    tokenizer_free(model->tok);
    mem_free(model->directory);
    mem_free(model->name);
    *model = (loaded_model){0};
}

reply_format loaded_model_reply_format(const loaded_model *model, bool with_tools)
{
    const char *source = !model->chat ? NULL : with_tools ? chat_template_tool_source(model->chat) : chat_template_source(model->chat);
    return reply_format_choose(source, model->tok, with_tools);
}

bool loaded_model_is_end(const loaded_model *model, int32_t token)
{
    for (int i = 0; i < model->num_eos_ids; i++)
        if (model->eos_ids[i] == token) return true;
    return false;
}
