// Estimates are the engine's, by the shapes in the headers, and a rule of thumb for the text side.
#include "models/memory.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/system_memory.h"
#include "client/options.h"
#include "client/spec.h"
#include "models/adapter_source.h"
#include "models/resolve.h"
#include <stdio.h>
#include <sys/stat.h>

// What a tokenizer takes for each byte of its file, kept and while it is read, and everything else of a process that holds a
// model: measured on Gemma 3's (16 MB) and SmolLM2's (2 MB).
enum { TOKENIZER_FACTOR = 2, TOKENIZER_LOADING_FACTOR = 5, PROCESS_BYTES = 4500000 };

// ---- Estimates --------------------------------------------------------------------------------------------

static uint64_t tokenizer_file_bytes(const char *directory)
{
    struct stat st;
    char *path = path_join(directory, "tokenizer.json");
    bool found = path && !stat(path, &st) && st.st_size > 0;
    mem_free(path);
    return found ? (uint64_t)st.st_size : 0;
}

static int choose_context(int wanted, int models)
{
    if (wanted > 0) return wanted < models ? wanted : models;
    return models < MEMORY_USUAL_CONTEXT ? models : MEMORY_USUAL_CONTEXT;
}

// What is estimated: an open model, its adapter, and what they run on.
typedef struct subject {
    const char *directory;
    const model_files *files;
    const adapter *own; // NULL: none
    engine *device;
    uint64_t total; // that the spec claims; 0: none
} subject;

// What reading an adapter takes besides, as floats, until the engine has it.
static uint64_t adapter_arrays(const subject *s)
{
    uint64_t bytes = 0;
    for (int i = 0; s->own && i < s->own->num_layers; i++) {
        const adapter_layer *layer = &s->own->layers[i];
        const tensor_desc *t = &s->files->desc.tensors[layer->tensor];
        bytes += sizeof(float) * ((uint64_t)layer->rank * ((uint64_t)t->rows + (uint64_t)t->cols) + (layer->gain ? 2 * (uint64_t)t->rows : 0));
    }
    return bytes;
}

static llm_status add_adapter(const subject *s, llm_memory_estimate *estimate, llm_error *err)
{
    engine_memory more = {0};
    if (!s->own) return LLM_OK;
    llm_status status = engine_estimate_adapter(s->device, &s->files->desc, s->own->layers, s->own->num_layers, &more, err);
    estimate->weights_bytes += more.weights_bytes;
    estimate->work_bytes += more.work_bytes;
    return status;
}

// What goes when the model is loaded, before the KV cache and the buffers are used.
static void add_loading(const subject *s, uint64_t tokenizer_file, llm_memory_estimate *estimate)
{
    uint64_t loading = adapter_arrays(s) + tokenizer_file * TOKENIZER_LOADING_FACTOR + PROCESS_BYTES;
    if (loading > estimate->kv_bytes + estimate->work_bytes) estimate->work_bytes = loading - estimate->kv_bytes;
}

static llm_status estimate_context(int context, const subject *s, llm_memory_estimate *estimate, llm_error *err)
{
    enum { FEW = 64 }; // tokens
    engine_memory whole, few;
    *estimate = (llm_memory_estimate){.context_length = context};
    engine_weights weights = {.views = s->files->weights.views};
    llm_status status = engine_estimate(s->device, &s->files->desc, &weights, context, &whole, err);
    if (status == LLM_OK) status = engine_estimate(s->device, &s->files->desc, &weights, FEW, &few, err);
    if (status != LLM_OK) return status;
    estimate->weights_bytes = whole.weights_bytes;
    estimate->kv_bytes_per_token = few.kv_bytes / FEW;
    estimate->kv_bytes = whole.kv_bytes;
    uint64_t tokenizer_file = tokenizer_file_bytes(s->directory);
    estimate->work_bytes = whole.work_bytes + tokenizer_file * TOKENIZER_FACTOR + PROCESS_BYTES;
    status = add_adapter(s, estimate, err);
    add_loading(s, tokenizer_file, estimate);
    estimate->total_bytes = s->total ? s->total : estimate->weights_bytes + estimate->kv_bytes + estimate->work_bytes;
    return status;
}

