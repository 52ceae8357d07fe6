// Requests: making them, keeping them while they wait, handing them to slots.
#include "base/clock.h"
#include "base/mem.h"
#include "client/request.h"
#include "client/spec.h"
#include "client/stream.h"
#include "service/service.h"
#include <string.h>

static void free_request(request *r)
{
    if (r->stream) stream_release(r->stream);
    mem_free(r->spec);
    arena_free(&r->memory);
    mem_free(r);
}

// ---- The queue. All of this section holds the lock --------------------------------------------------------

static void append(llm_service *service, request *r)
{
    r->next = NULL;
    if (service->first)
        service->last->next = r;
    else
        service->first = r;
    service->last = r;
}

// Takes out the request that *link leads to; `before` is the one in front of it, NULL: none.
static request *take(llm_service *service, request **link, request *before)
{
    request *r = *link;
    *link = r->next;
    if (service->last == r) service->last = before;
    return r;
}

void request_end(request *r, llm_status status, const llm_error *err)
{
    if (r->stream) {
        stream_end(r->stream, status, err);
        free_request(r);
        return;
    }
    r->status = status;
    if (status != LLM_OK) error_set(&r->err, status, "the load was cancelled");
    if (err && err->code == status) r->err = *err;
    r->done = true;
}

static bool is_dead(const request *r)
{
    return r->stream && llm_writer_cancelled(stream_writer(r->stream));
}

void requests_dispatch(llm_service *service)
{
    request *before = NULL;
    for (request **link = &service->first; *link;) {
        slot *s = slot_for(service, (*link)->spec);
        if (is_dead(*link)) {
            request_end(take(service, link, before), LLM_CANCELLED, NULL);
        } else if (s && !s->request && !s->claims) {
            s->request = take(service, link, before);
            s->last_used = ++service->clock;
            pthread_cond_broadcast(&service->changed);
        } else {
            before = *link;
            link = &before->next;
        }
    }
}

void requests_drop(llm_service *service, const llm_model_spec *spec)
{
    request *before = NULL;
    for (request **link = &service->first; *link;) {
        if (!spec || llm_model_spec_equal((*link)->spec, spec)) {
            request_end(take(service, link, before), LLM_CANCELLED, NULL);
        } else {
            before = *link;
            link = &before->next;
        }
    }
    pthread_cond_broadcast(&service->changed);
}

// Takes out a request that was appended just now and has not started.
static void withdraw(llm_service *service, const request *r)
{
    request *before = NULL, **link = &service->first;
    while (*link != r) before = *link, link = &before->next;
    take(service, link, before);
}

static bool waits(const llm_service *service, const request *r)
{
    const request *other = service->first;
    while (other && other != r) other = other->next;
    return other;
}

// ---- Making requests --------------------------------------------------------------------------------------

// Fills in what the service knows: the model of the latest request, the prompt, the session. Holds the lock.
static llm_status complete(llm_service *service, request *r, llm_error *err)
{
    if (service->closing) return error_set(err, LLM_CANCELLED, "the service is being freed");
    if (!r->spec && !service->latest)
        return error_set(err, LLM_MODEL_NOT_LOADED, "no model was named, and none was used before");
    llm_model_spec *copy = llm_model_spec_copy(r->spec ? r->spec : service->latest);
    if (!copy) return error_no_memory(err, "a model spec");
    const char *prompt = service->system_prompt;
    bool of_session = r->body.kind == LLM_REQUEST_PROMPT || r->body.kind == LLM_REQUEST_RESULTS;
    if (prompt && of_session &&
        !(r->body.system_prompt = arena_copy(&r->memory, prompt, strlen(prompt)))) {
        mem_free(copy);
        return error_no_memory(err, "the system prompt");
    }
    llm_model_spec **place = r->spec ? &service->latest : &r->spec;
    mem_free(*place);
    *place = copy;
    r->session = service->session;
    r->made = clock_seconds();
    return LLM_OK;
}

// Checks and copies a spec; NULL stays NULL.
static llm_status copy_spec(const llm_model_spec *spec, llm_model_spec **copy, llm_error *err)
{
    llm_model_spec whole;
    *copy = NULL;
    if (!spec) return LLM_OK;
    llm_status status = spec_read_checked(spec, &whole, err);
    if (status == LLM_OK && !(*copy = llm_model_spec_copy(&whole))) status = error_no_memory(err, "a model spec");
    return status;
}

