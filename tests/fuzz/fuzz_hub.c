// What strangers' servers and damaged caches say, as JSON: the hub's list of a repository, GitHub's of a release, names, and
// what processes tell of their models. What is accepted must be safe to become paths.
#include "base/mem.h"
#include "models/github.h"
#include "models/hub_listing.h"
#include "models/hub_names.h"
#include "service/holders.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_listing(const char *text, size_t length, hub_want want, const char *gguf)
{
    llm_error err;
    hub_listing listing;
    if (hub_listing_read(text, length, &listing, &err) != LLM_OK) {
        if (!err.message[0]) abort();
        return;
    }
    if (!hub_is_commit(listing.commit)) abort();
    if (hub_select(&listing, want, gguf, &err) == LLM_OK) {
        if (listing.count == 0) abort();
        for (size_t i = 0; i < listing.count; i++) {
            const hub_file *file = &listing.files[i];
            if (!hub_is_safe_path(file->path) || strstr(file->path, "..") == file->path || file->path[0] == '/') abort();
            if (file->known && (!file->name[0] || strchr(file->name, '/') || file->name[0] == '.')) abort();
        }
    }
    hub_listing_free(&listing);
}

static void check_release(const char *text, size_t length)
{
    llm_error err;
    github_release release;
    if (github_release_read(text, length, "lora.zip", &release, &err) != LLM_OK) return;
    if (!release.tag || (release.sha256[0] && digest_kind_of(release.sha256) != DIGEST_SHA256)) abort();
    github_release_free(&release);
}

static void check_names(const char *text, size_t length)
{
    char *name = mem_copy_bytes(text, length), *id;
    const char *file;
    hub_file blob = {0};
    if (!name) return;
    if (hub_is_id(name) && (!hub_is_safe_path(name) || strstr(name, "--"))) abort();
    if (hub_split_gguf(name, &id, &file)) {
        if (!hub_is_id(id) || !hub_is_safe_path(file)) abort();
        mem_free(id);
    }
    if (hub_check_revision(name, NULL) == LLM_OK && !hub_is_safe_path(name)) abort();
    if (hub_file_set_name(&blob, name) && (strchr(blob.name, '/') || !hub_is_safe_path(blob.name))) abort();
    mem_free(name);
}

// What another process may have written about itself.
static void check_record(const char *text, size_t length)
{
    char *texts, *again;
    buf record = {0};
    llm_holder holder, copy;
    if (!holder_read(text, length, &holder, &texts)) return;
    if (holder.pid <= 0 || holder.context_tokens < 0 || holder.context_length < 0 || holder.since < 0) abort();
    if (holder_write(&holder, &record)) {
        if (!holder_read(record.data, record.length, &copy, &again)) abort();
        if (copy.pid != holder.pid || strcmp(copy.model, holder.model) || copy.kv_bytes != holder.kv_bytes) abort();
        mem_free(again);
    }
    buf_free(&record);
    mem_free(texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    check_listing(text, size, HUB_MODEL, NULL);
    check_listing(text, size, HUB_ADAPTER, NULL);
    check_listing(text, size, HUB_MODEL, "model.gguf");
    check_release(text, size);
    check_names(text, size);
    check_record(text, size);
    return 0;
}
