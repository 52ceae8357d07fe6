// llm_session: chats on a backend's model. This file: their life, their prompts and resets, and what goes to disk and
// back. What a session holds is the backend's matter, behind the slots.
#include "client/backend.h"
#include "base/mem.h"
#include "client/request.h"
#include "base/utf8.h"
#include <string.h>

// ---- The state behind a session. The model's owner calls these, without the lock ------------------------------

static llm_status create_state(llm_session *session, llm_error *err)
{
    llm_backend *backend = session->backend;
    llm_status status = backend->methods->session_create(backend->state, &session->state, err);
    if (status != LLM_OK) session->state = NULL;
    return backend_slot_status(backend, "session_create", status, err);
}

static llm_status empty_state(llm_session *session, llm_error *err)
{
    llm_backend *backend = session->backend;
    const llm_backend_methods *methods = backend->methods;
    if (methods->session_reset)
        return backend_slot_status(backend, "session_reset", methods->session_reset(backend->state, session->state, err), err);
    methods->session_free(backend->state, session->state);
    session->state = NULL;
    return LLM_OK;
}

llm_status session_begin(llm_session *session, bool fresh, llm_error *err)
{
    llm_backend *backend = session->backend;
    const llm_backend_methods *methods = backend->methods;
    if (!methods->session_create) {
        if (!fresh || !methods->reset) return LLM_OK;
        return backend_slot_status(backend, "reset", methods->reset(backend->state, err), err);
    }
    llm_status status = fresh && session->state ? empty_state(session, err) : LLM_OK;
    return status == LLM_OK && !session->state ? create_state(session, err) : status;
}

static bool same_prompt(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

// `told_prompt` is the owner's, so it is read and written without the lock.
llm_status session_tell_prompt(llm_backend *backend, const char *text, llm_error *err)
{
    const llm_backend_methods *methods = backend->methods;
    if (!methods->set_system_prompt || methods->session_create || same_prompt(text, backend->told_prompt)) return LLM_OK;
    char *copy = text ? mem_copy_string(text) : NULL;
    if (text && !copy) return error_no_memory(err, "the system prompt");
    llm_status status = methods->set_system_prompt(backend->state, text, err);
    if (status == LLM_OK) {
        char *old = backend->told_prompt;
        backend->told_prompt = copy;
        copy = old;
    }
    mem_free(copy);
    return backend_slot_status(backend, "set_system_prompt", status, err);
}

// Takes a state away from its session and frees it. Holds the lock.
static void free_state(llm_session *session)
{
    llm_backend *backend = session->backend;
    void *state = session->state;
    if (!state) return;
    session->state = NULL;
    pthread_mutex_unlock(&backend->lock);
    backend->methods->session_free(backend->state, state);
    pthread_mutex_lock(&backend->lock);
}

// Holds the lock. Its reference is not the last one: whoever calls has another.
static void free_session(llm_session *session)
{
    session->backend->references--;
    mem_free(session->system_prompt);
    mem_free(session);
}

void sessions_bury(llm_backend *backend)
{
    llm_session *session;
    while ((session = backend->discarded)) {
        backend->discarded = session->next;
        free_state(session);
        free_session(session);
    }
}

void sessions_empty(llm_backend *backend)
{
    llm_session *session = backend->sessions;
    while (session) {
        session->fresh = false;
        bool had_state = session->state;
        free_state(session);
        // While the lock was open the list may have changed: begin again.
        session = had_state ? backend->sessions : session->next;
    }
    sessions_bury(backend);
}

// ---- Life -------------------------------------------------------------------------------------------------

llm_session *llm_session_create(llm_backend *backend, llm_error *err)
{
    if (!backend) return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL"), NULL;
    if (!backend->methods->session_create)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" has one session only", backend->methods->name), NULL;
    llm_session *session = mem_alloc_zero(1, sizeof *session);
    if (!session) return error_no_memory(err, "a session"), NULL;
    session->backend = backend;
    pthread_mutex_lock(&backend->lock);
    session->next = backend->sessions;
    backend->sessions = session;
    backend->references++;
    pthread_mutex_unlock(&backend->lock);
    return session;
}

llm_session *llm_backend_session(llm_backend *backend)
{
    return backend ? &backend->own : NULL;
}

