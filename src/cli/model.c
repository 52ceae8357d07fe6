// Loading a model for a subcommand.
#include "cli/model.h"
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *set_mebibytes(int *target, const char *value)
{
    char *end;
    long number = strtol(value, &end, 10);
    if (!*value || *end || number < 1 || number > INT_MAX) return "is no number of MiB above 0";
    *target = (int)number;
    return NULL;
}

static const char *set_cache_limit(void *target, const char *value) { return set_mebibytes(&((model_options *)target)->cache_limit, value); }
static const char *set_memory_limit(void *target, const char *value) { return set_mebibytes(&((model_options *)target)->memory_limit, value); }

static const char *set_precision(void *target, const char *value)
{
    bool exact = !strcmp(value, "exact");
    if (!exact && strcmp(value, "fast")) return "is neither exact nor fast";
    ((model_options *)target)->precision = exact ? LLM_PRECISION_EXACT : LLM_PRECISION_FAST;
    return NULL;
}

const option model_option_table[9] = {
    {0, "engine", "NAME", OPTION_TEXT, offsetof(model_options, engine),
     "What to run on (llmlocal engines); the best one.", NULL},
    {0, "threads", "N", OPTION_INT, offsetof(model_options, threads),
     "Processor threads; as many as there are.", NULL},
    {0, "precision", "exact|fast", OPTION_CALL, 0, "Arithmetic in float32, or as is fastest; fast.",
     set_precision},
    {0, "kv-bits", "N", OPTION_INT, offsetof(model_options, kv_bits), "Bits of keys and values on the cpu engine: 8, 16 or 32; 16, or 32 with exact.", NULL},
    {0, "cache-limit", "MIB", OPTION_CALL, 0, "Freed memory that the mlx engine keeps; 20.", set_cache_limit},
    {0, "memory-limit", "MIB", OPTION_CALL, 0, "Memory that the mlx engine uses at most; its own.", set_memory_limit},
    {0, "context", "N", OPTION_INT, offsetof(model_options, context),
     "Context length in tokens; the model's.", NULL},
    {0, "adapter", "WHERE", OPTION_TEXT, offsetof(model_options, adapter),
     "A LoRA or DoRA adapter to put on the model: a directory, a Hugging Face id, or github:OWNER/NAME@TAG/FILE.", NULL},
    {'v', "verbose", NULL, OPTION_FLAG, offsetof(model_options, verbose), "Print the library's messages.",
     NULL},
};

double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// ---- Progress: one line on the terminal, overwritten ------------------------------------------------------

static bool progress_runs, progress_shown;

int show_progress(void *user, const char *what, double fraction)
{
    static double began_at, shown_at;
    double now = now_seconds();
    (void)user;
    if (!progress_runs) began_at = now;
    progress_runs = true;
    // What is done at once needs no line.
    if (isatty(STDERR_FILENO) && now - began_at > 0.3 && now - shown_at > 0.1) {
        fprintf(stderr, "\r\033[K%s %d %%", what, (int)(fraction * 100));
        shown_at = now;
        progress_shown = true;
    }
    return interrupted();
}

void hide_progress(void)
{
    if (progress_shown) fprintf(stderr, "\r\033[K");
    progress_runs = progress_shown = false;
}

// Warnings always, the rest when `user`, a flag, says so.
static void print_message(void *user, int level, const char *message)
{
    static const char *const levels[] = {"debug", "info", "warning"};
    if (level < 2 && !*(const bool *)user) return;
    fprintf(stderr, "llmlocal: %s: %s\n", levels[level < 0 || level > 2 ? 2 : level], message);
}

void print_messages(bool all)
{
    static bool verbose;
    verbose = all;
    llm_set_log(print_message, &verbose);
}

// ---- The model --------------------------------------------------------------------------------------------

// A directory, unless it can only be the name of a repository. What is missing after "github:" the library asks for.
llm_adapter adapter_from_text(const char *text)
{
    static char copy[1024];
    struct stat info;
    bool path = strchr("/.", text[0]) || !strchr(text, '/') || (stat(text, &info) == 0 && S_ISDIR(info.st_mode));
    if (strncmp(text, "github:", 7) != 0) return (llm_adapter){.kind = path ? LLM_ADAPTER_DIRECTORY : LLM_ADAPTER_HUB, .source = text};
    snprintf(copy, sizeof copy, "%s", text + 7);
    llm_adapter adapter = {.kind = LLM_ADAPTER_GITHUB, .source = copy};
    char *tag = strchr(copy, '@'), *asset = tag ? strrchr(tag, '/') : NULL;
    if (tag) *tag = 0, adapter.tag = tag + 1;
    if (asset) *asset = 0, adapter.asset = asset + 1;
    return adapter;
}

void model_spec_init(const model_options *options, const char *model, llm_model_spec *spec)
{
    llm_model_spec_init(spec, model);
    spec->context_length = options->context;
    if (options->adapter) spec->adapter = adapter_from_text(options->adapter);
    print_messages(options->verbose);
}

static llm_announcement *announcement; // of the one model that a subcommand loads

// `llmlocal ps` is a convenience: without it everything else works.
static void announce(llm_backend *backend, bool verbose)
{
    llm_error err;
    char program[60];
    snprintf(program, sizeof program, "llmlocal %s", running_subcommand());
    announcement = llm_announcement_create(backend, program, &err);
    if (!announcement && verbose) fprintf(stderr, "llmlocal: not shown by llmlocal ps: %s\n", err.message);
}

void model_unload(llm_backend *backend)
{
    llm_announcement_free(announcement);
    announcement = NULL;
    llm_backend_free(backend);
}

llm_backend *model_load(const model_options *options, const char *model, double *load_seconds, int *code)
{
    llm_error err;
    llm_model_spec spec;
    llm_mlx_options settings;
    interrupt_install();
    model_spec_init(options, model, &spec);
    llm_mlx_options_init(&settings);
    settings.engine = options->engine;
    settings.num_threads = options->threads;
    settings.precision = options->precision;
    settings.kv_bits = options->kv_bits;
    if (options->cache_limit) settings.gpu_cache_limit = (uint64_t)options->cache_limit << 20;
    if (options->memory_limit) settings.gpu_memory_limit = (uint64_t)options->memory_limit << 20;
    double start = now_seconds();
    llm_backend *backend = llm_mlx_backend_create(&settings, &err);
    llm_status status = backend ? llm_backend_load(backend, &spec, show_progress, NULL, &err) : err.code;
    hide_progress();
    if (load_seconds) *load_seconds = now_seconds() - start;
    if (status == LLM_OK) {
        announce(backend, options->verbose);
        return backend;
    }
    *code = fail(&err);
    llm_backend_free(backend);
    return NULL;
}
