// Releases on GitHub: the API's answers, then download, verify, unpack.
#include "models/github.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "models/archive.h"
#include "models/blob.h"
#include "models/cache_tree.h"
#include "models/file_lock.h"
#include "models/hub_names.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_LIMIT = 16 << 20, MAX_ENTRIES = 10000 };
static const uint64_t max_unpacked = (uint64_t)16 << 30;

char *github_folder(const hub_settings *settings)
{
    return path_join(settings->own_cache, "github");
}

// ---- Answers ----------------------------------------------------------------------------------------------

static void read_digest(yyjson_val *asset, github_release *release)
{
    const char *text = yyjson_get_str(yyjson_obj_get(asset, "digest"));
    if (text && strncmp(text, "sha256:", 7) == 0 && digest_kind_of(text + 7) == DIGEST_SHA256)
        memcpy(release->sha256, text + 7, 65);
}

static void read_asset(yyjson_val *assets, const char *name, github_release *release)
{
    yyjson_val *asset;
    yyjson_arr_iter walk = yyjson_arr_iter_with(assets);
    while ((asset = yyjson_arr_iter_next(&walk))) {
        yyjson_val *id = yyjson_obj_get(asset, "id"), *size = yyjson_obj_get(asset, "size");
        const char *found = yyjson_get_str(yyjson_obj_get(asset, "name"));
        if (!found || strcmp(found, name) != 0 || !yyjson_is_uint(id) || !yyjson_is_uint(size)) continue;
        if (yyjson_get_uint(id) > INT64_MAX || yyjson_get_uint(size) > (uint64_t)1 << 50) continue;
        release->asset = (int64_t)yyjson_get_uint(id);
        release->size = yyjson_get_uint(size);
        read_digest(asset, release);
        return;
    }
}

llm_status github_release_read(const char *json, size_t length, const char *asset, github_release *release,
                               llm_error *err)
{
    yyjson_doc *doc;
    *release = (github_release){.asset = -1};
    llm_status status = json_read(json, length, "GitHub's answer", &doc, err);
    if (status == LLM_LOAD_FAILED && err) status = err->code = LLM_DOWNLOAD_FAILED;
    if (status != LLM_OK) return status;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *tag = yyjson_get_str(yyjson_obj_get(root, "tag_name"));
    if (!tag || !*tag || strlen(tag) > 200 || strlen(tag) != yyjson_get_len(yyjson_obj_get(root, "tag_name")))
        status = error_set(err, LLM_DOWNLOAD_FAILED, "GitHub's answer has no tag");
    else if (!(release->tag = mem_copy_string(tag)))
        status = error_no_memory(err, "a tag");
    if (status == LLM_OK && asset) read_asset(yyjson_obj_get(root, "assets"), asset, release);
    json_free(doc);
    return status;
}

void github_release_free(github_release *release)
{
    mem_free(release->tag);
    *release = (github_release){0};
}

// ---- Questions --------------------------------------------------------------------------------------------

typedef struct github_job {
    const hub_settings *settings;
    const github_request *request;
    github_release release;
    char *tag; // percent-encoded: part of paths
    char *folder, *unpacked, *note, *archive, *lock, *archive_lock;
    blob item;
    transfer get;
} github_job;

static llm_status explain(const transfer *t, llm_error *err)
{
    const github_request *r = t->context;
    if (t->http_status == 404 && r->tag)
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "GitHub knows no release \"%s\" of %s, or it is private: then set GITHUB_TOKEN",
                         r->tag, r->repository);
    if (t->http_status == 404)
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "GitHub knows no release of %s, or it is private: then set GITHUB_TOKEN",
                         r->repository);
    if (t->http_status == 401)
        return error_set(err, LLM_DOWNLOAD_FAILED, "GitHub refuses the token in GITHUB_TOKEN");
    if (t->http_status == 403)
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "GitHub refuses to answer about %s: perhaps too many requests came from here; "
                         "GITHUB_TOKEN allows more",
                         r->repository);
    return LLM_DOWNLOAD_FAILED;
}