void llm_session_free(llm_session *session)
{
    if (!session || session == &session->backend->own) return;
    llm_backend *backend = session->backend;
    pthread_mutex_lock(&backend->lock);
    llm_session **at = &backend->sessions;
    while (*at != session) at = &(*at)->next;
    *at = session->next;
    answers_drop(backend, session);
    backend->references++; // for us, until the lock is open
    bool runs = backend->running_session == session;
    if (!runs && !session->state) {
        free_session(session);
    } else {
        session->next = backend->discarded;
        backend->discarded = session;
        if (runs) {
            answers_cancel(backend); // from here on the session may be gone
        } else if (backend->owner == OWNER_NOBODY && backend->phase == PHASE_LOADED) {
            backend_own(backend, OWNER_BRIEF);
            backend_release(backend);
        } // else whoever has the model frees it
    }
    pthread_mutex_unlock(&backend->lock);
    backend_drop_reference(backend);
}

// ---- Asking and being told ----------------------------------------------------------------------------------

// What is told to an idle model at once. True: the model is the caller's, and the lock, which it holds, is open until the
// end. False: there is no model, or it is in use.
static bool begin_brief_use(llm_backend *backend)
{
    if (backend->phase != PHASE_LOADED || !backend_is_free(backend)) return false;
    backend_own(backend, OWNER_BRIEF);
    pthread_mutex_unlock(&backend->lock);
    return true;
}

static void end_brief_use(llm_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    backend_release(backend);
}

static llm_status no_session(llm_error *err)
{
    return error_set(err, LLM_INVALID_ARGUMENT, "the session is NULL");
}

llm_stream *llm_session_generate(llm_session *session, const char *prompt, const llm_generation_config *config, llm_error *err)
{
    if (!session) return no_session(err), NULL;
    llm_request request = {.kind = LLM_REQUEST_PROMPT, .text = prompt, .config = config};
    return answers_submit(session->backend, session, &request, err);
}

llm_stream *llm_session_continue(llm_session *session, const llm_tool_result *results, int num_results,
                                 const llm_generation_config *config, llm_error *err)
{
    if (!session) return no_session(err), NULL;
    if (session->backend->methods->api_version < 2) // it does not know this kind of request
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" does not continue tool calls", session->backend->methods->name), NULL;
    llm_status status;
    llm_message *messages = request_result_messages(results, num_results, &status, err);
    if (status != LLM_OK) return NULL;
    llm_request request = {
        .kind = LLM_REQUEST_RESULTS, .messages = messages, .num_messages = num_results, .config = config};
    llm_stream *stream = answers_submit(session->backend, session, &request, err);
    mem_free(messages);
    return stream;
}

llm_status llm_session_set_system_prompt(llm_session *session, const char *text, llm_error *err)
{
    if (!session) return no_session(err);
    if (text && !utf8_valid(text, strlen(text)))
        return error_set(err, LLM_INVALID_ARGUMENT, "the system prompt is not valid UTF-8");
    char *copy = text ? mem_copy_string(text) : NULL;
    if (text && !copy) return error_no_memory(err, "the system prompt");
    llm_backend *backend = session->backend;
    llm_status status = LLM_OK;
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    pthread_mutex_lock(&backend->lock);
    if (begin_brief_use(backend)) {
        status = session_tell_prompt(backend, text, err);
        end_brief_use(backend);
    }
    if (status == LLM_OK) {
        char *old = session->system_prompt;
        session->system_prompt = copy;
        copy = old;
    }
    pthread_mutex_unlock(&backend->lock);
    mem_free(copy);
    return status;
}

char *llm_session_system_prompt_copy(llm_session *session)
{
    if (!session) return NULL;
    pthread_mutex_lock(&session->backend->lock);
    char *copy = session->system_prompt ? mem_copy_string(session->system_prompt) : NULL;
    pthread_mutex_unlock(&session->backend->lock);
    return copy;
}

llm_status llm_session_reset(llm_session *session, llm_error *err)
{
    if (!session) return no_session(err);
    llm_backend *backend = session->backend;
    llm_status status = LLM_OK;
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    pthread_mutex_lock(&backend->lock);
    if (begin_brief_use(backend)) {
        status = session_begin(session, true, err);
        end_brief_use(backend);
    } else if (backend->phase == PHASE_LOADED) {
        session->fresh = true;
    }
    pthread_mutex_unlock(&backend->lock);
    return status;
}

// ---- To disk and back: in the session's turn -------------------------------------------------------------------

typedef struct errand {
    const char *what, *slot; // for errors
    bool supported;
    llm_status (*run)(llm_session *session, struct errand *e, llm_error *err);
    const char *path;
    char *text; // owned: what is saved as the system prompt, or was it before; the transcript
} errand;

