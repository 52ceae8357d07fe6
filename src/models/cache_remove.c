// Removing what is in the cache: one model, or what interruptions left behind.
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "models/cache_tree.h"
#include "models/file_lock.h"
#include "models/github.h"
#include "models/hub_cache.h"
#include "models/hub_names.h"
#include "models/import.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- One model --------------------------------------------------------------------------------------------

typedef struct lock_check {
    llm_status status; // of the first lock that is not free
    llm_error *err;
} lock_check;

static void try_lock(void *user, const char *path, const char *name)
{
    int fd;
    lock_check *check = user;
    if (check->status != LLM_OK || !name_ends(name, ".lock")) return;
    check->status = file_lock_try(path, &fd, check->err);
    file_lock_release(&fd);
}

// The tree gets another name first: nobody finds half a model.
static llm_status remove_whole(const char *path, uint64_t *freed, llm_error *err)
{
    buf away = {0};
    const char *name = path_base_name(path);
    buf_printf(&away, "%.*s.removing-%s-%ld", (int)(name - path), path, name, (long)getpid());
    if (away.failed) return error_no_memory(err, path);
    llm_status status = LLM_OK;
    if (rename(path, away.data) != 0)
        status = error_set(err, LLM_IO_ERROR, "cannot remove %s: %s", path, strerror(errno));
    if (status == LLM_OK) status = tree_remove(away.data, freed, err);
    buf_free(&away);
    return status;
}

static llm_status remove_repository(const hub_settings *settings, const char *id, uint64_t *freed,
                                    llm_error *err)
{
    uint64_t ignored = 0;
    lock_check check = {LLM_OK, err};
    char *repository = cache_repository(settings, id), *locks = cache_locks(settings, id);
    llm_status status = repository && locks ? LLM_OK : error_no_memory(err, "a path");
    if (status == LLM_OK && !file_is_directory(repository))
        status = error_set(err, LLM_INVALID_ARGUMENT, "%s is not in the cache (%s)", id, settings->cache);
    if (status == LLM_OK) folder_walk(locks, try_lock, &check);
    if (status == LLM_OK && check.status == LLM_BUSY)
        status = error_set(err, LLM_BUSY, "%s is being downloaded", id);
    if (status == LLM_OK) status = check.status;
    if (status == LLM_OK) status = remove_whole(repository, freed, err);
    if (status == LLM_OK) status = tree_remove(locks, &ignored, err);
    mem_free(locks);
    mem_free(repository);
    return status;
}

typedef struct import_removal {
    const char *folder, *source;
    uint64_t *freed;
    llm_error *err;
    llm_status status;
    int found;
} import_removal;

static void remove_import(void *user, const char *path, const char *name)
{
    import_removal *r = user;
    if (r->status != LLM_OK || !file_is_directory(path)) return;
    char *source = import_source(r->folder, name);
    if ((source && strcmp(source, r->source) == 0) || strcmp(path, r->source) == 0) {
        buf note = {0};
        r->found++;
        r->status = remove_whole(path, r->freed, r->err);
        buf_printf(&note, "%s.json", path);
        if (!note.failed) unlink(note.data);
        buf_free(&note);
    }
    mem_free(source);
}

static llm_status remove_imports(const hub_settings *settings, const char *id, uint64_t *freed,
                                 llm_error *err)
{
    char *folder = import_folder(settings), *real = realpath(id, NULL);
    import_removal removal = {folder, real ? real : id, freed, err, LLM_OK, 0};
    if (folder)
        folder_walk(folder, remove_import, &removal);
    else
        removal.status = error_no_memory(err, "a path");
    if (removal.status == LLM_OK && !removal.found)
        removal.status =
            error_set(err, LLM_INVALID_ARGUMENT,
                      "%s is not in the cache: no hub id, imported GGUF file or asset of a release", id);
    mem_free(folder);
    free(real);
    return removal.status;
}

typedef struct asset_removal {
    const char *id;
    uint64_t *freed;
    llm_error *err;
    llm_status status;
    int found;
} asset_removal;

static void remove_asset(void *user, const char *release, const char *path, const char *name)
{
    asset_removal *r = user;
    size_t length = strlen(release);
    bool wanted =
        strncmp(r->id, release, length) == 0 && r->id[length] == '/' && strcmp(r->id + length + 1, name) == 0;
    if (!wanted || r->status != LLM_OK || !file_is_directory(path)) return;
    buf note = {0};
    r->found++;
    buf_printf(&note, "%s.json", path);
    if (!note.failed) unlink(note.data);
    r->status = remove_whole(path, r->freed, r->err);
    buf_free(&note);
}

static llm_status remove_other(const hub_settings *settings, const char *id, uint64_t *freed, llm_error *err)
{
    asset_removal removal = {.id = id, .freed = freed, .err = err};
    github_walk(settings, remove_asset, &removal);
    return removal.found ? removal.status : remove_imports(settings, id, freed, err);
}

