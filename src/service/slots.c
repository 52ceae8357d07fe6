// Slots: loading a model, passing an answer on, unloading.
#include "base/clock.h"
#include "base/mem.h"
#include "client/stream.h"
#include "service/service.h"

// ---- Which slot. All of this section holds the lock -------------------------------------------------------

bool slot_holds(const slot *s, const llm_model_spec *spec)
{
    const llm_model_spec *model = s->request ? s->request->spec : s->model;
    return model && llm_model_spec_equal(model, spec);
}

static bool is_idle(const slot *s)
{
    return !s->request && !s->claims;
}

// Whether `a` is the better place for another model: empty, or not used for longer.
static bool goes_first(const slot *a, const slot *b)
{
    if (!a->model || !b->model) return !a->model && b->model;
    return a->last_used < b->last_used;
}

slot *slot_for(llm_service *service, const llm_model_spec *spec)
{
    slot *best = NULL;
    for (int i = 0; i < service->num_slots; i++) {
        slot *s = &service->slots[i];
        if (slot_holds(s, spec)) return s;
        if (is_idle(s) && (!best || goes_first(s, best))) best = s;
    }
    return best;
}

static void set_model(slot *s, llm_model_spec *spec)
{
    mem_free(s->model);
    s->model = spec;
}

// ---- Loading. Runs on the slot's thread, without the lock -------------------------------------------------

static bool is_stopped(request *r)
{
    return atomic_load(&r->stop) || (r->stream && llm_writer_cancelled(stream_writer(r->stream)));
}

static int on_progress(void *user, const char *what, double fraction)
{
    request *r = user;
    return is_stopped(r) || (r->progress && r->progress(r->progress_user, what, fraction));
}

// Frees the idle model that was used longest ago, in any slot; false when there is none.
static bool make_room(llm_service *service)
{
    slot *oldest = NULL;
    pthread_mutex_lock(&service->lock);
    for (int i = 0; i < service->num_slots; i++) {
        slot *s = &service->slots[i];
        if (is_idle(s) && s->model && (!oldest || s->last_used < oldest->last_used)) oldest = s;
    }
    if (oldest) slot_unload(oldest, NULL);
    pthread_mutex_unlock(&service->lock);
    return oldest;
}

static llm_status load(slot *s, request *r, llm_error *err)
{
    llm_service *service = s->service;
    double begin = clock_seconds();
    llm_status status;
    do status = llm_backend_load(s->backend, r->spec, on_progress, r, err);
    while (status == LLM_INSUFFICIENT_MEMORY && !is_stopped(r) && make_room(service));
    r->load_seconds = clock_seconds() - begin;
    if (status != LLM_OK) llm_backend_unload(s->backend); // a load that did not begin left the old model
    pthread_mutex_lock(&service->lock);
    set_model(s, status == LLM_OK ? r->spec : NULL);
    if (status == LLM_OK) s->session = r->session;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    return status;
}

// ---- Answering. Likewise ----------------------------------------------------------------------------------

static llm_stream *go_on(slot *s, const llm_request *body, const llm_generation_config *config, llm_error *err)
{
    llm_tool_result *results = mem_alloc_zero((size_t)body->num_messages + 1, sizeof *results);
    if (!results) return error_no_memory(err, "the results"), NULL;
    for (int i = 0; i < body->num_messages; i++)
        results[i] = (llm_tool_result){body->messages[i].tool_call_id, body->messages[i].content};
    llm_stream *stream = llm_backend_continue(s->backend, results, body->num_messages, config, err);
    mem_free(results);
    return stream;
}

static llm_stream *ask(slot *s, const request *r, llm_error *err)
{
    const llm_request *body = &r->body;
    // The request has waited as it was told. What an answer that was cancelled leaves in the backend's queue is gone at once.
    llm_generation_config config = *body->config;
    config.no_wait = false;
    if (body->kind == LLM_REQUEST_MESSAGES)
        return llm_backend_generate_messages(s->backend, body->messages, body->num_messages, &config,
                                             err);
    if (s->session < r->session) {
        if (llm_backend_reset(s->backend, err) != LLM_OK) return NULL;
        s->session = r->session;
    }
    if (llm_backend_set_system_prompt(s->backend, body->system_prompt, err) != LLM_OK) return NULL;
    if (body->kind == LLM_REQUEST_RESULTS) return go_on(s, body, &config, err);
    return llm_backend_generate(s->backend, body->text, &config, err);
}

static void cancel_inner(void *inner)
{
    llm_stream_cancel(inner);
}

