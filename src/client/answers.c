// llm_backend: requests. One worker thread runs them in the order in which they were made; scoring takes its
// turn in the same order on the caller's thread.
#include "client/backend.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/request.h"
#include "client/stream.h"
#include <string.h>

// ---- The queue. All of this section holds the lock --------------------------------------------------------

static void append_job(llm_backend *backend, job *j)
{
    j->next = NULL;
    if (backend->first)
        backend->last->next = j;
    else
        backend->first = j;
    backend->last = j;
    pthread_cond_broadcast(&backend->changed);
}

static job *take_job(llm_backend *backend)
{
    job *j = backend->first;
    backend->first = j->next;
    return j;
}

void backend_own(llm_backend *backend, backend_owner owner)
{
    backend->owner = owner;
    pthread_cond_broadcast(&backend->changed);
}

void backend_release(llm_backend *backend)
{
    sessions_bury(backend);
    backend_own(backend, OWNER_NOBODY);
}

static void free_job(job *j)
{
    if (j->stream) stream_release(j->stream);
    arena_free(&j->memory);
    mem_free(j);
}

bool backend_is_free(const llm_backend *backend)
{
    return backend->owner == OWNER_NOBODY && !backend->first;
}

void answers_cancel(llm_backend *backend)
{
    llm_stream *stream = backend->running;
    if (backend->owner == OWNER_TURN) atomic_store(&backend->stop_score, true);
    if (backend->owner == OWNER_NOBODY && backend->first) stream = backend->first->stream;
    if (!stream) return;
    stream_retain(stream);
    pthread_mutex_unlock(&backend->lock);
    llm_stream_cancel(stream);
    stream_release(stream);
    pthread_mutex_lock(&backend->lock);
}

void answers_stop(llm_backend *backend)
{
    while (backend->first) {
        job *j = take_job(backend);
        if (j->stream) {
            stream_end(j->stream, LLM_CANCELLED, NULL);
            free_job(j);
        } else {
            j->dropped = true; // its thread owns it
        }
    }
    pthread_cond_broadcast(&backend->changed);
    while (backend->owner != OWNER_NOBODY) {
        answers_cancel(backend);
        if (backend->owner != OWNER_NOBODY) pthread_cond_wait(&backend->changed, &backend->lock);
    }
}

void answers_drop(llm_backend *backend, const llm_session *session)
{
    job **at = &backend->first, *last = NULL;
    while (*at) {
        job *j = *at;
        if (j->session != session || !j->stream) {
            last = j;
            at = &j->next;
            continue;
        }
        *at = j->next;
        stream_end(j->stream, LLM_CANCELLED, NULL);
        free_job(j);
    }
    backend->last = last;
    pthread_cond_broadcast(&backend->changed); // a turn may be the first now
}

void llm_backend_cancel(llm_backend *backend)
{
    if (!backend) return;
    pthread_mutex_lock(&backend->lock);
    answers_cancel(backend);
    pthread_mutex_unlock(&backend->lock);
}

// ---- The worker -------------------------------------------------------------------------------------------

static void call_cancel_slot(void *user)
{
    llm_backend *backend = user;
    if (backend->methods->cancel) backend->methods->cancel(backend->state);
}

static llm_status answer(llm_backend *backend, job *j, llm_error *err)
{
    // A reset counts even when the request that came after it was cancelled.
    llm_status status = j->session ? session_begin(j->session, j->fresh, err) : LLM_OK;
    if (!stream_start(j->stream, call_cancel_slot, backend)) return LLM_CANCELLED;
    if (status == LLM_OK && j->session) {
        j->request.session = j->session->state;
        status = session_tell_prompt(backend, j->request.system_prompt, err);
    }
    if (status == LLM_OK)
        status = backend->methods->generate(backend->state, &j->request, stream_writer(j->stream), err);
    stream_detach(j->stream);
    return status;
}

static bool can_run(const llm_backend *backend)
{
    return backend->first && backend->first->stream && backend->owner == OWNER_NOBODY;
}

