// llm_backend: a table of methods with the rules around it. This file: creating, loading, unloading, asking.
#include "client/backend.h"
#include "base/mem.h"
#include "client/process_memory.h"
#include "client/spec.h"
#include <stddef.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// ---- Life -------------------------------------------------------------------------------------------------

static llm_status check_methods(const llm_backend_methods *methods, llm_error *err)
{
    if (!methods) return error_set(err, LLM_INVALID_ARGUMENT, "the table of methods is NULL");
    if (methods->api_version < 1 || methods->api_version > LLM_BACKEND_API)
        return error_set(err, LLM_INVALID_ARGUMENT,
                         "the backend is of version %d; this library takes versions 1 to %d", methods->api_version,
                         LLM_BACKEND_API);
    const char *missing = !methods->name       ? "name"
                          : !methods->load     ? "load"
                          : !methods->unload   ? "unload"
                          : !methods->generate ? "generate"
                                               : NULL;
    if (!missing && methods->api_version >= 2 && methods->session_create && !methods->session_free) missing = "session_free";
    if (missing) return error_set(err, LLM_INVALID_ARGUMENT, "the backend's table has no \"%s\"", missing);
    return LLM_OK;
}

// A table of an older version is shorter: the slots that it does not have stay NULL.
static void copy_methods(llm_backend_methods *table, const llm_backend_methods *methods)
{
    size_t size = methods->api_version == 1 ? offsetof(llm_backend_methods, session_create) : sizeof *table;
    memcpy(table, methods, size);
}

llm_backend *llm_backend_create(const llm_backend_methods *methods, void *state, llm_error *err)
{
    if (check_methods(methods, err) != LLM_OK) return NULL;
    llm_backend *backend = mem_alloc_zero(1, sizeof *backend);
    if (!backend) return error_no_memory(err, "a backend"), NULL;
    copy_methods(&backend->table, methods);
    backend->methods = &backend->table;
    backend->state = state;
    backend->references = 1;
    backend->own.backend = backend;
    backend->sessions = &backend->own;
    if (!pthread_mutex_init(&backend->lock, NULL) && !pthread_cond_init(&backend->changed, NULL))
        return backend;
    mem_free(backend);
    error_no_memory(err, "a backend's locks");
    return NULL;
}

void llm_backend_free(llm_backend *backend)
{
    if (!backend) return;
    pthread_mutex_lock(&backend->lock);
    backend->closing = true;
    pthread_cond_broadcast(&backend->changed);
    pthread_mutex_unlock(&backend->lock);
    llm_backend_unload(backend);
    pthread_mutex_lock(&backend->lock);
    while (backend->callers) pthread_cond_wait(&backend->changed, &backend->lock);
    pthread_mutex_unlock(&backend->lock);
    answers_join(backend);
    if (backend->methods->destroy) backend->methods->destroy(backend->state);
    backend_drop_reference(backend);
}

void backend_drop_reference(llm_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    bool last = --backend->references == 0;
    pthread_mutex_unlock(&backend->lock);
    if (!last) return;
    mem_free(backend->own.system_prompt);
    pthread_cond_destroy(&backend->changed);
    pthread_mutex_destroy(&backend->lock);
    mem_free(backend);
}

llm_status backend_slot_status(const llm_backend *backend, const char *slot, llm_status status,
                               llm_error *err)
{
    if (status == LLM_OK) return status;
    if (err->code != status || !err->message[0])
        error_set(err, status, "%s: %s: %s", backend->methods->name, slot, llm_status_name(status));
    return status;
}

// ---- Models come and go -----------------------------------------------------------------------------------

static void set_phase(llm_backend *backend, backend_phase phase)
{
    backend->phase = phase;
    pthread_cond_broadcast(&backend->changed);
}

// Frees the model. Holds the lock; the phase is loading or unloading.
static void drop_model(llm_backend *backend)
{
    answers_stop(backend);
    sessions_empty(backend);
    pthread_mutex_unlock(&backend->lock);
#ifdef __GLIBC__
    // Large blocks that were freed have raised this far above its default: then every arena but the first would keep
    // tens of megabytes for itself, and malloc_trim does not touch those.
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
#endif
    backend->methods->unload(backend->state);
#ifdef __GLIBC__
    malloc_trim(0); // what many small allocations leave behind goes back to the system
#endif
    pthread_mutex_lock(&backend->lock);
    mem_free(backend->model);
    mem_free(backend->told_prompt);
    backend->model = NULL;
    backend->told_prompt = NULL;
}

// One load's way to be stopped: by the application's progress function, or by an unload from another thread.
typedef struct load_watch {
    llm_backend *backend;
    llm_progress_function progress;
    void *user;
} load_watch;

static int on_load_progress(void *user, const char *what, double fraction)
{
    load_watch *watch = user;
    atomic_bool *stop = &watch->backend->stop_load;
    double clamped = fraction >= 0 ? fraction <= 1 ? fraction : 1 : 0; // NaN is 0
    if (!atomic_load(stop) && watch->progress && watch->progress(watch->user, what, clamped))
        atomic_store(stop, true);
    return atomic_load(stop);
}

