// llm_announcement: a thread that keeps this process's record about a backend up to date.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/spec.h"
#include "client/wait.h"
#include "models/file_lock.h"
#include "service/holders.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MS = 500 };

struct llm_announcement {
    llm_backend *backend;
    char *program, *path;
    int fd; // of the record; holds its lock
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;              // under the lock
    llm_model_spec *model;  // that the record is about, and since when; the thread's
    int64_t since;
    buf record, written;
};

// Since when this model is there: since it was first seen.
static void note_model(llm_announcement *a)
{
    llm_model_spec *now = llm_backend_current_model_copy(a->backend);
    if (!now || !a->model || !llm_model_spec_equal(now, a->model)) a->since = (int64_t)time(NULL);
    mem_free(a->model);
    a->model = now;
}

static void refresh(llm_announcement *a)
{
    llm_memory memory = {0};
    llm_engine_info engine = {0};
    note_model(a);
    if (!a->model || llm_backend_memory(a->backend, &memory, NULL) != LLM_OK) memory = (llm_memory){0};
    if (a->model) llm_backend_engine_info(a->backend, &engine, NULL);
    llm_holder holder = {.pid = getpid(),
                         .program = a->program,
                         .model = a->model ? spec_id(a->model) : "",
                         .engine = engine.name,
                         .weights_bytes = memory.weights_bytes,
                         .kv_bytes = memory.kv_bytes,
                         .work_bytes = memory.work_bytes,
                         .resident_bytes = memory.resident_bytes,
                         .context_tokens = memory.context_tokens,
                         .context_length = memory.context_length,
                         .since = a->since};
    if (!holder_write(&holder, &a->record) ||
        (a->written.length == a->record.length && memcmp(a->written.data, a->record.data, a->record.length) == 0))
        return;
    // On a disk that is full, others see what was true before.
    if (pwrite(a->fd, a->record.data, a->record.length, 0) != (ssize_t)a->record.length) return;
    buf other = a->written;
    a->written = a->record;
    a->record = other;
}

static void *announce_main(void *user)
{
    llm_announcement *a = user;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        pthread_mutex_unlock(&a->lock);
        refresh(a);
        int64_t deadline = clock_nanoseconds() + (int64_t)INTERVAL_MS * 1000000;
        pthread_mutex_lock(&a->lock);
        while (!a->stop && clock_nanoseconds() < deadline) wait_until(&a->wake, &a->lock, deadline);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static llm_status open_record(llm_announcement *a, llm_error *err)
{
    static atomic_int number;
    char *folder, name[60];
    llm_status status = holders_folder(&folder, err);
    if (status != LLM_OK) return status;
    snprintf(name, sizeof name, "%ld-%d.json", (long)getpid(), atomic_fetch_add(&number, 1));
    a->path = path_join(folder, name);
    mem_free(folder);
    status = a->path ? file_lock_try(a->path, &a->fd, err) : error_no_memory(err, "a path");
    return status == LLM_BUSY ? error_set(err, LLM_IO_ERROR, "%s is another process's", a->path) : status;
}

static void destroy(llm_announcement *a)
{
    if (a->fd >= 0) unlink(a->path);
    file_lock_release(&a->fd);
    buf_free(&a->record);
    buf_free(&a->written);
    mem_free(a->model);
    mem_free(a->path);
    mem_free(a->program);
    mem_free(a);
}

static bool start(llm_announcement *a)
{
    if (pthread_mutex_init(&a->lock, NULL)) return false;
    bool woken = wait_init(&a->wake);
    if (woken && thread_start(&a->thread, announce_main, a)) return true;
    if (woken) pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    return false;
}

llm_announcement *llm_announcement_create(llm_backend *backend, const char *program, llm_error *err)
{
    if (!backend || !program)
        return error_set(err, LLM_INVALID_ARGUMENT, "the %s is NULL", backend ? "program" : "backend"), NULL;
    llm_announcement *a = mem_alloc_zero(1, sizeof *a);
    if (!a) return error_no_memory(err, "an announcement"), NULL;
    a->backend = backend;
    a->fd = -1;
    a->program = mem_copy_string(program);
    llm_status status = a->program ? open_record(a, err) : error_no_memory(err, "an announcement");
    if (status == LLM_OK) {
        refresh(a); // whoever looks from now on sees it
        if (!start(a)) status = error_no_memory(err, "an announcement");
    }
    if (status == LLM_OK) return a;
    destroy(a);
    return NULL;
}

void llm_announcement_free(llm_announcement *a)
{
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    destroy(a);
}
