// A queue of one: callers take turns in handing a job over.
#include "engine/mlx/worker.h"
#include "base/thread.h"

typedef struct job {
    void (*function)(void *arg);
    void *arg;
    bool done;
} job;

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; // held by the caller whose job it is
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static job *current; // under `lock`
static bool running; // under `turn`

static void *run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!current) pthread_cond_wait(&changed, &lock);
        job *mine = current;
        pthread_mutex_unlock(&lock);
        mine->function(mine->arg);
        pthread_mutex_lock(&lock);
        current = NULL;
        mine->done = true;
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

// Those that MLX starts from this thread take no signals, either.
static bool start(void)
{
    pthread_t thread;
    bool started = thread_start(&thread, run, NULL);
    if (started) pthread_detach(thread);
    return started;
}

llm_status worker_call(void (*function)(void *arg), void *arg, llm_error *err)
{
    job mine = {.function = function, .arg = arg};
    pthread_mutex_lock(&turn);
    if (!running && !(running = start())) {
        pthread_mutex_unlock(&turn);
        return error_set(err, LLM_OUT_OF_MEMORY, "no thread could be started for MLX");
    }
    pthread_mutex_lock(&lock);
    current = &mine;
    pthread_cond_broadcast(&changed);
    while (!mine.done) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&turn);
    return LLM_OK;
}
