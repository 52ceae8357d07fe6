// The hub's JSON is a stranger's: bounded, checked, and only what is wanted becomes paths.
#include "models/hub_listing.h"
#include "base/json.h"
#include "base/mem.h"
#include "models/hub_names.h"
#include <fnmatch.h>
#include <string.h>
#include <strings.h>

enum { MAX_FILES = 20000 };
static const uint64_t max_size = (uint64_t)1 << 50;

static const char *const text_files[] = {"*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt", "merges"};

static bool matches(const char *path, const char *pattern)
{
    return !strchr(path, '/') && fnmatch(pattern, path, FNM_NOESCAPE) == 0;
}

bool hub_is_text_file(const char *path)
{
    for (size_t i = 0; i < sizeof text_files / sizeof *text_files; i++)
        if (matches(path, text_files[i])) return true;
    return false;
}

bool hub_is_gguf(const char *path)
{
    size_t length = strlen(path);
    return length > 5 && strcasecmp(path + length - 5, ".gguf") == 0;
}

bool hub_is_weights(const char *path)
{
    return matches(path, "*.safetensors");
}

bool hub_file_set_name(hub_file *file, const char *etag)
{
    if (strncmp(etag, "W/", 2) == 0) etag += 2;
    size_t quoted = *etag == '"', length = strlen(etag);
    if (quoted && length >= 2 && etag[length - 1] == '"') etag++, length -= 2;
    bool fine = length > 0 && length < sizeof file->name && etag[0] != '.';
    for (size_t i = 0; fine && i < length; i++)
        fine = (etag[i] >= 'a' && etag[i] <= 'z') || (etag[i] >= 'A' && etag[i] <= 'Z') ||
               (etag[i] >= '0' && etag[i] <= '9') || etag[i] == '-' || etag[i] == '_' || etag[i] == '.';
    if (!fine) return false;
    memcpy(file->name, etag, length);
    file->name[length] = 0;
    file->kind = digest_kind_of(file->name);
    return true;
}

// ---- Reading ----------------------------------------------------------------------------------------------

static bool read_size(yyjson_val *object, const char *key, uint64_t *size)
{
    yyjson_val *value = yyjson_obj_get(object, key);
    *size = yyjson_get_uint(value);
    return yyjson_is_uint(value) && *size <= max_size;
}

static bool set_digest(hub_file *file, const char *text, digest_kind kind)
{
    return text && digest_kind_of(text) == kind && hub_file_set_name(file, text);
}

// Size and digest, of the file itself where it is stored apart (LFS).
static void read_blob(yyjson_val *sibling, hub_file *file)
{
    yyjson_val *lfs = yyjson_obj_get(sibling, "lfs");
    if (yyjson_is_obj(lfs)) {
        file->known = read_size(lfs, "size", &file->size) &&
                      set_digest(file, yyjson_get_str(yyjson_obj_get(lfs, "sha256")), DIGEST_SHA256);
    } else {
        file->known = read_size(sibling, "size", &file->size) &&
                      set_digest(file, yyjson_get_str(yyjson_obj_get(sibling, "blobId")), DIGEST_GIT_SHA1);
    }
}

static llm_status read_file(hub_listing *listing, yyjson_val *sibling, llm_error *err)
{
    yyjson_val *name = yyjson_obj_get(sibling, "rfilename");
    if (!yyjson_is_str(name) || strlen(yyjson_get_str(name)) != yyjson_get_len(name))
        return error_set(err, LLM_DOWNLOAD_FAILED, "the hub's answer lists a file without a name");
    const char *path = yyjson_get_str(name);
    if (!hub_is_text_file(path) && !hub_is_weights(path) && !hub_is_gguf(path)) return LLM_OK;
    if (!hub_is_safe_path(path))
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "the hub's answer lists a file that would leave its folder: \"%.100s\"", path);
    hub_file *file = &listing->files[listing->count++];
    file->path = arena_copy(&listing->memory, path, strlen(path));
    if (!file->path) return error_no_memory(err, "a list of files");
    read_blob(sibling, file);
    return LLM_OK;
}