// What the inner stream cannot know: how long the load took, and when the request was made.
static void complete_stats(request *r, llm_chunk *info)
{
    info->stats.load_seconds = r->load_seconds;
    info->stats.first_token_seconds = r->first_token_seconds;
    r->stats = info->stats;
    r->has_stats = true;
}

// Passes chunks on until the end of the inner stream. When the outer one takes no more, the inner one is cancelled.
static llm_status pass_on(request *r, llm_stream *inner, llm_error *err)
{
    llm_chunk chunk;
    llm_status status, failure = LLM_OK;
    while ((status = llm_stream_next(inner, LLM_FOREVER, &chunk, err)) == LLM_OK) {
        if (chunk.kind == LLM_CHUNK_INFO) complete_stats(r, &chunk);
        else if (failure != LLM_OK) continue;
        else if (r->first_token_seconds <= 0) r->first_token_seconds = clock_seconds() - r->made;
        llm_status written = llm_writer_chunk(stream_writer(r->stream), &chunk);
        if (failure != LLM_OK || written == LLM_OK) continue;
        failure = written;
        llm_stream_cancel(inner);
    }
    if (failure != LLM_OK) return failure;
    return status == LLM_END ? LLM_OK : status;
}

static llm_status answer(slot *s, request *r, llm_error *err)
{
    llm_stream *inner = ask(s, r, err);
    if (!inner) return err->code;
    if (!stream_start(r->stream, cancel_inner, inner)) llm_stream_cancel(inner);
    llm_status status = pass_on(r, inner, err);
    stream_detach(r->stream);
    llm_stream_free(inner);
    return status;
}

// A load that was cancelled took its time, too.
static void write_load_time(request *r)
{
    llm_chunk info = {.kind = LLM_CHUNK_INFO, .stats.load_seconds = r->load_seconds};
    llm_writer_chunk(stream_writer(r->stream), &info);
}

static llm_status run(slot *s, request *r, llm_error *err)
{
    // Nothing is loaded for an answer that nobody wants any more.
    if (r->stream && !stream_start(r->stream, NULL, NULL)) return LLM_CANCELLED;
    llm_status status = LLM_OK;
    if (!s->model || !llm_model_spec_equal(s->model, r->spec)) status = load(s, r, err);
    if (status == LLM_CANCELLED && r->stream) write_load_time(r);
    return status == LLM_OK && r->stream ? answer(s, r, err) : status;
}

// ---- The thread -------------------------------------------------------------------------------------------

// Both at once for everyone else: who sees the end can ask anew, who sees the slot idle saw the end. Holds the lock.
static void finish(slot *s, request *r, llm_status status, const llm_error *err)
{
    llm_service *service = s->service;
    if (r->spec == s->model) r->spec = NULL;
    if (r->has_stats) {
        service->last_stats = r->stats;
        service->has_stats = true;
    }
    s->request = NULL;
    s->last_used = ++service->clock;
    request_end(r, status, err);
    requests_dispatch(service);
    pthread_cond_broadcast(&service->changed);
}

void *slot_main(void *user)
{
    slot *s = user;
    llm_service *service = s->service;
    pthread_mutex_lock(&service->lock);
    for (;;) {
        while (!s->request && !service->closing) pthread_cond_wait(&service->changed, &service->lock);
        request *r = s->request;
        if (!r) break;
        llm_error err = {0};
        pthread_mutex_unlock(&service->lock);
        llm_status status = run(s, r, &err);
        pthread_mutex_lock(&service->lock);
        finish(s, r, status, &err);
    }
    pthread_mutex_unlock(&service->lock);
    return NULL;
}

// ---- Stopping and unloading. All of this section holds the lock -------------------------------------------

void slot_cancel(slot *s)
{
    request *r = s->request;
    if (!r) return;
    atomic_store(&r->stop, true);
    llm_stream *stream = r->stream;
    if (!stream) return;
    stream_retain(stream);
    pthread_mutex_unlock(&s->service->lock);
    llm_stream_cancel(stream);
    stream_release(stream);
    pthread_mutex_lock(&s->service->lock);
}

bool slot_unload(slot *s, const llm_model_spec *spec)
{
    s->claims++; // nothing starts meanwhile
    slot_cancel(s);
    while (s->request) pthread_cond_wait(&s->service->changed, &s->service->lock);
    bool there = s->model && (!spec || llm_model_spec_equal(s->model, spec));
    if (there) {
        pthread_mutex_unlock(&s->service->lock);
        llm_backend_unload(s->backend);
        pthread_mutex_lock(&s->service->lock);
        set_model(s, NULL);
    }
    s->claims--;
    requests_dispatch(s->service);
    pthread_cond_broadcast(&s->service->changed);
    return there;
}