static llm_status run_errand(llm_session *session, errand *e, llm_error *err)
{
    llm_backend *backend = session->backend;
    bool fresh;
    if (!e->supported || !backend->methods->session_create)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" has no %s", backend->methods->name, e->slot);
    *err = (llm_error){0};
    llm_status status = answers_take_turn(backend, session, e->what, &fresh, err);
    if (status != LLM_OK) return status;
    status = session_begin(session, fresh, err);
    if (status == LLM_OK) status = backend_slot_status(backend, e->slot, e->run(session, e, err), err);
    answers_end_turn(backend);
    return status;
}

static llm_status run_save(llm_session *session, errand *e, llm_error *err)
{
    return session->backend->methods->session_save(session->backend->state, session->state, e->text, e->path, err);
}

static llm_status run_load(llm_session *session, errand *e, llm_error *err)
{
    llm_backend *backend = session->backend;
    char *prompt = NULL;
    llm_status status = backend->methods->session_load(backend->state, session->state, e->path, &prompt, err);
    if (status != LLM_OK) return status;
    pthread_mutex_lock(&backend->lock);
    e->text = session->system_prompt;
    session->system_prompt = prompt;
    pthread_mutex_unlock(&backend->lock);
    return LLM_OK;
}

static llm_status run_messages(llm_session *session, errand *e, llm_error *err)
{
    e->text = session->backend->methods->session_messages_json(session->backend->state, session->state, err);
    return e->text ? LLM_OK : err->code != LLM_OK ? err->code : LLM_INTERNAL_ERROR;
}

static llm_status check_path(const llm_session *session, const char *path, llm_error *err)
{
    if (!session) return no_session(err);
    return path && *path ? LLM_OK : error_set(err, LLM_INVALID_ARGUMENT, "the session's path is missing");
}

llm_status llm_session_save(llm_session *session, const char *path, llm_error *err)
{
    llm_error unused;
    if (!err) err = &unused;
    llm_status status = check_path(session, path, err);
    if (status != LLM_OK) return status;
    errand e = {"saving the session", "session_save", session->backend->methods->session_save, run_save, path, NULL};
    pthread_mutex_lock(&session->backend->lock);
    const char *prompt = session->system_prompt;
    if (prompt && !(e.text = mem_copy_string(prompt))) status = error_no_memory(err, "the system prompt");
    pthread_mutex_unlock(&session->backend->lock);
    if (status == LLM_OK) status = run_errand(session, &e, err);
    mem_free(e.text);
    return status;
}

llm_status llm_session_load(llm_session *session, const char *path, llm_error *err)
{
    llm_error unused;
    if (!err) err = &unused;
    llm_status status = check_path(session, path, err);
    if (status != LLM_OK) return status;
    errand e = {"loading the session", "session_load", session->backend->methods->session_load, run_load, path, NULL};
    status = run_errand(session, &e, err);
    mem_free(e.text);
    return status;
}

char *llm_session_messages_json_copy(llm_session *session, llm_error *err)
{
    llm_error unused;
    if (!err) err = &unused;
    if (!session) return no_session(err), NULL;
    errand e = {"reading the transcript", "session_messages_json", session->backend->methods->session_messages_json,
                run_messages, NULL, NULL};
    llm_status status = run_errand(session, &e, err);
    if (status != LLM_MODEL_NOT_LOADED) return e.text;
    char *none = mem_copy_string("[]");
    if (!none) error_no_memory(err, "a transcript");
    return none;
}

// ---- The backend's own session ----------------------------------------------------------------------------------

static llm_status no_backend(llm_error *err)
{
    return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL");
}

llm_stream *llm_backend_generate(llm_backend *backend, const char *prompt, const llm_generation_config *config, llm_error *err)
{
    return backend ? llm_session_generate(&backend->own, prompt, config, err) : (no_backend(err), NULL);
}

llm_stream *llm_backend_continue(llm_backend *backend, const llm_tool_result *results, int num_results,
                                 const llm_generation_config *config, llm_error *err)
{
    return backend ? llm_session_continue(&backend->own, results, num_results, config, err) : (no_backend(err), NULL);
}

llm_status llm_backend_set_system_prompt(llm_backend *backend, const char *text, llm_error *err)
{
    return backend ? llm_session_set_system_prompt(&backend->own, text, err) : no_backend(err);
}

char *llm_backend_system_prompt_copy(llm_backend *backend)
{
    return backend ? llm_session_system_prompt_copy(&backend->own) : NULL;
}

llm_status llm_backend_reset(llm_backend *backend, llm_error *err)
{
    return backend ? llm_session_reset(&backend->own, err) : no_backend(err);
}
