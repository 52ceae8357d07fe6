// Paths, refs and links of the cache, and what in it is whole.
#include "models/hub_cache.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "models/blob.h"
#include "models/hub_names.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *in_folder(const char *folder, const char *middle, const char *name)
{
    buf b = {0};
    buf_printf(&b, "%s/%s%s%s", folder, middle, name ? "/" : "", name ? name : "");
    return buf_take(&b);
}

static char *folder_of_id(const char *parent, const char *id)
{
    const char *slash = strchr(id, '/');
    buf b = {0};
    buf_printf(&b, "%s/models--%.*s--%s", parent, (int)(slash - id), id, slash + 1);
    return buf_take(&b);
}

char *cache_repository(const hub_settings *settings, const char *id)
{
    return folder_of_id(settings->cache, id);
}

char *cache_locks(const hub_settings *settings, const char *id)
{
    char *parent = path_join(settings->cache, ".locks");
    char *folder = parent ? folder_of_id(parent, id) : NULL;
    mem_free(parent);
    return folder;
}

bool cache_folder_id(const char *folder, char *id, size_t capacity)
{
    if (strncmp(folder, "models--", 8) != 0) return false;
    const char *owner = folder + 8, *mark = strstr(owner, "--");
    if (!mark || snprintf(id, capacity, "%.*s/%s", (int)(mark - owner), owner, mark + 2) >= (int)capacity)
        return false;
    return hub_is_id(id);
}

// ---- Refs -------------------------------------------------------------------------------------------------

bool cache_read_ref(const char *repository, const char *revision, char commit[41])
{
    llm_error ignored;
    char *text = NULL, *path = in_folder(repository, "refs", revision);
    size_t length = 0;
    bool read = path && file_read(path, 1000, &text, &length, &ignored) == LLM_OK;
    while (read && length > 0 && strchr(" \r\n", text[length - 1])) text[--length] = 0;
    read = read && strlen(text) == length && hub_is_commit(text);
    if (read) memcpy(commit, text, 41);
    mem_free(text);
    mem_free(path);
    return read;
}

static llm_status make_folder_of(const char *path, llm_error *err)
{
    char *folder = mem_copy_bytes(path, (size_t)(path_base_name(path) - path - 1));
    llm_status status = folder ? file_make_directory(folder, err) : error_no_memory(err, "a path");
    mem_free(folder);
    return status;
}

llm_status cache_write_ref(const char *repository, const char *revision, const char *commit, llm_error *err)
{
    char old[41];
    if (strcmp(revision, commit) == 0 ||
        (cache_read_ref(repository, revision, old) && strcmp(old, commit) == 0))
        return LLM_OK;
    char *path = in_folder(repository, "refs", revision);
    llm_status status = path ? make_folder_of(path, err) : error_no_memory(err, "a path");
    if (status == LLM_OK) status = file_write(path, commit, strlen(commit), err);
    mem_free(path);
    return status;
}

// ---- Links ------------------------------------------------------------------------------------------------

static bool is_link_to(const char *path, const char *target)
{
    char text[1200];
    ssize_t length = readlink(path, text, sizeof text - 1);
    if (length < 0) return false;
    text[length] = 0;
    return strcmp(text, target) == 0;
}

// A link of another name is renamed over the old one: no reader finds nothing.
static llm_status make_link(const char *path, const char *target, llm_error *err)
{
    buf other = {0};
    if (is_link_to(path, target)) return LLM_OK;
    buf_printf(&other, "%s.%ld.tmp", path, (long)getpid());
    if (other.failed) return error_no_memory(err, path);
    unlink(other.data);
    bool made = symlink(target, other.data) == 0 && rename(other.data, path) == 0;
    llm_status status =
        made ? LLM_OK : error_set(err, LLM_IO_ERROR, "cannot make the link %s: %s", path, strerror(errno));
    if (!made) unlink(other.data);
    buf_free(&other);
    return status;
}

llm_status cache_link(const char *repository, const char *commit, const char *path, const char *name,
                      llm_error *err)
{
    buf target = {0};
    char *snapshots = in_folder(repository, "snapshots", commit),
         *place = snapshots ? path_join(snapshots, path) : NULL;
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) buf_append_string(&target, "../");
    buf_printf(&target, "../../blobs/%s", name);
    llm_status status = place && !target.failed ? make_folder_of(place, err) : error_no_memory(err, "a path");
    if (status == LLM_OK) status = make_link(place, target.data, err);
    buf_free(&target);
    mem_free(place);
    mem_free(snapshots);
    return status;
}

// ---- Completeness -----------------------------------------------------------------------------------------

static bool has(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    bool there = path && blob_is_there(path, 0, false);
    mem_free(path);
    return there;
}

