// Where adapters come from.
#include "models/adapter_source.h"
#include "base/file.h"
#include "base/mem.h"
#include "models/github.h"
#include "models/hub_names.h"
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

typedef struct adapter_job {
    hub_settings settings;
    const llm_adapter *adapter;
    const resolve_watch *watch; // NULL: what is in the cache will do
    bool only_look;             // nothing else will
    llm_progress_function progress;
    void *user;
} adapter_job;

static llm_status from_hub(const adapter_job *job, char **directory, llm_error *err)
{
    const char *id = job->adapter->source, *revision = job->adapter->tag ? job->adapter->tag : "main";
    hub_teller teller = {id, job->progress, job->user};
    hub_request request = {.id = id,
                           .revision = revision,
                           .want = HUB_ADAPTER,
                           .progress = hub_tell,
                           .user = &teller};
    if (job->watch)
        request.order = job->watch->order, request.progress = job->watch->progress,
        request.user = job->watch->user;
    if (hub_is_id(id) && hub_check_revision(revision, err) == LLM_OK && !job->watch)
        *directory = cache_find(&job->settings, id, revision, HUB_ADAPTER, NULL);
    if (!*directory && job->only_look)
        return error_set(err, LLM_DOWNLOAD_FAILED, "the adapter %s is not in the cache, or not all of it", id);
    return *directory ? LLM_OK : hub_pull(&job->settings, &request, directory, err);
}

// The folder of an unpacked asset that has the adapter: the asset's, or one inside it, the least deep.
static char *find_adapter(const char *folder)
{
    char *paths[] = {(char *)(uintptr_t)folder, NULL}, *found = NULL;
    int depth = 0;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; tree && (entry = fts_read(tree));) {
        if (entry->fts_info != FTS_F || strcmp(entry->fts_name, "adapter_config.json") != 0 ||
            (found && entry->fts_level >= depth))
            continue;
        mem_free(found);
        found = mem_copy_bytes(entry->fts_path, (size_t)entry->fts_pathlen - strlen("/adapter_config.json"));
        depth = entry->fts_level;
    }
    if (tree) fts_close(tree);
    return found;
}

static llm_status from_github(const adapter_job *job, char **directory, llm_error *err)
{
    char *folder = NULL;
    const llm_adapter *a = job->adapter;
    hub_teller teller = {a->source, job->progress, job->user};
    github_request request = {.repository = a->source,
                              .tag = a->tag,
                              .asset = a->asset,
                              .ask = job->watch != NULL,
                              .only_look = job->only_look,
                              .progress = hub_tell,
                              .user = &teller};
    if (job->watch)
        request.order = job->watch->order, request.progress = job->watch->progress,
        request.user = job->watch->user;
    if (!a->asset)
        return error_set(err, LLM_INVALID_ARGUMENT, "which file of the GitHub release is the adapter?");
    llm_status status = github_get(&job->settings, &request, &folder, err);
    if (status != LLM_OK) return status;
    *directory = find_adapter(folder);
    mem_free(folder);
    return *directory
               ? LLM_OK
               : error_set(err, LLM_UNSUPPORTED_FORMAT,
                           "%s of %s is no adapter: it has no adapter_config.json", a->asset, a->source);
}

static llm_status from_directory(const adapter_job *job, char **directory, llm_error *err)
{
    const char *path = job->adapter->source;
    if (!file_is_directory(path))
        return error_set(err, LLM_LOAD_FAILED, "there is no adapter directory %s", path);
    *directory = mem_copy_string(path);
    return *directory ? LLM_OK : error_no_memory(err, "a path");
}

static llm_status resolve(adapter_job *job, char **directory, llm_error *err)
{
    *directory = NULL;
    llm_status status = hub_settings_read(&job->settings, err);
    if (status != LLM_OK) return status;
    switch (job->adapter->kind) {
    case LLM_ADAPTER_DIRECTORY: status = from_directory(job, directory, err); break;
    case LLM_ADAPTER_HUB: status = from_hub(job, directory, err); break;
    case LLM_ADAPTER_GITHUB: status = from_github(job, directory, err); break;
    default: status = error_set(err, LLM_INVALID_ARGUMENT, "there is no adapter to resolve"); break;
    }
    hub_settings_free(&job->settings);
    return status;
}

llm_status adapter_resolve(const llm_adapter *adapter, llm_progress_function progress, void *user,
                           char **directory, llm_error *err)
{
    adapter_job job = {.adapter = adapter, .progress = progress, .user = user};
    return resolve(&job, directory, err);
}

llm_status adapter_pull(const llm_adapter *adapter, const resolve_watch *watch, char **directory,
                        llm_error *err)
{
    adapter_job job = {.adapter = adapter, .watch = watch};
    return resolve(&job, directory, err);
}

llm_status adapter_resolve_cached(const llm_adapter *adapter, char **directory, llm_error *err)
{
    adapter_job job = {.adapter = adapter, .only_look = true};
    return resolve(&job, directory, err);
}

bool adapter_is_cached(const llm_adapter *adapter)
{
    llm_error ignored;
    char *directory;
    bool cached = adapter_resolve_cached(adapter, &directory, &ignored) == LLM_OK;
    mem_free(directory);
    return cached;
}

llm_status adapter_directory(const llm_adapter *adapter, char **directory, llm_error *err)
{
    return adapter_resolve(adapter, NULL, NULL, directory, err);
}

char *llm_adapter_latest_tag_copy(const llm_adapter *adapter, llm_error *err)
{
    hub_settings settings;
    char *tag = NULL;
    if (!adapter || adapter->kind != LLM_ADAPTER_GITHUB || !adapter->source)
        return error_set(err, LLM_INVALID_ARGUMENT, "only adapters of GitHub releases have tags"), NULL;
    if (hub_settings_read(&settings, err) != LLM_OK) return NULL;
    github_latest_tag(&settings, adapter->source, &tag, err);
    hub_settings_free(&settings);
    return tag;
}