static llm_status read_answer(yyjson_val *root, hub_listing *listing, llm_error *err)
{
    const char *commit = yyjson_get_str(yyjson_obj_get(root, "sha"));
    yyjson_val *siblings = yyjson_obj_get(root, "siblings"), *sibling;
    if (!commit || !hub_is_commit(commit) || !yyjson_is_arr(siblings))
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "the hub's answer has no commit or no list of files: is it a Hugging Face hub?");
    memcpy(listing->commit, commit, sizeof listing->commit);
    if (yyjson_arr_size(siblings) > MAX_FILES)
        return error_set(err, LLM_DOWNLOAD_FAILED, "the repository has %zu files; %d are read",
                         yyjson_arr_size(siblings), MAX_FILES);
    listing->files =
        arena_alloc_array(&listing->memory, yyjson_arr_size(siblings) + 1, sizeof *listing->files);
    if (!listing->files) return error_no_memory(err, "a list of files");
    llm_status status = LLM_OK;
    yyjson_arr_iter walk = yyjson_arr_iter_with(siblings);
    while (status == LLM_OK && (sibling = yyjson_arr_iter_next(&walk)))
        status = read_file(listing, sibling, err);
    return status;
}

llm_status hub_listing_read(const char *json, size_t length, hub_listing *listing, llm_error *err)
{
    yyjson_doc *doc;
    *listing = (hub_listing){0};
    arena_init(&listing->memory);
    llm_status status = json_read(json, length, "the hub's answer", &doc, err);
    if (status == LLM_LOAD_FAILED && err) status = err->code = LLM_DOWNLOAD_FAILED;
    if (status == LLM_OK) status = read_answer(yyjson_doc_get_root(doc), listing, err);
    json_free(doc);
    if (status != LLM_OK) hub_listing_free(listing);
    return status;
}

void hub_listing_free(hub_listing *listing)
{
    arena_free(&listing->memory);
    *listing = (hub_listing){0};
}

// ---- Choosing ---------------------------------------------------------------------------------------------

static size_t count_matching(const hub_listing *listing, const char *pattern)
{
    size_t count = 0;
    for (size_t i = 0; i < listing->count; i++) count += matches(listing->files[i].path, pattern);
    return count;
}

static void keep(hub_listing *listing, bool (*wanted)(const char *path, const char *pattern),
                 const char *pattern)
{
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++)
        if (wanted(listing->files[i].path, pattern)) listing->files[kept++] = listing->files[i];
    listing->count = kept;
}

static bool is_of_model(const char *path, const char *weights)
{
    return hub_is_text_file(path) || matches(path, weights);
}
static bool is_of_adapter(const char *path, const char *config)
{
    return strcmp(path, config) == 0 || matches(path, "adapter*.safetensors") ||
           matches(path, "[0-9]*_adapters.safetensors");
}
static bool is_path(const char *path, const char *wanted)
{
    return strcmp(path, wanted) == 0;
}

// The file that is taken where nobody said which: NULL when that is not plain. Parts of a split model do not
// count.
static const char *choose_gguf(const hub_listing *listing, size_t *count, const char **one)
{
    const char *usual = NULL;
    *count = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const char *path = listing->files[i].path;
        if (!hub_is_gguf(path) || fnmatch("*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9]*", path, 0) == 0) continue;
        ++*count;
        *one = path;
        if (!usual && strcasestr(path, "Q4_K_M")) usual = path;
    }
    return *count == 1 ? *one : usual;
}

static llm_status select_gguf(hub_listing *listing, const char *gguf, llm_error *err)
{
    size_t count = 1;
    const char *one = NULL, *path = gguf ? gguf : choose_gguf(listing, &count, &one);
    if (!path && count == 0)
        return error_set(
            err, LLM_UNSUPPORTED_FORMAT,
            "the repository has no model that can be read: neither safetensors nor a whole GGUF file");
    if (!path)
        return error_set(
            err, LLM_UNSUPPORTED_FORMAT,
            "the repository has %zu GGUF files: say which one, as owner/name/file.gguf (one is \"%.100s\")",
            count, one);
    keep(listing, is_path, path);
    if (listing->count > 0) return LLM_OK;
    return error_set(err, LLM_DOWNLOAD_FAILED, "the repository has no file \"%.200s\"", path);
}

llm_status hub_select(hub_listing *listing, hub_want want, const char *gguf, llm_error *err)
{
    if (want == HUB_ADAPTER) {
        keep(listing, is_of_adapter, "adapter_config.json");
        if (count_matching(listing, "*.safetensors") > 0 &&
            count_matching(listing, "adapter_config.json") > 0)
            return LLM_OK;
        return error_set(
            err, LLM_UNSUPPORTED_FORMAT,
            "the repository is no adapter: it has no adapter_config.json with adapter safetensors");
    }
    if (gguf || count_matching(listing, "*.safetensors") == 0) return select_gguf(listing, gguf, err);
    keep(listing, is_of_model,
         count_matching(listing, "model*.safetensors") > 0 ? "model*.safetensors" : "*.safetensors");
    return LLM_OK;
}
