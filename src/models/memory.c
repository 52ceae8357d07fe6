// Estimates are the engine's, by the shapes in the headers, and a rule of thumb for the text side.
#include "models/memory.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/system_memory.h"
#include "client/options.h"
#include "client/spec.h"
#include "models/resolve.h"
#include <stdio.h>
#include <sys/stat.h>

// What a tokenizer takes for each byte of its file: 3.6 of Gemma 3's, 4.5 of SmolLM2's, the rest of the process included.
enum { TOKENIZER_FACTOR = 4 };

// ---- Estimates --------------------------------------------------------------------------------------------

static uint64_t tokenizer_bytes(const char *directory)
{
    struct stat st;
    char *path = path_join(directory, "tokenizer.json");
    bool found = path && !stat(path, &st) && st.st_size > 0;
    mem_free(path);
    return found ? (uint64_t)st.st_size * TOKENIZER_FACTOR : 0;
}

static int choose_context(int wanted, int models)
{
    if (wanted > 0) return wanted < models ? wanted : models;
    return models < MEMORY_USUAL_CONTEXT ? models : MEMORY_USUAL_CONTEXT;
}

static llm_status estimate_context(int context, uint64_t override, const char *directory, const model_files *files,
                                   engine *device, llm_memory_estimate *estimate, llm_error *err)
{
    enum { FEW = 64 }; // tokens
    engine_memory whole, few;
    *estimate = (llm_memory_estimate){.context_length = context};
    engine_weights weights = {.views = files->weights.views};
    llm_status status = engine_estimate(device, &files->desc, &weights, context, &whole, err);
    if (status == LLM_OK) status = engine_estimate(device, &files->desc, &weights, FEW, &few, err);
    if (status != LLM_OK) return status;
    estimate->weights_bytes = whole.weights_bytes;
    estimate->kv_bytes_per_token = few.kv_bytes / FEW;
    estimate->kv_bytes = whole.kv_bytes;
    estimate->work_bytes = whole.work_bytes + tokenizer_bytes(directory);
    estimate->total_bytes = override ? override : estimate->weights_bytes + estimate->kv_bytes + estimate->work_bytes;
    return LLM_OK;
}

llm_status memory_estimate(const llm_model_spec *spec, const char *directory, const model_files *files, engine *device,
                           llm_memory_estimate *estimate, llm_error *err)
{
    int context = choose_context(spec->context_length, files->desc.context_length);
    return estimate_context(context, spec->estimated_memory, directory, files, device, estimate, err);
}

// One thread: an engine's threads take kilobytes.
static llm_status open_engine(const llm_mlx_options *options, engine **device, llm_error *err)
{
    bool exact = options && options->precision == LLM_PRECISION_EXACT;
    engine_options wanted = {.precision = exact ? PRECISION_EXACT : PRECISION_FAST, .num_threads = 1};
    return engine_open(options ? options->engine : NULL, &wanted, device, err);
}

llm_status memory_estimate_files(const llm_model_spec *spec, const llm_mlx_options *options, const char *directory,
                                 const model_files *files, llm_memory_estimate *estimate, llm_error *err)
{
    engine *device;
    llm_status status = open_engine(options, &device, err);
    if (status == LLM_OK) status = memory_estimate(spec, directory, files, device, estimate, err);
    engine_close(device);
    return status;
}

static llm_status open_files(const llm_model_spec *spec, char **directory, model_files *files, llm_error *err)
{
    llm_status status = model_resolve_cached(spec, directory, err);
    if (status == LLM_OK) status = model_files_open(*directory, files, err);
    return status;
}

llm_status memory_estimate_spec(const llm_model_spec *spec, const llm_mlx_options *options, llm_memory_estimate *estimate,
                                llm_error *err)
{
    model_files files = {0};
    char *directory = NULL;
    llm_status status = open_files(spec, &directory, &files, err);
    if (status == LLM_OK) status = memory_estimate_files(spec, options, directory, &files, estimate, err);
    model_files_close(&files);
    mem_free(directory);
    return status;
}