llm_status memory_estimate(const llm_model_spec *spec, const char *directory, const model_files *files, const adapter *own,
                           engine *device, llm_memory_estimate *estimate, llm_error *err)
{
    subject s = {directory, files, own, device, spec->estimated_memory};
    return estimate_context(choose_context(spec->context_length, files->desc.context_length), &s, estimate, err);
}

// One thread: an engine's threads take kilobytes.
static llm_status open_engine(const llm_mlx_options *options, engine **device, llm_error *err)
{
    bool exact = options && options->precision == LLM_PRECISION_EXACT;
    engine_options wanted = {.precision = exact ? PRECISION_EXACT : PRECISION_FAST, .num_threads = 1, .kv_bits = options ? options->kv_bits : 0};
    return engine_open(options ? options->engine : NULL, &wanted, device, err);
}

// What a spec names, opened for estimates: headers only.
typedef struct opened {
    char *directory;
    model_files files;
    adapter own;
    engine *device;
    bool adapted;
} opened;

static void close_all(opened *o)
{
    engine_close(o->device);
    adapter_close(&o->own);
    model_files_close(&o->files);
    mem_free(o->directory);
}

static llm_status open_shapes(const llm_model_spec *spec, const model_files *files, adapter *own, llm_error *err)
{
    char *directory = NULL;
    llm_status status = adapter_resolve_cached(&spec->adapter, &directory, err);
    if (status == LLM_OK) status = adapter_open_shapes(directory, files, own, err);
    mem_free(directory);
    return status;
}

static llm_status open_all(const llm_model_spec *spec, const llm_mlx_options *options, opened *o, llm_error *err)
{
    *o = (opened){.adapted = spec->adapter.kind != LLM_ADAPTER_NONE};
    llm_status status = model_resolve_cached(spec, &o->directory, err);
    if (status == LLM_OK) status = model_files_open(o->directory, &o->files, err);
    if (status == LLM_OK && o->adapted) status = open_shapes(spec, &o->files, &o->own, err);
    if (status == LLM_OK) status = open_engine(options, &o->device, err);
    return status;
}

llm_status memory_estimate_files(const llm_model_spec *spec, const llm_mlx_options *options, const char *directory,
                                 const model_files *files, llm_memory_estimate *estimate, llm_error *err)
{
    engine *device = NULL;
    adapter own = {0};
    bool adapted = spec->adapter.kind != LLM_ADAPTER_NONE;
    llm_status status = adapted ? open_shapes(spec, files, &own, err) : LLM_OK;
    if (status == LLM_OK) status = open_engine(options, &device, err);
    if (status == LLM_OK) status = memory_estimate(spec, directory, files, adapted ? &own : NULL, device, estimate, err);
    engine_close(device);
    adapter_close(&own);
    return status;
}

llm_status memory_estimate_spec(const llm_model_spec *spec, const llm_mlx_options *options, llm_memory_estimate *estimate,
                                llm_error *err)
{
    opened o;
    llm_status status = open_all(spec, options, &o, err);
    if (status == LLM_OK) status = memory_estimate(spec, o.directory, &o.files, o.adapted ? &o.own : NULL, o.device, estimate, err);
    close_all(&o);
    return status;
}

// The total grows with the context, so the longest one that fits is found by halving.
static llm_status halve(const subject *s, uint64_t limit, int step, int too_long, int *tokens, llm_error *err)
{
    int fits = 0; // steps, as too_long
    llm_status status = LLM_OK;
    while (status == LLM_OK && too_long - fits > 1) {
        llm_memory_estimate estimate;
        int middle = fits + (too_long - fits) / 2;
        status = estimate_context(middle * step, s, &estimate, err);
        if (estimate.total_bytes <= limit) fits = middle;
        else too_long = middle;
    }
    *tokens = fits * step;
    return status;
}

