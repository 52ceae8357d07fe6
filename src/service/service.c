// llm_service: its life, and what it is asked.
#include "service/service.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "client/options.h"
#include "client/spec.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64 };

// ---- Life -------------------------------------------------------------------------------------------------

void llm_service_options_init(llm_service_options *options)
{
    *options = (llm_service_options){.size = sizeof *options, .max_models = 1, .pressure_interval_ms = 500};
}

static llm_status read_options(const llm_service_options *from, llm_service_options *options, llm_error *err)
{
    llm_service_options_init(options);
    llm_status status = LLM_OK;
    if (from) status = options_read(options, sizeof *options, from, "llm_service_options_init", err);
    if (status == LLM_OK && (options->max_models < 1 || options->max_models > MAX_MODELS))
        status = error_set(err, LLM_INVALID_ARGUMENT, "max_models is %d; it must be 1 to %d", options->max_models,
                           MAX_MODELS);
    if (status == LLM_OK && options->pressure_interval_ms < 1)
        status = error_set(err, LLM_INVALID_ARGUMENT, "pressure_interval_ms is %d; it must be 1 or more",
                           options->pressure_interval_ms);
    return status;
}

// Keeps the mlx options with the service, for its estimates.
static llm_status copy_mlx_options(llm_service *service, llm_error *err)
{
    const llm_mlx_options *from = service->options.mlx;
    service->options.mlx = NULL;
    llm_mlx_options_init(&service->mlx);
    if (!from) return LLM_OK;
    llm_status status = options_read(&service->mlx, sizeof service->mlx, from, "llm_mlx_options_init", err);
    if (status != LLM_OK || !service->mlx.engine) return status;
    service->mlx.engine = service->engine_name = mem_copy_string(service->mlx.engine);
    return service->engine_name ? LLM_OK : error_no_memory(err, "a service");
}

static llm_backend *create_backend(llm_service *service, llm_error *err)
{
    const llm_service_options *options = &service->options;
    llm_error failure = {0};
    if (!options->create_backend) return llm_mlx_backend_create(&service->mlx, err);
    llm_backend *backend = options->create_backend(options->create_backend_user, &failure);
    if (!backend && failure.code == LLM_OK)
        error_set(&failure, LLM_INTERNAL_ERROR, "create_backend returned no backend, and no reason");
    if (!backend && err) *err = failure;
    return backend;
}

static llm_status create_slots(llm_service *service, llm_error *err)
{
    llm_status status = copy_mlx_options(service, err);
    if (status != LLM_OK) return status;
    service->slots = mem_alloc_zero((size_t)service->options.max_models, sizeof *service->slots);
    if (!service->slots) return error_no_memory(err, "a service");
    for (int i = 0; i < service->options.max_models; i++) {
        slot *s = &service->slots[i];
        s->service = service;
        if (!(s->backend = create_backend(service, err))) return LLM_INTERNAL_ERROR; // err says it
        service->num_slots++;
        s->has_thread = thread_start(&s->thread, slot_main, s);
        if (!s->has_thread) return error_no_memory(err, "a service's thread");
    }
    return LLM_OK;
}

llm_service *llm_service_create(const llm_service_options *from, llm_error *err)
{
    llm_service_options options;
    if (read_options(from, &options, err) != LLM_OK) return NULL;
    llm_service *service = mem_alloc_zero(1, sizeof *service);
    if (!service) return error_no_memory(err, "a service"), NULL;
    service->options = options;
    if (pthread_mutex_init(&service->lock, NULL) || pthread_cond_init(&service->changed, NULL) ||
        !monitor_init(&service->monitor)) {
        mem_free(service);
        return error_no_memory(err, "a service's locks"), NULL;
    }
    if (create_slots(service, err) == LLM_OK) return service;
    llm_service_free(service);
    return NULL;
}

void llm_service_free(llm_service *service)
{
    if (!service) return;
    llm_service_stop_monitoring(service);
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
    mem_free(service->engine_name);
    monitor_free(&service->monitor);
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

static int unload(llm_service *service, const llm_model_spec *spec)
{
    int count = 0;
    pthread_mutex_lock(&service->lock);
    requests_drop(service, spec);
    for (int i = 0; i < service->num_slots; i++)
        if (!spec || slot_holds(&service->slots[i], spec)) count += slot_unload(&service->slots[i], spec);
    pthread_mutex_unlock(&service->lock);
    return count;
}

int service_unload_all(llm_service *service)
{
    return unload(service, NULL);
}

void llm_service_unload(llm_service *service, const llm_model_spec *spec)
{
    llm_model_spec whole;
    if (service && (!spec || spec_read(spec, &whole, NULL) == LLM_OK)) unload(service, spec);
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
    return service && llm_cache_has(spec);
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