// The total grows with the context, so the longest one that fits is found by halving.
static llm_status search_context(const char *directory, const model_files *files, engine *device, uint64_t limit, int *tokens,
                                 llm_error *err)
{
    enum { STEP = 256 };
    llm_memory_estimate estimate;
    int fits = 0, too_long = files->desc.context_length / STEP + 1;
    llm_status status = estimate_context(files->desc.context_length, 0, directory, files, device, &estimate, err);
    *tokens = files->desc.context_length;
    if (status != LLM_OK || estimate.total_bytes <= limit) return status;
    while (status == LLM_OK && too_long - fits > 1) {
        int middle = fits + (too_long - fits) / 2;
        status = estimate_context(middle * STEP, 0, directory, files, device, &estimate, err);
        if (estimate.total_bytes <= limit) fits = middle;
        else too_long = middle;
    }
    *tokens = fits * STEP;
    return status;
}

llm_status memory_longest_context(const llm_model_spec *spec, const llm_mlx_options *options, uint64_t limit, int *tokens,
                                  llm_error *err)
{
    model_files files = {0};
    char *directory = NULL;
    engine *device = NULL;
    llm_status status = open_files(spec, &directory, &files, err);
    if (status == LLM_OK) status = open_engine(options, &device, err);
    if (status == LLM_OK) status = search_context(directory, &files, device, limit, tokens, err);
    engine_close(device);
    model_files_close(&files);
    mem_free(directory);
    return status;
}

llm_status llm_model_estimate_memory(const llm_model_spec *spec, const llm_mlx_options *options,
                                     llm_memory_estimate *estimate, llm_error *err)
{
    llm_model_spec whole;
    llm_mlx_options settings = {.size = sizeof settings};
    if (!estimate) return error_set(err, LLM_INVALID_ARGUMENT, "the estimate is NULL");
    llm_status status = spec_read_checked(spec, &whole, err);
    if (status == LLM_OK && options) status = options_read(&settings, sizeof settings, options, "llm_mlx_options_init", err);
    return status == LLM_OK ? memory_estimate_spec(&whole, &settings, estimate, err) : status;
}

// ---- What is there ----------------------------------------------------------------------------------------

llm_status llm_system_memory_read(llm_system_memory *memory, llm_error *err)
{
    if (!memory) return error_set(err, LLM_INVALID_ARGUMENT, "the memory is NULL");
    return system_memory_read("", memory, err);
}

llm_status memory_read(llm_memory_function function, void *user, llm_system_memory *memory, llm_error *err)
{
    if (!function) return system_memory_read("", memory, err);
    llm_error failure = {0};
    *memory = (llm_system_memory){0};
    llm_status status = function(user, memory, &failure);
    if (status != LLM_OK && !failure.message[0]) error_set(&failure, status, "the memory figures: %s", llm_status_name(status));
    if (status != LLM_OK && err) *err = failure;
    return status;
}

// "1.5 GiB"
static const char *format_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++) value /= 1024;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

llm_status memory_compare(const llm_memory_estimate *estimate, uint64_t available, const char *what, llm_error *err)
{
    char needed[32], there[32];
    if (estimate->total_bytes <= available) return LLM_OK;
    return error_set_amounts(err, LLM_INSUFFICIENT_MEMORY, estimate->total_bytes, available,
                             "it takes %s of memory with a context of %d tokens; %s are %s",
                             format_bytes(estimate->total_bytes, needed), estimate->context_length,
                             format_bytes(available, there), what);
}

llm_status memory_check(const llm_memory_estimate *estimate, llm_memory_function function, void *user, llm_error *err)
{
    llm_system_memory memory;
    llm_error failure = {0};
    if (memory_read(function, user, &memory, &failure) != LLM_OK) {
        log_message(LOG_WARNING, "not checked whether the model fits: %s", failure.message);
        return LLM_OK;
    }
    return memory_compare(estimate, memory.available_bytes, "available", err);
}