static void *worker_main(void *user)
{
    llm_backend *backend = user;
    pthread_mutex_lock(&backend->lock);
    for (;;) {
        while (!backend->closing && !can_run(backend)) pthread_cond_wait(&backend->changed, &backend->lock);
        if (backend->closing) break;
        job *j = take_job(backend);
        llm_error err = {0};
        backend->running = j->stream;
        backend->running_session = j->session;
        backend_own(backend, OWNER_ANSWER);
        pthread_mutex_unlock(&backend->lock);
        llm_status status = answer(backend, j, &err);
        pthread_mutex_lock(&backend->lock);
        sessions_bury(backend);
        // Both at once for everyone else: who sees the end can ask anew, who sees us idle saw the end.
        stream_end(j->stream, status, &err);
        backend->running = NULL;
        backend->running_session = NULL;
        backend_own(backend, OWNER_NOBODY);
        free_job(j);
    }
    pthread_mutex_unlock(&backend->lock);
    return NULL;
}

// Holds the lock.
static llm_status start_worker(llm_backend *backend, llm_error *err)
{
    if (!backend->has_worker) backend->has_worker = thread_start(&backend->worker, worker_main, backend);
    return backend->has_worker ? LLM_OK : error_no_memory(err, "a backend's thread");
}

void answers_join(llm_backend *backend)
{
    if (backend->has_worker) pthread_join(backend->worker, NULL);
}

// ---- Requests ---------------------------------------------------------------------------------------------

static llm_status not_loaded(const llm_backend *backend, llm_error *err)
{
    const char *why = backend->closing ? ": the backend was freed" : backend->phase == PHASE_LOADING ? ": a load is in progress" : "";
    return error_set(err, LLM_MODEL_NOT_LOADED, "no model is loaded%s", why);
}

// What the session is told with this job. Holds the lock.
static void take_reset(job *j)
{
    if (!j->session) return;
    j->fresh = j->session->fresh;
    j->session->fresh = false;
}

// Holds the lock.
static llm_status enqueue(llm_backend *backend, job *j, llm_error *err)
{
    bool busy = backend->first || backend->owner == OWNER_ANSWER || backend->owner == OWNER_TURN;
    if (backend->closing || backend->phase != PHASE_LOADED) return not_loaded(backend, err);
    if (busy && j->request.config->no_wait) return error_set(err, LLM_BUSY, "another answer is running");
    const char *prompt = j->session ? j->session->system_prompt : NULL;
    if (prompt && !(j->request.system_prompt = arena_copy(&j->memory, prompt, strlen(prompt))))
        return error_no_memory(err, "the system prompt");
    llm_status status = start_worker(backend, err);
    if (status != LLM_OK) return status;
    take_reset(j);
    append_job(backend, j);
    return LLM_OK;
}

llm_stream *answers_submit(llm_backend *backend, llm_session *session, const llm_request *request, llm_error *err)
{
    if (!backend) return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL"), NULL;
    job *j = mem_alloc_zero(1, sizeof *j);
    if (!j) return error_no_memory(err, "the request"), NULL;
    arena_init(&j->memory);
    llm_status status = request_copy(&j->memory, request, &j->request, err);
    llm_stream *stream = status == LLM_OK ? stream_create(STREAM_QUEUE_BYTES, err) : NULL;
    if (!stream) return free_job(j), NULL;
    j->stream = stream;
    j->session = session;
    pthread_mutex_lock(&backend->lock);
    status = enqueue(backend, j, err); // from here on the job may be gone at any time
    pthread_mutex_unlock(&backend->lock);
    if (status == LLM_OK) return stream;
    free_job(j);
    stream_release(stream);
    return NULL;
}

llm_stream *llm_backend_generate_messages(llm_backend *backend, const llm_message *messages, int num_messages,
                                          const llm_generation_config *config, llm_error *err)
{
    llm_request request = {
        .kind = LLM_REQUEST_MESSAGES, .messages = messages, .num_messages = num_messages, .config = config};
    return answers_submit(backend, NULL, &request, err);
}

