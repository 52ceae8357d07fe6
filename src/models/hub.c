// A pull: ask for the list, check the room, get what is missing, link, and say what the revision is. Links
// come last and config.json is the last of them, so that a snapshot that looks whole is whole.
#include "models/hub.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "models/blob.h"
#include "models/hub_ask.h"
#include "models/hub_names.h"
#include <stdio.h>
#include <string.h>

typedef struct pull {
    const hub_settings *settings;
    const hub_request *request;
    hub_context context;
    hub_listing listing;
    char *repository, *locks, *blobs; // folders
    size_t num_items;
    blob *items;         // one for each content: files may share one
    transfer *transfers; // of the items
    hub_progress last;
} pull;

// ---- Room and progress
// --------------------------------------------------------------------------------------

bool hub_tell(void *user, const hub_progress *p)
{
    char what[200];
    const hub_teller *teller = user;
    if (!teller->progress) return true;
    if (!p->total_bytes)
        snprintf(what, sizeof what, "downloading %.100s", teller->name);
    else
        snprintf(what, sizeof what, "downloading %.100s: %.1f of %.1f MB", teller->name,
                 (double)p->done_bytes / 1e6, (double)p->total_bytes / 1e6);
    return teller->progress(teller->user, what,
                            p->total_bytes ? (double)p->done_bytes / (double)p->total_bytes : 0) == 0;
}

llm_status hub_check_room(const hub_settings *settings, const char *folder, uint64_t required, llm_error *err)
{
    uint64_t available = 0;
    if (!required || !settings->free_space(folder, &available) || available >= required) return LLM_OK;
    return error_set_amounts(err, LLM_INSUFFICIENT_STORAGE, required, available,
                             "no room in %s: %.1f MB are needed, %.1f MB are free", folder,
                             (double)required / 1e6, (double)available / 1e6);
}

static llm_status check_room(const pull *p, llm_error *err)
{
    uint64_t required = 0;
    for (size_t i = 0; i < p->num_items; i++) {
        const blob *b = &p->items[i];
        uint64_t there = blob_partial_size(b->path);
        if (!b->ready && b->size_known && b->size > there) required += b->size - there;
    }
    return hub_check_room(p->settings, p->blobs, required, err);
}

static bool pass_progress(void *user)
{
    const pull *p = user;
    return !p->request->progress || p->request->progress(p->request->user, &p->last);
}

static bool count_progress(void *user)
{
    pull *p = user;
    p->last = (hub_progress){.num_files = (int)p->num_items};
    for (size_t i = 0; i < p->num_items; i++) {
        const blob *b = &p->items[i];
        p->last.done_bytes += b->done;
        p->last.total_bytes += b->size_known ? b->size : b->done;
        p->last.files_done += b->ready;
        p->last.received_bytes += p->transfers[i].received;
    }
    return pass_progress(p);
}

// ---- The files --------------------------------------------------------------------------------------------

static bool is_repeated(const pull *p, size_t file)
{
    for (size_t i = 0; i < p->num_items; i++)
        if (strcmp(p->items[i].expected, p->listing.files[file].name) == 0) return true;
    return false;
}

static llm_status add_item(pull *p, const hub_file *file, llm_error *err)
{
    char *url = NULL;
    buf lock = {0};
    blob *b = &p->items[p->num_items];
    transfer *t = &p->transfers[p->num_items++];
    llm_status status = hub_file_url(p->settings, p->request, &p->listing, file, &url, err);
    buf_printf(&lock, "%s/%s.lock", p->locks, file->name);
    *b = (blob){.name = file->path,
                .path = path_join(p->blobs, file->name),
                .lock_path = buf_take(&lock),
                .size = file->size,
                .size_known = file->known,
                .kind = file->kind,
                .expected = file->name,
                .fd = -1,
                .lock = -1};
    *t = (transfer){.methods = &blob_methods,
                    .user = b,
                    .context = &p->context,
                    .name = file->path,
                    .url = url,
                    .token = p->settings->token,
                    .explain = hub_explain};
    if (status == LLM_OK && (!b->path || !b->lock_path)) status = error_no_memory(err, "a path");
    if (status == LLM_OK) status = blob_open(b, err);
    if (status == LLM_OK && !b->ready && blob_is_there(b->path, 0, false))
        log_message(LOG_WARNING, "%s: the copy in the cache has the wrong size and is got again", b->name);
    return status;
}

