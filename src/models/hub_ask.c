// The hub's API: /api/models/<id>/revision/<revision>, and HEAD requests where it does not say all.
#include "models/hub_ask.h"
#include "base/buf.h"
#include "base/mem.h"
#include "models/hub_names.h"
#include <stdlib.h>
#include <string.h>

enum { LISTING_LIMIT = 32 << 20 };

// ---- Messages ---------------------------------------------------------------------------------------------

static llm_status gated(const hub_context *c, llm_error *err)
{
    return error_set(err, LLM_DOWNLOAD_FAILED, "%s is gated: accept its terms at %s/%s, %s", c->request->id,
                     c->settings->endpoint, c->request->id,
                     c->settings->token
                         ? "as the user whom the token belongs to"
                         : "then set HF_TOKEN to an access token of yours (from the hub's settings)");
}

llm_status hub_explain(const transfer *t, llm_error *err)
{
    const hub_context *c = t->context;
    const char *id = c->request->id, *endpoint = c->settings->endpoint, *code = t->headers.error_code;
    if (strcmp(code, "GatedRepo") == 0 || (t->http_status == 403 && !*code)) return gated(c, err);
    if (strcmp(code, "RevisionNotFound") == 0)
        return error_set(err, LLM_DOWNLOAD_FAILED, "%s has no revision \"%s\"", id, c->request->revision);
    if (strcmp(code, "EntryNotFound") == 0)
        return error_set(err, LLM_DOWNLOAD_FAILED, "%s has no file \"%s\"", id, t->name);
    if (t->http_status == 401 && c->settings->token)
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "%s: the hub at %s refuses the token, or there is no such repository", id, endpoint);
    if (t->http_status ==
        401) // said of missing ones, too, so that nobody learns which private ones there are
        return error_set(err, LLM_DOWNLOAD_FAILED,
                         "there is no repository %s at %s, or it is private or gated: for one of these "
                         "accept its terms there, and set "
                         "HF_TOKEN to an access token of yours",
                         id, endpoint);
    if (t->http_status == 404)
        return error_set(err, LLM_DOWNLOAD_FAILED, "there is no repository %s at %s", id, endpoint);
    return LLM_DOWNLOAD_FAILED; // the message that is there says it
}

llm_status hub_not_cached(const char *id, llm_error *err)
{
    return error_set(err, LLM_DOWNLOAD_FAILED,
                     "%s is not in the cache, or not all of it, and HF_HUB_OFFLINE forbids to download it",
                     id);
}

// ---- Size and name of files that the list says nothing of
// ---------------------------------------------------

static int take_head(transfer *t, llm_error *err)
{
    hub_file *file = t->user;
    const transfer_headers *h = &t->headers;
    if (!hub_file_set_name(file, h->linked_etag[0] ? h->linked_etag : h->etag))
        return (int)error_set(err, LLM_DOWNLOAD_FAILED,
                              "cannot get %s: the server gives it no ETag that could name it", t->name);
    char *end;
    file->size = strtoull(h->linked_size, &end, 10);
    file->known = end != h->linked_size && file->size <= (uint64_t)1
                                                             << 50; // else the file's own answer will say it
    return LLM_OK;
}

static llm_status ask_heads(const hub_context *context, const transfer_control *control, hub_listing *listing,
                            transfer *list, char **urls, llm_error *err)
{
    static const transfer_methods methods = {.finish = take_head};
    size_t count = 0;
    llm_status status = LLM_OK;
    for (size_t i = 0; status == LLM_OK && i < listing->count; i++) {
        hub_file *file = &listing->files[i];
        if (file->name[0]) continue;
        status = hub_file_url(context->settings, context->request, listing, file, &urls[count], err);
        list[count] = (transfer){.methods = &methods,
                                 .user = file,
                                 .context = (void *)(uintptr_t)context,
                                 .name = file->path,
                                 .url = urls[count],
                                 .token = context->settings->token,
                                 .head = true,
                                 .explain = hub_explain};
        count++;
    }
    if (status == LLM_OK && count > 0) status = transfers_run(list, count, context->settings, control, err);
    return status;
}

static llm_status complete_listing(const hub_context *context, const transfer_control *control,
                                   hub_listing *listing, llm_error *err)
{
    transfer *list = mem_alloc_zero(listing->count, sizeof *list);
    char **urls = mem_alloc_zero(listing->count, sizeof *urls);
    llm_status status = list && urls ? ask_heads(context, control, listing, list, urls, err)
                                     : error_no_memory(err, "a list of files");
    for (size_t i = 0; urls && i < listing->count; i++) mem_free(urls[i]);
    mem_free(urls);
    mem_free(list);
    return status;
}

// ---- The list ---------------------------------------------------------------------------------------------

llm_status hub_file_url(const hub_settings *settings, const hub_request *request, const hub_listing *listing,
                        const hub_file *file, char **url, llm_error *err)
{
    buf b = {0};
    buf_printf(&b, "%s/%s/resolve/%s/", settings->endpoint, request->id, listing->commit);
    url_append(&b, file->path, true);
    *url = buf_take(&b);
    return *url ? LLM_OK : error_no_memory(err, "an address");
}

static llm_status get_listing(const hub_context *context, const transfer_control *control,
                              hub_listing *listing, llm_error *err)
{
    size_t length;
    buf url = {0};
    char *json = NULL;
    buf_printf(&url, "%s/api/models/%s/revision/", context->settings->endpoint, context->request->id);
    url_append(&url, context->request->revision, false);
    buf_append_string(&url, "?blobs=true");
    if (url.failed) return error_no_memory(err, "an address");
    transfer t = {.name = context->request->id,
                  .url = url.data,
                  .token = context->settings->token,
                  .accept = "application/json",
                  .context = (void *)(uintptr_t)context,
                  .explain = hub_explain};
    llm_status status = transfer_document(&t, LISTING_LIMIT, context->settings, control, &json, &length, err);
    if (status == LLM_OK) status = hub_listing_read(json, length, listing, err);
    mem_free(json);
    buf_free(&url);
    return status;
}

llm_status hub_ask_listing(const hub_settings *settings, const hub_request *request,
                           const transfer_control *control, hub_listing *listing, llm_error *err)
{
    hub_context context = {settings, request};
    *listing = (hub_listing){0};
    llm_status status = get_listing(&context, control, listing, err);
    if (status != LLM_OK) return status;
    status = hub_select(listing, request->want, request->gguf, err);
    if (status != LLM_OK && err) error_prefix(err, "%s", request->id);
    if (status == LLM_OK) status = complete_listing(&context, control, listing, err);
    if (status != LLM_OK) hub_listing_free(listing);
    return status;
}