static bool pass_progress(void *user)
{
    const github_request *r = user;
    return !r->progress || r->progress(r->user, &(hub_progress){0});
}

static llm_status ask_release(const hub_settings *settings, const github_request *r, github_release *release,
                              llm_error *err)
{
    size_t length;
    buf url = {0};
    char *json = NULL;
    buf_printf(&url, "%s/repos/%s/releases/", settings->github, r->repository);
    if (r->tag)
        buf_append_string(&url, "tags/"), url_append(&url, r->tag, false);
    else
        buf_append_string(&url, "latest");
    if (url.failed) return error_no_memory(err, "an address");
    transfer t = {.name = r->repository,
                  .url = url.data,
                  .token = settings->github_token,
                  .accept = "application/vnd.github+json",
                  .context = (void *)(uintptr_t)r,
                  .explain = explain};
    transfer_control control = {.order = r->order, .progress = pass_progress, .user = (void *)(uintptr_t)r};
    llm_status status = transfer_document(&t, ANSWER_LIMIT, settings, &control, &json, &length, err);
    if (status == LLM_OK) status = github_release_read(json, length, r->asset, release, err);
    mem_free(json);
    buf_free(&url);
    return status;
}

static llm_status check_names(const github_request *r, llm_error *err)
{
    const char *slash = strchr(r->repository, '/');
    bool plain = slash && !strchr(slash + 1, '/') && hub_is_safe_path(r->repository) &&
                 r->repository[0] != '.' && slash[1] != '.';
    for (const char *c = r->repository; plain && *c; c++)
        plain = strchr("-_./", *c) || (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z');
    if (!plain)
        return error_set(err, LLM_INVALID_ARGUMENT, "\"%.200s\" is no GitHub repository: owner/repository",
                         r->repository);
    if (r->tag && !hub_is_safe_path(r->tag))
        return error_set(err, LLM_INVALID_ARGUMENT, "\"%.200s\" is no tag of a release", r->tag);
    if (r->asset && (!hub_is_safe_path(r->asset) || strchr(r->asset, '/') || r->asset[0] == '.'))
        return error_set(err, LLM_INVALID_ARGUMENT, "\"%.200s\" is no name of an asset", r->asset);
    return LLM_OK;
}

llm_status github_latest_tag(const hub_settings *settings, const char *repository, char **tag, llm_error *err)
{
    github_release release = {0};
    github_request request = {.repository = repository};
    *tag = NULL;
    llm_status status = check_names(&request, err);
    if (status == LLM_OK && settings->offline) status = hub_not_cached(repository, err);
    if (status == LLM_OK) status = ask_release(settings, &request, &release, err);
    if (status == LLM_OK) *tag = release.tag, release.tag = NULL;
    github_release_free(&release);
    return status;
}

// ---- Paths and notes --------------------------------------------------------------------------------------

static char *below(const github_job *job, const char *middle, const char *end)
{
    buf b = {0};
    buf_printf(&b, "%s/github/%s/%s%s%s", job->settings->own_cache, job->request->repository, middle,
               *middle ? "/" : "", end);
    return buf_take(&b);
}

static char *beside(const github_job *job, const char *end)
{
    buf b = {0};
    buf_printf(&b, "%s/%s%s", job->folder, job->request->asset, end);
    return buf_take(&b);
}

static llm_status set_tag(github_job *job, const char *tag, llm_error *err)
{
    buf encoded = {0};
    url_append(&encoded, tag, false);
    job->tag = buf_take(&encoded);
    if (job->tag && job->tag[0] == '.') job->tag[0] = '_';
    job->folder = job->tag ? below(job, job->tag, "") : NULL;
    if (!job->folder) return error_no_memory(err, "a path");
    job->folder[strlen(job->folder) - 1] = 0; // the slash
    job->unpacked = beside(job, "");
    job->note = beside(job, ".json");
    job->archive = beside(job, ".archive");
    job->lock = beside(job, ".lock");
    job->archive_lock = beside(job, ".archive.lock");
    return job->unpacked && job->note && job->archive && job->lock && job->archive_lock
               ? LLM_OK
               : error_no_memory(err, "a path");
}

static void free_job(github_job *job)
{
    char *strings[] = {job->tag,     job->folder, job->unpacked,    job->note,
                       job->archive, job->lock,   job->archive_lock};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) mem_free(strings[i]);
    github_release_free(&job->release);
}