// Every file that the weights' index speaks of.
static bool has_shards(const char *folder)
{
    llm_error ignored;
    yyjson_doc *doc = NULL;
    char *path = path_join(folder, "model.safetensors.index.json");
    bool whole = path && json_read_file(path, (size_t)64 << 20, &doc, &ignored) == LLM_OK;
    yyjson_val *map = yyjson_obj_get(yyjson_doc_get_root(doc), "weight_map"), *key;
    const char *last = "";
    whole = whole && yyjson_is_obj(map);
    yyjson_obj_iter walk = yyjson_obj_iter_with(map);
    while (whole && (key = yyjson_obj_iter_next(&walk))) {
        const char *name = yyjson_get_str(yyjson_obj_iter_get_val(key));
        whole = name && hub_is_safe_path(name) && (strcmp(name, last) == 0 || has(folder, name));
        if (name) last = name;
    }
    json_free(doc);
    mem_free(path);
    return whole;
}

static bool has_weights(const char *folder)
{
    bool found = false;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = hub_is_weights(entry->d_name) && has(folder, entry->d_name);
    if (dir) closedir(dir);
    return found;
}

static bool has_tokenizer(const char *folder)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (has(folder, names[i])) return true;
    return false;
}

// The listing is {"files": {"<path>": …}}. What it names and we would have chosen must be there.
static bool has_listed(const char *repository, const char *commit, const char *folder)
{
    llm_error ignored;
    yyjson_doc *doc = NULL;
    char name[60];
    snprintf(name, sizeof name, "%s.json", commit);
    char *path = in_folder(repository, "trees", name);
    bool whole = true;
    yyjson_val *key;
    if (path && file_exists(path) && json_read_file(path, (size_t)64 << 20, &doc, &ignored) == LLM_OK) {
        yyjson_obj_iter walk = yyjson_obj_iter_with(yyjson_obj_get(yyjson_doc_get_root(doc), "files"));
        while (whole && (key = yyjson_obj_iter_next(&walk)))
            whole = !hub_is_text_file(yyjson_get_str(key)) || !hub_is_safe_path(yyjson_get_str(key)) ||
                    has(folder, yyjson_get_str(key));
    }
    json_free(doc);
    mem_free(path);
    return whole;
}

bool cache_is_complete(const char *repository, const char *commit, hub_want want, const char *gguf)
{
    char *folder = in_folder(repository, "snapshots", commit);
    bool whole = folder && file_is_directory(folder);
    if (whole && gguf)
        whole = has(folder, gguf);
    else if (whole && want == HUB_ADAPTER)
        whole = has(folder, "adapter_config.json") && has_weights(folder);
    else if (whole)
        whole = has(folder, "config.json") && has_tokenizer(folder) && has_weights(folder) &&
                (!has(folder, "model.safetensors.index.json") || has_shards(folder)) &&
                has_listed(repository, commit, folder);
    mem_free(folder);
    return whole;
}

// The GGUF file of a snapshot that was got for the sake of it; NULL: it has none, or several, or is another
// kind of model.
static char *only_gguf(const char *folder)
{
    char *found = NULL;
    int count = 0;
    if (has(folder, "config.json") || has_weights(folder)) return NULL;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!hub_is_gguf(entry->d_name) || !has(folder, entry->d_name)) continue;
        mem_free(found);
        found = ++count == 1 ? path_join(folder, entry->d_name) : NULL;
    }
    if (dir) closedir(dir);
    return found;
}

bool cache_has_gguf(const char *repository, const char *commit)
{
    char *folder = in_folder(repository, "snapshots", commit), *file = folder ? only_gguf(folder) : NULL;
    mem_free(folder);
    mem_free(file);
    return file != NULL;
}

static char *find_at(const char *repository, const char *commit, hub_want want, const char *gguf)
{
    char *folder = in_folder(repository, "snapshots", commit), *path = NULL;
    if (!folder) return NULL;
    if (cache_is_complete(repository, commit, want, gguf))
        path = gguf ? path_join(folder, gguf) : mem_copy_string(folder);
    else if (want == HUB_MODEL && !gguf)
        path = only_gguf(folder);
    mem_free(folder);
    return path;
}

char *cache_find(const hub_settings *settings, const char *id, const char *revision, hub_want want,
                 const char *gguf)
{
    char commit[41], *repository = cache_repository(settings, id);
    if (!repository) return NULL;
    bool known = cache_read_ref(repository, revision, commit);
    if (!known && hub_is_commit(revision)) memcpy(commit, revision, 41), known = true;
    char *path = known ? find_at(repository, commit, want, gguf) : NULL;
    mem_free(repository);
    return path;
}
