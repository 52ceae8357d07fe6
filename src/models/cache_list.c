// What is in the cache: llm_cache_list_copy, and whether a spec is there.
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "client/spec.h"
#include "models/cache_tree.h"
#include "models/github.h"
#include "models/hub_cache.h"
#include "models/import.h"
#include "models/resolve.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct cache_listing {
    arena memory; // of the strings
    llm_cached_model *items;
    size_t count, capacity;
    bool failed;
} cache_listing;

static const char *keep(cache_listing *list, const char *text)
{
    char *copy = text ? arena_copy(&list->memory, text, strlen(text)) : NULL;
    if (text && !copy) list->failed = true;
    return copy;
}

static void add(cache_listing *list, llm_cached_model item, const char *folder)
{
    tree_size size;
    tree_measure(folder, &size);
    item.size_bytes = size.bytes;
    item.partial_bytes = size.partial_bytes;
    item.changed_at = size.changed_at;
    if (!mem_grow((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items))
        list->failed = true;
    if (!list->failed) list->items[list->count++] = item;
}

// ---- Repositories of the hub ------------------------------------------------------------------------------

typedef struct newest_snapshot {
    const char *repository;
    char commit[41];
    int64_t time;
} newest_snapshot;

static bool is_whole(const char *repository, const char *commit)
{
    return cache_is_complete(repository, commit, HUB_MODEL, NULL) ||
           cache_is_complete(repository, commit, HUB_ADAPTER, NULL) || cache_has_gguf(repository, commit);
}

static void note_snapshot(void *user, const char *path, const char *name)
{
    newest_snapshot *newest = user;
    struct stat st;
    if (strlen(name) != 40 || stat(path, &st) != 0 ||
        (newest->commit[0] && (int64_t)st.st_mtime < newest->time))
        return;
    if (!is_whole(newest->repository, name)) return;
    memcpy(newest->commit, name, 41);
    newest->time = (int64_t)st.st_mtime;
}

// The commit that main means, or the newest that is whole.
static bool find_commit(const char *repository, char commit[41])
{
    newest_snapshot newest = {.repository = repository};
    if (cache_read_ref(repository, "main", commit) && is_whole(repository, commit)) return true;
    char *snapshots = path_join(repository, "snapshots");
    if (snapshots) folder_walk(snapshots, note_snapshot, &newest);
    mem_free(snapshots);
    memcpy(commit, newest.commit, 41);
    return commit[0] != 0;
}

static void add_repository(void *user, const char *path, const char *name)
{
    cache_listing *list = user;
    char id[200], commit[41];
    if (!cache_folder_id(name, id, sizeof id) || !file_is_directory(path)) return;
    llm_cached_model item = {.kind = LLM_CACHED_HUB, .id = keep(list, id)};
    if (find_commit(path, commit)) {
        buf directory = {0};
        buf_printf(&directory, "%s/snapshots/%s", path, commit);
        item.commit = keep(list, commit);
        item.directory = directory.failed ? NULL : keep(list, directory.data);
        buf_free(&directory);
    }
    add(list, item, path);
}

// ---- Imports ----------------------------------------------------------------------------------------------

typedef struct import_walk {
    cache_listing *list;
    const char *folder;
} import_walk;

static void add_import(void *user, const char *path, const char *name)
{
    const import_walk *walk = user;
    if (name[0] == '.' || strstr(name, ".converting-") || !file_is_directory(path)) return;
    char *source = import_source(walk->folder, name);
    add(walk->list,
        (llm_cached_model){.kind = LLM_CACHED_IMPORT,
                           .id = keep(walk->list, source ? source : path),
                           .directory = keep(walk->list, path)},
        path);
    mem_free(source);
}

// ---- Assets of GitHub releases ----------------------------------------------------------------------------

static void add_asset(void *user, const char *release, const char *path, const char *name)
{
    cache_listing *list = user;
    buf id = {0};
    if (strstr(name, ".unpacking-") || !file_is_directory(path)) return;
    buf_printf(&id, "%s/%s", release, name);
    if (id.failed)
        list->failed = true;
    else
        add(list,
            (llm_cached_model){
                .kind = LLM_CACHED_GITHUB, .id = keep(list, id.data), .directory = keep(list, path)},
            path);
    buf_free(&id);
}

// ---- The list ---------------------------------------------------------------------------------------------

static int by_id(const void *a, const void *b)
{
    const llm_cached_model *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : strcmp(x->directory ? x->directory : "", y->directory ? y->directory : "");
}

static const char **string_at(llm_cached_model *item, int i)
{
    const char **places[] = {&item->id, &item->directory, &item->commit};
    return places[i];
}

// One block: the items, then their strings.
static llm_cached_model *flatten(cache_listing *list)
{
    buf texts = {0};
    size_t head = list->count * sizeof *list->items;
    for (size_t i = 0; i < list->count; i++)
        for (int k = 0; k < 3; k++)
            if (*string_at(&list->items[i], k))
                buf_append(&texts, *string_at(&list->items[i], k),
                           strlen(*string_at(&list->items[i], k)) + 1);
    llm_cached_model *block = texts.failed ? NULL : mem_alloc(head + texts.length + 1);
    char *text = (char *)block + head;
    if (block && head) memcpy(block, list->items, head);
    if (block && texts.length) memcpy(text, texts.data, texts.length);
    for (size_t i = 0; block && i < list->count; i++)
        for (int k = 0; k < 3; k++)
            if (*string_at(&block[i], k)) *string_at(&block[i], k) = text, text += strlen(text) + 1;
    buf_free(&texts);
    return block;
}

llm_cached_model *llm_cache_list_copy(int *count, llm_error *err)
{
    hub_settings settings;
    cache_listing list = {0};
    llm_cached_model *block = NULL;
    if (!count) return error_set(err, LLM_INVALID_ARGUMENT, "count is NULL"), NULL;
    *count = 0;
    if (hub_settings_read(&settings, err) != LLM_OK) return NULL;
    if (folder_check(settings.cache, err) != LLM_OK) {
        hub_settings_free(&settings);
        return NULL;
    }
    char *imports = import_folder(&settings);
    import_walk walk = {&list, imports};
    arena_init(&list.memory);
    list.failed = !imports;
    folder_walk(settings.cache, add_repository, &list);
    if (imports) folder_walk(imports, add_import, &walk);
    github_walk(&settings, add_asset, &list);
    if (list.count) qsort(list.items, list.count, sizeof *list.items, by_id);
    if (!list.failed) block = flatten(&list);
    if (block)
        *count = (int)list.count;
    else
        error_no_memory(err, "a list of models");
    mem_free(list.items);
    arena_free(&list.memory);
    mem_free(imports);
    hub_settings_free(&settings);
    return block;
}

bool llm_cache_has(const llm_model_spec *spec)
{
    llm_model_spec whole;
    return spec_read_checked(spec, &whole, NULL) == LLM_OK && model_is_cached(&whole);
}