// The string member of a small JSON file, owned; NULL: it is not there, or damaged.
static char *read_note(const char *path, const char *key)
{
    llm_error ignored;
    yyjson_doc *doc = NULL;
    char *text = NULL;
    if (path && file_exists(path) && json_read_file(path, 10000, &doc, &ignored) == LLM_OK) {
        const char *found = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), key));
        text = found ? mem_copy_string(found) : NULL;
    }
    json_free(doc);
    return text;
}

static llm_status write_note(const char *path, const char *key, const char *value, llm_error *err)
{
    buf json = {0};
    buf_printf(&json, "{\"%s\":", key);
    buf_append_json_string(&json, value, strlen(value));
    buf_append_string(&json, "}\n");
    llm_status status =
        json.failed || !path ? error_no_memory(err, "a note") : file_write(path, json.data, json.length, err);
    buf_free(&json);
    return status;
}

// What tells one upload of an asset from another.
static void describe(const github_release *release, char text[100])
{
    snprintf(text, 100, "%llu %s", (unsigned long long)release->size, release->sha256);
}

static bool is_unpacked(const github_job *job)
{
    char wanted[100], *found = read_note(job->note, "content");
    describe(&job->release, wanted);
    bool same =
        found && file_is_directory(job->unpacked) && (!job->release.tag || strcmp(found, wanted) == 0);
    mem_free(found);
    return same;
}

// ---- Getting and unpacking --------------------------------------------------------------------------------

static bool count_progress(void *user)
{
    const github_job *job = user;
    const github_request *r = job->request;
    hub_progress now = {.done_bytes = job->item.done,
                        .total_bytes = job->item.size,
                        .received_bytes = job->get.received,
                        .files_done = job->item.ready,
                        .num_files = 1};
    return !r->progress || r->progress(r->user, &now);
}

static llm_status download(github_job *job, llm_error *err)
{
    buf url = {0};
    const github_release *release = &job->release;
    buf_printf(&url, "%s/repos/%s/releases/assets/%lld", job->settings->github, job->request->repository,
               (long long)release->asset);
    if (url.failed) return error_no_memory(err, "an address");
    job->item = (blob){.name = job->request->asset,
                       .path = job->archive,
                       .lock_path = job->archive_lock,
                       .size = release->size,
                       .size_known = true,
                       .kind = release->sha256[0] ? DIGEST_SHA256 : DIGEST_NONE,
                       .expected = release->sha256};
    job->get = (transfer){.methods = &blob_methods,
                          .user = &job->item,
                          .context = (void *)(uintptr_t)job->request,
                          .name = job->request->asset,
                          .url = url.data,
                          .token = job->settings->github_token,
                          .accept = "application/octet-stream",
                          .explain = explain};
    transfer_control control = {.order = job->request->order, .progress = count_progress, .user = job};
    unlink(job->archive); // of an unpacking that failed; what is unfinished stays
    llm_status status = blob_open(&job->item, err);
    if (status == LLM_OK) status = hub_check_room(job->settings, job->folder, release->size, err);
    if (status == LLM_OK) status = transfers_run(&job->get, 1, job->settings, &control, err);
    blob_close(&job->item);
    buf_free(&url);
    return status;
}

static bool should_stop(void *user)
{
    github_job *job = user;
    const atomic_int *order = job->request->order;
    return (order && atomic_load(order) == TRANSFER_STOP) || !count_progress(job);
}