// Loads with the phase already set; takes `spec` over. Holds the lock.
static llm_status load_model(llm_backend *backend, llm_model_spec *spec, load_watch *watch, llm_error *err)
{
    llm_status status = LLM_CANCELLED;
    atomic_store(&backend->stop_load, false);
    set_phase(backend, PHASE_LOADING);
    if (backend->model) drop_model(backend);
    pthread_mutex_unlock(&backend->lock);
    *err = (llm_error){0};
    if (!atomic_load(&backend->stop_load)) {
        status = backend->methods->load(backend->state, spec, on_load_progress, watch, err);
        backend_slot_status(backend, "load", status, err);
    }
    pthread_mutex_lock(&backend->lock);
    if (status == LLM_OK && atomic_load(&backend->stop_load)) {
        status = LLM_CANCELLED; // asked to stop too late, or the backend did not listen
        drop_model(backend);
    }
    if (status == LLM_CANCELLED) error_set(err, LLM_CANCELLED, "loading \"%s\" was cancelled", spec_id(spec));
    if (status == LLM_OK)
        backend->model = spec;
    else
        mem_free(spec);
    set_phase(backend, status == LLM_OK ? PHASE_LOADED : PHASE_IDLE);
    return status;
}

// Takes `spec` over. Holds the lock.
static llm_status load_locked(llm_backend *backend, llm_model_spec *spec, load_watch *watch, llm_error *err)
{
    llm_status status;
    while (backend->phase == PHASE_UNLOADING) pthread_cond_wait(&backend->changed, &backend->lock);
    if (backend->closing)
        status = error_set(err, LLM_CANCELLED, "the backend is being freed");
    else if (backend->phase == PHASE_LOADING)
        status = error_set(err, LLM_LOAD_IN_PROGRESS, "another load is in progress");
    else if (backend->phase == PHASE_LOADED && llm_model_spec_equal(spec, backend->model))
        status = LLM_OK;
    else
        return load_model(backend, spec, watch, err);
    mem_free(spec);
    return status;
}

static void enter(llm_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    backend->callers++;
}

static void leave(llm_backend *backend)
{
    if (!--backend->callers) pthread_cond_broadcast(&backend->changed);
    pthread_mutex_unlock(&backend->lock);
}

llm_status llm_backend_load(llm_backend *backend, const llm_model_spec *spec, llm_progress_function progress,
                            void *user, llm_error *err)
{
    llm_model_spec whole;
    if (!backend) return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL");
    llm_status status = spec_read_checked(spec, &whole, err);
    if (status != LLM_OK) return status;
    llm_model_spec *copy = llm_model_spec_copy(&whole);
    if (!copy) return error_no_memory(err, "a model spec");
    load_watch watch = {backend, progress, user};
    llm_error unused;
    if (!err) err = &unused;
    enter(backend);
    status = load_locked(backend, copy, &watch, err);
    leave(backend);
    return status;
}

void llm_backend_unload(llm_backend *backend)
{
    if (!backend) return;
    enter(backend);
    while (backend->phase == PHASE_LOADING || backend->phase == PHASE_UNLOADING) {
        if (backend->phase == PHASE_LOADING) atomic_store(&backend->stop_load, true);
        pthread_cond_wait(&backend->changed, &backend->lock);
    }
    if (backend->phase == PHASE_LOADED) {
        set_phase(backend, PHASE_UNLOADING);
        drop_model(backend);
        set_phase(backend, PHASE_IDLE);
    }
    leave(backend);
}

// ---- Asking -----------------------------------------------------------------------------------------------

bool llm_backend_is_loaded(llm_backend *backend)
{
    if (!backend) return false;
    pthread_mutex_lock(&backend->lock);
    bool loaded = backend->phase == PHASE_LOADED;
    pthread_mutex_unlock(&backend->lock);
    return loaded;
}

llm_model_spec *llm_backend_current_model_copy(llm_backend *backend)
{
    if (!backend) return NULL;
    pthread_mutex_lock(&backend->lock);
    llm_model_spec *copy = backend->phase == PHASE_LOADED ? llm_model_spec_copy(backend->model) : NULL;
    pthread_mutex_unlock(&backend->lock);
    return copy;
}

llm_status llm_backend_memory(llm_backend *backend, llm_memory *memory, llm_error *err)
{
    if (!backend || !memory)
        return error_set(err, LLM_INVALID_ARGUMENT, "the %s is NULL", backend ? "memory" : "backend");
    *memory = (llm_memory){0};
    llm_status status = LLM_OK;
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    pthread_mutex_lock(&backend->lock);
    if (backend->methods->memory && backend->phase == PHASE_LOADED)
        status = backend->methods->memory(backend->state, memory, err);
    pthread_mutex_unlock(&backend->lock);
    process_memory(&memory->resident_bytes, &memory->peak_resident_bytes);
    return backend_slot_status(backend, "memory", status, err);
}

llm_status llm_backend_engine_info(llm_backend *backend, llm_engine_info *info, llm_error *err)
{
    if (!backend || !info)
        return error_set(err, LLM_INVALID_ARGUMENT, "the %s is NULL", backend ? "info" : "backend");
    *info = (llm_engine_info){0};
    if (!backend->methods->engine_info)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" has no engine to speak of",
                         backend->methods->name);
    llm_status status = LLM_LOAD_IN_PROGRESS;
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    pthread_mutex_lock(&backend->lock);
    while (backend->phase == PHASE_UNLOADING) pthread_cond_wait(&backend->changed, &backend->lock);
    if (backend->phase == PHASE_LOADING)
        error_set(err, status, "a load is in progress");
    else
        status = backend->methods->engine_info(backend->state, info, err);
    pthread_mutex_unlock(&backend->lock);
    return backend_slot_status(backend, "engine_info", status, err);
}