// Whole hundreds of tokens, but for the last few that fit at all.
static llm_status search_context(const subject *s, uint64_t limit, int *tokens, llm_error *err)
{
    enum { STEP = 256 };
    llm_memory_estimate estimate;
    int most = s->files->desc.context_length;
    llm_status status = estimate_context(most, s, &estimate, err);
    *tokens = most;
    if (status != LLM_OK || estimate.total_bytes <= limit) return status;
    status = halve(s, limit, STEP, most / STEP + 1, tokens, err);
    if (status == LLM_OK && *tokens == 0) status = halve(s, limit, 1, most < STEP ? most : STEP, tokens, err);
    return status;
}

llm_status memory_longest_context(const llm_model_spec *spec, const llm_mlx_options *options, uint64_t limit, int *tokens,
                                  llm_error *err)
{
    opened o;
    llm_status status = open_all(spec, options, &o, err);
    subject s = {o.directory, &o.files, o.adapted ? &o.own : NULL, o.device, 0};
    if (status == LLM_OK) status = search_context(&s, limit, tokens, err);
    close_all(&o);
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

// ---- The rule ---------------------------------------------------------------------------------------------

enum { PERCENT = 80 }; // of the memory, that a model may take

uint64_t memory_share(const llm_system_memory *memory) { return memory->total_bytes / 100 * PERCENT; }

llm_memory_fit llm_memory_fits(uint64_t bytes, const llm_system_memory *memory)
{
    if (!memory || bytes > memory_share(memory)) return LLM_FITS_NEVER;
    return bytes > memory->available_bytes ? LLM_FITS_LATER : LLM_FITS;
}

llm_status memory_judge(const llm_memory_estimate *estimate, const llm_system_memory *memory, bool now, llm_error *err)
{
    char needed[32], there[32];
    llm_memory_fit fit = llm_memory_fits(estimate->total_bytes, memory);
    if (fit == LLM_FITS || (fit == LLM_FITS_LATER && !now)) return LLM_OK;
    uint64_t available = fit == LLM_FITS_LATER ? memory->available_bytes : memory_share(memory);
    return error_set_amounts(err, LLM_INSUFFICIENT_MEMORY, estimate->total_bytes, available,
                             "it takes %s of memory with a context of %d tokens; %s are available%s",
                             format_bytes(estimate->total_bytes, needed), estimate->context_length, format_bytes(available, there),
                             fit == LLM_FITS_LATER ? " now" : " to a model here, 80 % of the memory");
}

llm_status memory_check(const llm_memory_estimate *estimate, llm_memory_function function, void *user, llm_error *err)
{
    llm_system_memory memory;
    llm_error failure = {0};
    if (memory_read(function, user, &memory, &failure) != LLM_OK) {
        log_message(LOG_WARNING, "not checked whether the model fits: %s", failure.message);
        return LLM_OK;
    }
    return memory_judge(estimate, &memory, true, err);
}

llm_status memory_check_adapter(const model_desc *desc, const adapter *a, engine *device, llm_memory_function function, void *user,
                                llm_error *err)
{
    char needed[32], there[32];
    engine_memory more;
    llm_system_memory memory;
    llm_status status = engine_estimate_adapter(device, desc, a->layers, a->num_layers, &more, err);
    if (status != LLM_OK || memory_read(function, user, &memory, NULL) != LLM_OK) return status;
    uint64_t bytes = more.weights_bytes + more.work_bytes;
    if (bytes <= memory.available_bytes) return LLM_OK;
    return error_set_amounts(err, LLM_INSUFFICIENT_MEMORY, bytes, memory.available_bytes, "it takes %s of memory; %s are available now",
                             format_bytes(bytes, needed), format_bytes(memory.available_bytes, there));
}
