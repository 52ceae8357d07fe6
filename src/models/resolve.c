// Directory, preset, GGUF file or hub id: a name is looked at in this order.
#include "models/resolve.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "client/spec.h"
#include "models/adapter_source.h"
#include "models/hub_names.h"
#include "models/import.h"
#include "models/presets.h"
#include "models/transfer.h"
#include <string.h>

typedef enum resolve_mode { ONLY_LOOK, CACHED_ONLY, WHAT_IS_MISSING, WHAT_IS_NEWEST } resolve_mode;

typedef struct resolve_job {
    hub_settings settings;
    const char *base, *revision;
    resolve_mode mode;
    llm_progress_function progress; // of WHAT_IS_MISSING
    void *user;
    const resolve_watch *watch; // of WHAT_IS_NEWEST
} resolve_job;

static llm_status take_copy(const char *path, char **directory, llm_error *err)
{
    *directory = mem_copy_string(path);
    return *directory ? LLM_OK : error_no_memory(err, "a path");
}

static int obey_order(void *user, const char *what, double fraction)
{
    const resolve_watch *watch = user;
    (void)what, (void)fraction;
    return watch->order && atomic_load(watch->order) == TRANSFER_STOP;
}

static llm_status import(const resolve_job *job, const char *path, char **directory, llm_error *err)
{
    if (job->mode == ONLY_LOOK) return take_copy(path, directory, err);
    if (job->mode == WHAT_IS_NEWEST)
        return import_gguf(&job->settings, path, obey_order, (void *)(uintptr_t)job->watch, directory, err);
    return import_gguf(&job->settings, path, job->progress, job->user, directory, err);
}

// ---- The hub ----------------------------------------------------------------------------------------------

static llm_status pull(const resolve_job *job, const char *id, const char *gguf, char **path, llm_error *err)
{
    hub_teller teller = {job->base, job->progress, job->user};
    hub_request request = {.id = id, .revision = job->revision, .want = HUB_MODEL, .gguf = gguf};
    if (job->mode == WHAT_IS_NEWEST) {
        request.order = job->watch->order;
        request.progress = job->watch->progress;
        request.user = job->watch->user;
    } else {
        request.progress = hub_tell;
        request.user = &teller;
    }
    return hub_pull(&job->settings, &request, path, err);
}

static llm_status resolve_hub(const resolve_job *job, const char *id, const char *gguf, char **directory,
                              llm_error *err)
{
    char *path = NULL;
    llm_status status = hub_check_revision(job->revision, err);
    if (status != LLM_OK) return status;
    if (job->mode != WHAT_IS_NEWEST) path = cache_find(&job->settings, id, job->revision, HUB_MODEL, gguf);
    if (!path && job->mode <= CACHED_ONLY)
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "%s is not in the cache, or not all of it (\"llmlocal pull\" gets it)", id);
    if (!path) status = pull(job, id, gguf, &path, err);
    if (status == LLM_OK && !file_is_directory(path)) {
        status = import(job, path, directory, err);
        mem_free(path);
    } else {
        *directory = path;
    }
    return status;
}

// ---- Presets ----------------------------------------------------------------------------------------------

static llm_status resolve_preset(const resolve_job *job, const llm_preset *preset, char **directory, llm_error *err)
{
    *directory = preset_installed(job->base);
    return *directory ? LLM_OK : resolve_hub(job, preset->hub_id, NULL, directory, err);
}

// ---- Names ------------------------------------------------------------------------------------------------

static bool is_path(const char *base)
{
    return base[0] == '/' || strncmp(base, "./", 2) == 0 || strncmp(base, "../", 3) == 0;
}

static llm_status not_found(const char *base, llm_error *err)
{
    if (file_exists(base))
        return error_set(err, LLM_LOAD_FAILED, "%s is neither a directory nor a .gguf file", base);
    if (is_path(base)) return error_set(err, LLM_LOAD_FAILED, "there is no model %s", base);
    return error_set(
        err, LLM_LOAD_FAILED,
        "there is no model \"%s\": neither a directory, nor a preset of that name, nor a hub id (owner/name)",
        base);
}

static llm_status resolve_name(const resolve_job *job, char **directory, llm_error *err)
{
    char *id;
    const char *file, *base = job->base;
    const llm_preset *preset = preset_find(base);
    if (preset) return resolve_preset(job, preset, directory, err);
    if (hub_is_gguf(base) && file_exists(base)) return import(job, base, directory, err);
    if (is_path(base) || file_exists(base)) return not_found(base, err);
    if (hub_is_id(base)) return resolve_hub(job, base, NULL, directory, err);
    if (!hub_split_gguf(base, &id, &file)) return not_found(base, err);
    llm_status status = resolve_hub(job, id, file, directory, err);
    mem_free(id);
    return status;
}

static llm_status resolve(resolve_job *job, const llm_model_spec *spec, char **directory, llm_error *err)
{
    *directory = NULL;
    // What is wrong with the hub's settings is none of a directory's business.
    if (file_is_directory(spec->base)) return take_copy(spec->base, directory, err);
    llm_status status = hub_settings_read(&job->settings, err);
    if (status != LLM_OK) return status;
    job->base = spec->base;
    job->revision = spec_revision(spec);
    status = resolve_name(job, directory, err);
    hub_settings_free(&job->settings);
    return status;
}

llm_status model_resolve(const llm_model_spec *spec, llm_progress_function progress, void *user,
                         char **directory, llm_error *err)
{
    resolve_job job = {.mode = WHAT_IS_MISSING, .progress = progress, .user = user};
    return resolve(&job, spec, directory, err);
}

llm_status model_pull(const llm_model_spec *spec, const resolve_watch *watch, char **directory,
                      llm_error *err)
{
    resolve_job job = {.mode = WHAT_IS_NEWEST, .watch = watch};
    return resolve(&job, spec, directory, err);
}

llm_status model_resolve_cached(const llm_model_spec *spec, char **directory, llm_error *err)
{
    resolve_job job = {.mode = CACHED_ONLY};
    return resolve(&job, spec, directory, err);
}

bool model_is_cached(const llm_model_spec *spec)
{
    llm_error ignored;
    char *directory;
    resolve_job job = {.mode = ONLY_LOOK};
    bool cached = resolve(&job, spec, &directory, &ignored) == LLM_OK;
    mem_free(directory);
    return cached && (spec->adapter.kind == LLM_ADAPTER_NONE || adapter_is_cached(&spec->adapter));
}

llm_status model_resolve_directory(const char *base, char **directory, llm_error *err)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, base);
    return model_resolve_cached(&spec, directory, err);
}
