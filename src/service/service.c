// llm_service: its life, and what it is asked.
#include "service/service.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "client/options.h"
#include "client/spec.h"
#include "models/resolve.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64 };

// ---- Life -------------------------------------------------------------------------------------------------

void llm_service_options_init(llm_service_options *options)
{
    *options = (llm_service_options){.size = sizeof *options, .max_models = 1};
}

static llm_status read_options(const llm_service_options *from, llm_service_options *options, llm_error *err)
{
    llm_service_options_init(options);
    llm_status status = LLM_OK;
    if (from) status = options_read(options, sizeof *options, from, "llm_service_options_init", err);
    if (status == LLM_OK && (options->max_models < 1 || options->max_models > MAX_MODELS))
        status = error_set(err, LLM_INVALID_ARGUMENT, "max_models is %d; it must be 1 to %d", options->max_models,
                           MAX_MODELS);
    return status;
}

static llm_backend *create_backend(const llm_service_options *options, llm_error *err)
{
    llm_error failure = {0};
    if (!options->create_backend) return llm_mlx_backend_create(options->mlx, err);
    llm_backend *backend = options->create_backend(options->create_backend_user, &failure);
    if (!backend && failure.code == LLM_OK)
        error_set(&failure, LLM_INTERNAL_ERROR, "create_backend returned no backend, and no reason");
    if (!backend && err) *err = failure;
    return backend;
}