static void free_items(pull *p)
{
    for (size_t i = 0; i < p->num_items; i++) {
        blob_close(&p->items[i]);
        mem_free((void *)(uintptr_t)p->items[i].path);
        mem_free((void *)(uintptr_t)p->items[i].lock_path);
        mem_free((void *)(uintptr_t)p->transfers[i].url);
    }
    mem_free(p->items);
    mem_free(p->transfers);
}

static llm_status get_files(pull *p, llm_error *err)
{
    llm_status status = LLM_OK;
    p->items = mem_alloc_zero(p->listing.count, sizeof *p->items);
    p->transfers = mem_alloc_zero(p->listing.count, sizeof *p->transfers);
    if (!p->items || !p->transfers) status = error_no_memory(err, "a list of files");
    for (size_t i = 0; status == LLM_OK && i < p->listing.count; i++)
        if (!is_repeated(p, i)) status = add_item(p, &p->listing.files[i], err);
    if (status == LLM_OK) status = check_room(p, err);
    transfer_control control = {.order = p->request->order, .progress = count_progress, .user = p};
    if (status == LLM_OK) status = transfers_run(p->transfers, p->num_items, p->settings, &control, err);
    if (status == LLM_OK && !count_progress(p))
        status = error_set(err, LLM_CANCELLED, "the download was cancelled");
    free_items(p);
    return status;
}

static llm_status link_files(pull *p, llm_error *err)
{
    llm_status status = LLM_OK;
    for (int last = 0; last < 2; last++)
        for (size_t i = 0; status == LLM_OK && i < p->listing.count; i++) {
            const hub_file *file = &p->listing.files[i];
            if ((strcmp(file->path, "config.json") == 0) == last)
                status = cache_link(p->repository, p->listing.commit, file->path, file->name, err);
        }
    return status == LLM_OK ? cache_write_ref(p->repository, p->request->revision, p->listing.commit, err)
                            : status;
}

// ---- All of it --------------------------------------------------------------------------------------------

static llm_status open_folders(pull *p, llm_error *err)
{
    p->repository = cache_repository(p->settings, p->request->id);
    p->locks = cache_locks(p->settings, p->request->id);
    p->blobs = p->repository ? path_join(p->repository, "blobs") : NULL;
    if (!p->repository || !p->locks || !p->blobs) return error_no_memory(err, "a path");
    return file_make_directory(p->blobs, err);
}

static llm_status result_path(const pull *p, char **path, llm_error *err)
{
    buf b = {0};
    buf_printf(&b, "%s/snapshots/%s", p->repository, p->listing.commit);
    if (p->listing.count == 1 && hub_is_gguf(p->listing.files[0].path))
        buf_printf(&b, "/%s", p->listing.files[0].path);
    *path = buf_take(&b);
    return *path ? LLM_OK : error_no_memory(err, "a path");
}

static llm_status find_offline(const hub_settings *settings, const hub_request *request, char **path,
                               llm_error *err)
{
    *path = cache_find(settings, request->id, request->revision, request->want, request->gguf);
    return *path ? LLM_OK : hub_not_cached(request->id, err);
}

llm_status hub_pull(const hub_settings *settings, const hub_request *request, char **path, llm_error *err)
{
    pull p = {.settings = settings, .request = request, .context = {settings, request}};
    *path = NULL;
    if (!hub_is_id(request->id))
        return error_set(err, LLM_INVALID_ARGUMENT, "\"%.200s\" is no hub id: owner/name", request->id);
    llm_status status = hub_check_revision(request->revision, err);
    if (status != LLM_OK) return status;
    if (settings->offline) return find_offline(settings, request, path, err);
    transfer_control control = {.order = request->order, .progress = pass_progress, .user = &p};
    status = hub_ask_listing(settings, request, &control, &p.listing, err);
    if (status == LLM_OK) status = open_folders(&p, err);
    if (status == LLM_OK) status = get_files(&p, err);
    if (status == LLM_OK) status = link_files(&p, err);
    if (status == LLM_OK) status = result_path(&p, path, err);
    hub_listing_free(&p.listing);
    mem_free(p.repository);
    mem_free(p.locks);
    mem_free(p.blobs);
    return status;
}
