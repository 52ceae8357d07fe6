// llm_download: a pull on a thread of its own, and the orders given to it.
#include "base/mem.h"
#include "base/thread.h"
#include "client/spec.h"
#include "client/wait.h"
#include "models/adapter_source.h"
#include "models/resolve.h"
#include "models/transfer.h"
#include <pthread.h>
#include <string.h>

struct llm_download {
    llm_model_spec *spec;
    pthread_t thread;
    atomic_int order; // a transfer_order
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Under the lock.
    hub_progress progress;
    bool ended;
    llm_status status;
    llm_error error;
    char *directory;
};

static bool note_progress(void *user, const hub_progress *progress)
{
    llm_download *d = user;
    pthread_mutex_lock(&d->lock);
    d->progress = *progress;
    pthread_mutex_unlock(&d->lock);
    return true;
}

static void *run(void *user)
{
    llm_download *d = user;
    llm_error err = {0};
    char *directory = NULL, *adapter = NULL;
    resolve_watch watch = {.order = &d->order, .progress = note_progress, .user = d};
    llm_status status = model_pull(d->spec, &watch, &directory, &err);
    if (status == LLM_OK && d->spec->adapter.kind != LLM_ADAPTER_NONE)
        status = adapter_pull(&d->spec->adapter, &watch, &adapter, &err);
    mem_free(adapter);
    pthread_mutex_lock(&d->lock);
    d->status = status;
    d->error = err;
    d->directory = directory;
    d->ended = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static void destroy(llm_download *d, bool made_condition, bool made_lock)
{
    if (made_condition) pthread_cond_destroy(&d->changed);
    if (made_lock) pthread_mutex_destroy(&d->lock);
    mem_free(d->directory);
    mem_free(d->spec);
    mem_free(d);
}

llm_download *llm_download_start(const llm_model_spec *spec, llm_error *err)
{
    llm_model_spec whole;
    if (spec_read_checked(spec, &whole, err) != LLM_OK) return NULL;
    llm_download *d = mem_alloc_zero(1, sizeof *d);
    if (!d) return error_no_memory(err, "a download"), NULL;
    d->spec = llm_model_spec_copy(&whole);
    bool lock = d->spec && pthread_mutex_init(&d->lock, NULL) == 0,
         condition = lock && wait_init(&d->changed);
    if (condition && thread_start(&d->thread, run, d)) return d;
    destroy(d, condition, lock);
    error_no_memory(err, "a download");
    return NULL;
}

llm_status llm_download_wait(llm_download *d, int timeout_ms, llm_error *err)
{
    if (!d) return error_set(err, LLM_INVALID_ARGUMENT, "the download is NULL");
    int64_t deadline = clock_nanoseconds() + (int64_t)timeout_ms * 1000000;
    pthread_mutex_lock(&d->lock);
    while (!d->ended && (timeout_ms < 0 || clock_nanoseconds() < deadline)) {
        if (timeout_ms < 0)
            pthread_cond_wait(&d->changed, &d->lock);
        else
            wait_until(&d->changed, &d->lock, deadline);
    }
    llm_status status = d->ended ? d->status : LLM_TIMEOUT;
    if (d->ended && status != LLM_OK && err) *err = d->error;
    pthread_mutex_unlock(&d->lock);
    return status == LLM_TIMEOUT ? error_set(err, LLM_TIMEOUT, "the download still runs") : status;
}

void llm_download_get_state(llm_download *d, llm_download_state *state)
{
    if (!state) return;
    *state = (llm_download_state){0};
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    *state = (llm_download_state){.done_bytes = d->progress.done_bytes,
                                  .total_bytes = d->progress.total_bytes,
                                  .received_bytes = d->progress.received_bytes,
                                  .files_done = d->progress.files_done,
                                  .num_files = d->progress.num_files,
                                  .paused = atomic_load(&d->order) == TRANSFER_PAUSE};
    pthread_mutex_unlock(&d->lock);
}

// A cancelled download stays so.
static void give_order(llm_download *d, int order)
{
    if (!d) return;
    int old = atomic_load(&d->order);
    while (old != TRANSFER_STOP && !atomic_compare_exchange_weak(&d->order, &old, order)) {}
}

void llm_download_pause(llm_download *d)
{
    give_order(d, TRANSFER_PAUSE);
}
void llm_download_resume(llm_download *d)
{
    give_order(d, TRANSFER_GO);
}
void llm_download_cancel(llm_download *d)
{
    give_order(d, TRANSFER_STOP);
}

char *llm_download_directory_copy(llm_download *d)
{
    if (!d) return NULL;
    pthread_mutex_lock(&d->lock);
    char *copy = d->ended && d->directory ? mem_copy_string(d->directory) : NULL;
    pthread_mutex_unlock(&d->lock);
    return copy;
}

void llm_download_free(llm_download *d)
{
    if (!d) return;
    llm_download_cancel(d);
    pthread_join(d->thread, NULL);
    destroy(d, true, true);
}