// Signals are for the application's threads.
static bool start_thread(slot *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->has_thread = !pthread_create(&s->thread, NULL, slot_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->has_thread;
}

static llm_status create_slots(llm_service *service, const llm_service_options *options, llm_error *err)
{
    service->slots = mem_alloc_zero((size_t)options->max_models, sizeof *service->slots);
    if (!service->slots) return error_no_memory(err, "a service");
    for (int i = 0; i < options->max_models; i++) {
        slot *s = &service->slots[i];
        s->service = service;
        if (!(s->backend = create_backend(options, err))) return LLM_INTERNAL_ERROR; // err says it
        service->num_slots++;
        if (!start_thread(s)) return error_no_memory(err, "a service's thread");
    }
    return LLM_OK;
}

llm_service *llm_service_create(const llm_service_options *from, llm_error *err)
{
    llm_service_options options;
    if (read_options(from, &options, err) != LLM_OK) return NULL;
    llm_service *service = mem_alloc_zero(1, sizeof *service);
    if (!service) return error_no_memory(err, "a service"), NULL;
    if (pthread_mutex_init(&service->lock, NULL) || pthread_cond_init(&service->changed, NULL)) {
        mem_free(service);
        return error_no_memory(err, "a service's locks"), NULL;
    }
    if (create_slots(service, &options, err) == LLM_OK) return service;
    llm_service_free(service);
    return NULL;
}

void llm_service_free(llm_service *service)
{
    if (!service) return;
    pthread_mutex_lock(&service->lock);
    service->closing = true;
    requests_drop(service, NULL);
    for (int i = 0; i < service->num_slots; i++) slot_cancel(&service->slots[i]);
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    for (int i = 0; i < service->num_slots; i++) {
        if (service->slots[i].has_thread) pthread_join(service->slots[i].thread, NULL);
        llm_backend_free(service->slots[i].backend);
        mem_free(service->slots[i].model);
    }
    mem_free(service->slots);
    mem_free(service->latest);
    mem_free(service->system_prompt);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    mem_free(service);
}

// ---- Stopping ---------------------------------------------------------------------------------------------

void llm_service_cancel(llm_service *service)
{
    if (!service) return;
    pthread_mutex_lock(&service->lock);
    for (int i = 0; i < service->num_slots; i++) slot_cancel(&service->slots[i]);
    pthread_mutex_unlock(&service->lock);
}

void llm_service_unload(llm_service *service, const llm_model_spec *spec)
{
    llm_model_spec whole;
    if (!service || (spec && spec_read(spec, &whole, NULL) != LLM_OK)) return;
    pthread_mutex_lock(&service->lock);
    requests_drop(service, spec);
    for (int i = 0; i < service->num_slots; i++)
        if (!spec || slot_holds(&service->slots[i], spec)) slot_unload(&service->slots[i], spec);
    pthread_mutex_unlock(&service->lock);
}

// ---- The session ------------------------------------------------------------------------------------------

llm_status llm_service_set_system_prompt(llm_service *service, const char *text, llm_error *err)
{
    if (!service) return error_set(err, LLM_INVALID_ARGUMENT, "the service is NULL");
    if (text && !utf8_valid(text, strlen(text)))
        return error_set(err, LLM_INVALID_ARGUMENT, "the system prompt is not valid UTF-8");
    char *copy = text ? mem_copy_string(text) : NULL;
    if (text && !copy) return error_no_memory(err, "the system prompt");
    pthread_mutex_lock(&service->lock);
    char *old = service->system_prompt;
    service->system_prompt = copy;
    pthread_mutex_unlock(&service->lock);
    mem_free(old);
    return LLM_OK;
}

char *llm_service_system_prompt_copy(llm_service *service)
{
    if (!service) return NULL;
    pthread_mutex_lock(&service->lock);
    char *copy = service->system_prompt ? mem_copy_string(service->system_prompt) : NULL;
    pthread_mutex_unlock(&service->lock);
    return copy;
}

void llm_service_reset(llm_service *service)
{
    if (!service) return;
    pthread_mutex_lock(&service->lock);
    service->session++;
    pthread_mutex_unlock(&service->lock);
}

// ---- Asking -----------------------------------------------------------------------------------------------

bool llm_service_is_cached(llm_service *service, const llm_model_spec *spec)
{
    llm_model_spec whole;
    char *directory = NULL;
    if (!service || spec_read(spec, &whole, NULL) != LLM_OK || spec_check(&whole, NULL) != LLM_OK) return false;
    bool cached = model_resolve_directory(whole.base, &directory, NULL) == LLM_OK;
    mem_free(directory);
    return cached;
}

static int by_last_used(const void *a, const void *b)
{
    const slot *x = *(const slot *const *)a, *y = *(const slot *const *)b;
    return (x->last_used < y->last_used) - (x->last_used > y->last_used);
}

// The slots with a model, the latest used first; returns how many. Holds the lock.
static int sort_slots(llm_service *service, const slot *slots[MAX_MODELS])
{
    int count = 0;
    for (int i = 0; i < service->num_slots; i++)
        if (service->slots[i].model) slots[count++] = &service->slots[i];
    if (count) qsort(slots, (size_t)count, sizeof *slots, by_last_used);
    return count;
}

llm_model_spec **llm_service_loaded_models_copy(llm_service *service, int *count)
{
    const slot *slots[MAX_MODELS];
    const llm_model_spec *specs[MAX_MODELS];
    *count = 0;
    if (!service) return NULL;
    pthread_mutex_lock(&service->lock);
    int loaded = sort_slots(service, slots);
    for (int i = 0; i < loaded; i++) specs[i] = slots[i]->model;
    llm_model_spec **copies = spec_copy_all(specs, (size_t)loaded);
    pthread_mutex_unlock(&service->lock);
    if (copies) *count = loaded;
    return copies;
}

bool llm_service_last_stats(llm_service *service, llm_stats *stats)
{
    if (!service || !stats) return false;
    pthread_mutex_lock(&service->lock);
    bool known = service->has_stats;
    *stats = service->last_stats;
    pthread_mutex_unlock(&service->lock);
    return known;
}

llm_status llm_service_memory(llm_service *service, llm_memory *memory, llm_error *err)
{
    if (!service || !memory)
        return error_set(err, LLM_INVALID_ARGUMENT, "the %s is NULL", service ? "memory" : "service");
    llm_memory sum = {0};
    llm_status status = LLM_OK;
    for (int i = 0; i < service->num_slots && status == LLM_OK; i++) {
        llm_memory one;
        status = llm_backend_memory(service->slots[i].backend, &one, err);
        sum.weights_bytes += one.weights_bytes;
        sum.kv_bytes += one.kv_bytes;
        sum.work_bytes += one.work_bytes;
        sum.resident_bytes = one.resident_bytes;
        sum.peak_resident_bytes = one.peak_resident_bytes;
    }
    *memory = sum;
    return status;
}