static llm_status unpack(github_job *job, llm_error *err)
{
    static const archive_limits limits = {.bytes = max_unpacked, .entries = MAX_ENTRIES};
    llm_error ignored;
    uint64_t freed = 0;
    buf temporary = {0};
    buf_printf(&temporary, "%s.unpacking-XXXXXX", job->unpacked);
    if (temporary.failed) return error_no_memory(err, "a path");
    llm_status status = LLM_OK;
    if (!mkdtemp(temporary.data))
        status = error_set(err, LLM_IO_ERROR, "cannot make %s: %s", temporary.data, strerror(errno));
    if (status == LLM_OK)
        status =
            archive_unpack(job->archive, job->request->asset, temporary.data, &limits, should_stop, job, err);
    unlink(job->note);
    if (status == LLM_OK) status = tree_remove(job->unpacked, &freed, err);
    if (status == LLM_OK && rename(temporary.data, job->unpacked) != 0)
        status = error_set(err, LLM_IO_ERROR, "cannot make %s: %s", job->unpacked, strerror(errno));
    if (status != LLM_OK) tree_remove(temporary.data, &freed, &ignored);
    buf_free(&temporary);
    return status;
}

static llm_status bring(github_job *job, llm_error *err)
{
    char content[100];
    llm_status status = download(job, err);
    if (status == LLM_OK) status = unpack(job, err);
    if (status != LLM_DOWNLOAD_FAILED && status != LLM_CANCELLED) unlink(job->archive);
    describe(&job->release, content);
    return status == LLM_OK ? write_note(job->note, "content", content, err) : status;
}

static llm_status bring_alone(github_job *job, llm_error *err)
{
    int lock = -1;
    llm_status status = file_make_directory(job->folder, err);
    if (status == LLM_OK) status = file_lock_wait(job->lock, should_stop, job, &lock, err);
    if (status == LLM_OK && !is_unpacked(job)) status = bring(job, err);
    file_lock_release(&lock);
    return status;
}

// ---- All of it --------------------------------------------------------------------------------------------

// What is in the cache without asking: the tag's, or that of the release that was the newest one when we
// asked last.
static bool find_cached(github_job *job)
{
    llm_error ignored;
    char *latest = below(job, "", "latest.json"),
         *tag = job->request->tag ? mem_copy_string(job->request->tag) : read_note(latest, "tag");
    bool found = tag && hub_is_safe_path(tag) && set_tag(job, tag, &ignored) == LLM_OK && is_unpacked(job);
    mem_free(latest);
    mem_free(tag);
    return found;
}

static llm_status ask_and_bring(github_job *job, llm_error *err)
{
    const github_request *r = job->request;
    llm_status status = ask_release(job->settings, r, &job->release, err);
    if (status == LLM_OK && !hub_is_safe_path(job->release.tag))
        status = error_set(err, LLM_DOWNLOAD_FAILED, "GitHub's answer has a tag that no path can have");
    if (status == LLM_OK && job->release.asset < 0)
        status = error_set(err, LLM_DOWNLOAD_FAILED, "the release \"%s\" of %s has no asset \"%s\"",
                           job->release.tag, r->repository, r->asset);
    if (status == LLM_OK) status = set_tag(job, job->release.tag, err);
    if (status == LLM_OK) status = bring_alone(job, err);
    if (status != LLM_OK || r->tag) return status;
    char *latest = below(job, "", "latest.json");
    status = write_note(latest, "tag", job->release.tag, err);
    mem_free(latest);
    return status;
}

llm_status github_get(const hub_settings *settings, const github_request *request, char **folder,
                      llm_error *err)
{
    github_job job = {.settings = settings, .request = request};
    *folder = NULL;
    llm_status status = check_names(request, err);
    if (status != LLM_OK) return status;
    bool cached = find_cached(&job);
    if (!cached || (request->ask && !settings->offline)) {
        free_job(&job);
        job = (github_job){.settings = settings, .request = request};
        status = settings->offline || request->only_look ? hub_not_cached(request->repository, err)
                                                         : ask_and_bring(&job, err);
    }
    if (status == LLM_OK && !(*folder = mem_copy_string(job.unpacked)))
        status = error_no_memory(err, "a path");
    free_job(&job);
    return status;
}