llm_status llm_cache_remove(const char *id, uint64_t *freed_bytes, llm_error *err)
{
    hub_settings settings;
    uint64_t freed = 0;
    if (freed_bytes) *freed_bytes = 0;
    if (!id) return error_set(err, LLM_INVALID_ARGUMENT, "the id is NULL");
    llm_status status = hub_settings_read(&settings, err);
    if (status != LLM_OK) return status;
    status = folder_check(settings.cache, err);
    if (status == LLM_OK)
        status = hub_is_id(id) ? remove_repository(&settings, id, &freed, err)
                               : remove_other(&settings, id, &freed, err);
    hub_settings_free(&settings);
    if (freed_bytes) *freed_bytes = freed;
    return status;
}

// ---- What was left behind ---------------------------------------------------------------------------------

typedef struct pruning {
    const hub_settings *settings;
    char *locks; // of the repository that is walked
    uint64_t freed;
    int removed;
} pruning;

static void count_removal(pruning *p, const char *path)
{
    llm_error ignored;
    if (tree_remove(path, &p->freed, &ignored) == LLM_OK) p->removed++;
}

// "<etag>.incomplete", or "<etag>.<8 digits>.incomplete" as newer Python tools have it. Both hold the lock of
// the etag.
static void prune_blob(void *user, const char *path, const char *name)
{
    int fd;
    llm_error ignored;
    pruning *p = user;
    buf lock = {0};
    if (!name_ends(name, ".incomplete")) return;
    buf_printf(&lock, "%s/%.*s.lock", p->locks, (int)strcspn(name, "."), name);
    if (!lock.failed && file_lock_try(lock.data, &fd, &ignored) == LLM_OK) {
        count_removal(p, path);
        file_lock_release(&fd);
    }
    buf_free(&lock);
}

// Removals that were interrupted.
static bool prune_removal(pruning *p, const char *path, const char *name)
{
    if (strncmp(name, ".removing-", 10) != 0) return false;
    count_removal(p, path);
    return true;
}

static void prune_repository(void *user, const char *path, const char *name)
{
    char id[200];
    pruning *p = user;
    if (prune_removal(p, path, name)) return;
    if (!cache_folder_id(name, id, sizeof id)) return;
    char *blobs = path_join(path, "blobs");
    p->locks = cache_locks(p->settings, id);
    if (blobs && p->locks) folder_walk(blobs, prune_blob, p);
    mem_free(p->locks);
    mem_free(blobs);
}

// "<name>.converting-XXXXXX" of an import that nobody is at any more.
static void prune_import(void *user, const char *path, const char *name)
{
    int fd;
    llm_error ignored;
    pruning *p = user;
    const char *mark = strstr(name, ".converting-");
    buf lock = {0};
    if (prune_removal(p, path, name)) return;
    if (!mark) return;
    buf_printf(&lock, "%.*s.locks/%.*s.lock", (int)(path_base_name(path) - path), path, (int)(mark - name),
               name);
    if (!lock.failed && file_lock_try(lock.data, &fd, &ignored) == LLM_OK) {
        count_removal(p, path);
        file_lock_release(&fd);
    }
    buf_free(&lock);
}

// Unfinished archives and unpackings ("<asset>.archive…", "<asset>.unpacking-XXXXXX").
static void prune_asset(void *user, const char *release, const char *path, const char *name)
{
    int fd;
    llm_error ignored;
    pruning *p = user;
    buf lock = {0};
    const char *mark = strstr(name, ".unpacking-");
    (void)release;
    if (prune_removal(p, path, name)) return;
    if (!mark && (name_ends(name, ".archive.incomplete") || name_ends(name, ".archive")))
        mark = strstr(name, ".archive");
    if (!mark) return;
    buf_printf(&lock, "%.*s.lock", (int)(path_base_name(path) + (mark - name) - path), path);
    if (!lock.failed && file_lock_try(lock.data, &fd, &ignored) == LLM_OK) {
        count_removal(p, path);
        file_lock_release(&fd);
    }
    buf_free(&lock);
}

llm_status llm_cache_prune(uint64_t *freed_bytes, int *num_removed, llm_error *err)
{
    hub_settings settings;
    llm_status status = hub_settings_read(&settings, err);
    if (status != LLM_OK) return status;
    pruning p = {.settings = &settings};
    char *imports = import_folder(&settings);
    status = folder_check(settings.cache, err);
    if (status == LLM_OK) folder_walk(settings.cache, prune_repository, &p);
    if (status == LLM_OK) github_walk(&settings, prune_asset, &p);
    if (imports && status == LLM_OK)
        folder_walk(imports, prune_import, &p);
    else if (status == LLM_OK)
        status = error_no_memory(err, "a path");
    mem_free(imports);
    hub_settings_free(&settings);
    if (freed_bytes) *freed_bytes = p.freed;
    if (num_removed) *num_removed = p.removed;
    return status;
}