// Afterwards the request may be gone at any time. On an error it is the caller's.
static llm_status enqueue(llm_service *service, request *r, bool wait, llm_error *err)
{
    pthread_mutex_lock(&service->lock);
    llm_status status = complete(service, r, err);
    if (status == LLM_OK) {
        append(service, r);
        requests_dispatch(service);
        if (!wait && waits(service, r)) {
            withdraw(service, r);
            status = error_set(err, LLM_BUSY, "every model in memory is busy, or this one is");
        }
    }
    pthread_mutex_unlock(&service->lock);
    return status;
}

static llm_stream *submit(llm_service *service, const llm_model_spec *spec, const llm_request *body, llm_error *err)
{
    if (!service) return error_set(err, LLM_INVALID_ARGUMENT, "the service is NULL"), NULL;
    request *r = mem_alloc_zero(1, sizeof *r);
    if (!r) return error_no_memory(err, "the request"), NULL;
    arena_init(&r->memory);
    llm_status status = copy_spec(spec, &r->spec, err);
    if (status == LLM_OK) status = request_copy(&r->memory, body, &r->body, err);
    llm_stream *stream = status == LLM_OK ? stream_create(STREAM_QUEUE_BYTES, err) : NULL;
    r->stream = stream;
    if (stream && enqueue(service, r, !r->body.config->no_wait, err) == LLM_OK) return stream;
    if (stream) stream_release(stream); // the reader's half
    free_request(r);
    return NULL;
}

llm_stream *llm_service_generate(llm_service *service, const llm_model_spec *spec, const char *prompt,
                                 const llm_generation_config *config, llm_error *err)
{
    return submit(service, spec, &(llm_request){.kind = LLM_REQUEST_PROMPT, .text = prompt, .config = config}, err);
}

llm_stream *llm_service_continue(llm_service *service, const llm_model_spec *spec, const llm_tool_result *results,
                                 int num_results, const llm_generation_config *config, llm_error *err)
{
    llm_status status;
    llm_message *messages = request_result_messages(results, num_results, &status, err);
    if (status != LLM_OK) return NULL;
    llm_request body = {
        .kind = LLM_REQUEST_RESULTS, .messages = messages, .num_messages = num_results, .config = config};
    llm_stream *stream = submit(service, spec, &body, err);
    mem_free(messages);
    return stream;
}

llm_stream *llm_service_generate_messages(llm_service *service, const llm_model_spec *spec, const llm_message *messages,
                                          int num_messages, const llm_generation_config *config, llm_error *err)
{
    llm_request body = {
        .kind = LLM_REQUEST_MESSAGES, .messages = messages, .num_messages = num_messages, .config = config};
    return submit(service, spec, &body, err);
}

// ---- Loading ahead ----------------------------------------------------------------------------------------

static bool is_loaded(llm_service *service, const llm_model_spec *spec)
{
    bool loaded = false;
    pthread_mutex_lock(&service->lock);
    for (int i = 0; i < service->num_slots && !loaded; i++) {
        slot *s = &service->slots[i];
        loaded = s->model && !s->claims && slot_holds(s, spec) && llm_model_spec_equal(s->model, spec);
        if (loaded) s->last_used = ++service->clock;
    }
    pthread_mutex_unlock(&service->lock);
    return loaded;
}

llm_status llm_service_prefetch(llm_service *service, const llm_model_spec *spec, llm_progress_function progress,
                                void *user, llm_error *err)
{
    if (!service || !spec)
        return error_set(err, LLM_INVALID_ARGUMENT, "the %s is NULL", service ? "model spec" : "service");
    request r = {.body.kind = LLM_REQUEST_TEXT, .progress = progress, .progress_user = user};
    llm_status status = copy_spec(spec, &r.spec, err);
    if (status == LLM_OK && !is_loaded(service, r.spec) && (status = enqueue(service, &r, true, err)) == LLM_OK) {
        pthread_mutex_lock(&service->lock);
        while (!r.done) pthread_cond_wait(&service->changed, &service->lock);
        pthread_mutex_unlock(&service->lock);
        status = r.status;
        if (status != LLM_OK && err) *err = r.err;
    }
    mem_free(r.spec);
    return status;
}