llm_stream *llm_backend_complete(llm_backend *backend, const char *text, const llm_generation_config *config,
                                 llm_error *err)
{
    return answers_submit(backend, NULL, &(llm_request){.kind = LLM_REQUEST_TEXT, .text = text, .config = config}, err);
}

llm_stream *llm_backend_complete_tokens(llm_backend *backend, const int32_t *tokens, int num_tokens,
                                        const llm_generation_config *config, llm_error *err)
{
    llm_request request = {
        .kind = LLM_REQUEST_TOKENS, .tokens = tokens, .num_tokens = num_tokens, .config = config};
    return answers_submit(backend, NULL, &request, err);
}

// ---- Turns of callers' threads ------------------------------------------------------------------------------

// Waits until everything before it in the queue is done.
static llm_status wait_for_turn(llm_backend *backend, job *turn, const char *what, llm_error *err)
{
    if (backend->closing || backend->phase != PHASE_LOADED) return not_loaded(backend, err);
    take_reset(turn);
    append_job(backend, turn);
    while (!turn->dropped && !(backend->first == turn && backend->owner == OWNER_NOBODY))
        pthread_cond_wait(&backend->changed, &backend->lock);
    if (turn->dropped) return error_set(err, LLM_CANCELLED, "%s was cancelled: the model is being unloaded", what);
    take_job(backend);
    return LLM_OK;
}

llm_status answers_take_turn(llm_backend *backend, llm_session *session, const char *what, bool *fresh, llm_error *err)
{
    job turn = {.session = session};
    pthread_mutex_lock(&backend->lock);
    backend->callers++;
    llm_status status = wait_for_turn(backend, &turn, what, err);
    if (fresh) *fresh = turn.fresh;
    if (status == LLM_OK) {
        atomic_store(&backend->stop_score, false);
        backend_own(backend, OWNER_TURN);
    } else if (!--backend->callers) {
        pthread_cond_broadcast(&backend->changed);
    }
    pthread_mutex_unlock(&backend->lock);
    return status;
}

void answers_end_turn(llm_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    backend_release(backend);
    if (!--backend->callers) pthread_cond_broadcast(&backend->changed);
    pthread_mutex_unlock(&backend->lock);
}

// ---- Scoring, and other work on the caller's thread ---------------------------------------------------------

typedef struct score_watch {
    llm_backend *backend;
    llm_score_function on_position;
    void *user;
} score_watch;

static int on_score(void *user, int position, int32_t token, double next_logprob,
                    const llm_token_logprob *top, int num_top)
{
    score_watch *watch = user;
    return atomic_load(&watch->backend->stop_score) ||
           watch->on_position(watch->user, position, token, next_logprob, top, num_top);
}

static llm_status check_score(llm_backend *backend, const int32_t *tokens, int num_tokens, int num_top,
                              llm_score_function on_position, llm_error *err)
{
    if (!backend) return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL");
    if (!tokens || num_tokens < 1 || num_top < 0 || !on_position)
        return error_set(err, LLM_INVALID_ARGUMENT,
                         "scoring takes at least one token, 0 or more likeliest ones and a function");
    if (!backend->methods->score)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" cannot score tokens",
                         backend->methods->name);
    return LLM_OK;
}

llm_status llm_backend_score(llm_backend *backend, const int32_t *tokens, int num_tokens, int num_top,
                             llm_score_function on_position, void *user, llm_error *err)
{
    llm_status status = check_score(backend, tokens, num_tokens, num_top, on_position, err);
    if (status != LLM_OK) return status;
    score_watch watch = {backend, on_position, user};
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    status = answers_take_turn(backend, NULL, "scoring", NULL, err);
    if (status != LLM_OK) return status;
    status = backend->methods->score(backend->state, tokens, num_tokens, num_top, on_score, &watch, err);
    backend_slot_status(backend, "score", status, err);
    answers_end_turn(backend);
    return status;
}
