// Threads that take items from tickets. Each thread has a run of neighbouring items of its own and helps out with the
// others' when it is done: so a thread reads one stream of memory, and keeps the caches it has. A job is over when its
// items are done, not when every worker has looked at it: a worker that the system has put aside holds nobody up
// unless it holds an item.
#include "engine/cpu/pool.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include <stdatomic.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define cpu_relax() _mm_pause()
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield")
#else
#define cpu_relax() ((void)0)
#endif

enum { CACHE_LINE = 64, SPIN_NANOSECONDS = 50000, SPINS_PER_CLOCK = 32 };

// Job number in the upper half, next item of the thread's run in the lower: an item can be taken only from the job one
// knows. An odd number means that the next job's fields are being written; then no item can be taken.
typedef struct run_of_items {
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
} run_of_items;

struct thread_pool {
    _Alignas(CACHE_LINE) atomic_int items_done;
    _Alignas(CACHE_LINE) _Atomic(pool_function) function; // these belong to the job whose number stands in the tickets
    _Atomic(void *) arg;
    atomic_int num_items;
    atomic_int sleepers;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    run_of_items *runs; // [num_threads]
    pthread_t *threads; // [num_threads - 1]
    int num_threads, started;
};

typedef struct worker_start {
    thread_pool *pool;
    int thread;
} worker_start;

static uint32_t job_of(uint64_t ticket) { return (uint32_t)(ticket >> 32); }
static uint32_t item_of(uint64_t ticket) { return (uint32_t)ticket; }
static bool is_open(uint32_t job) { return job % 2 == 0; }

// First item of a thread's run.
static uint32_t run_begin(const thread_pool *pool, int num_items, int thread)
{
    return (uint32_t)((int64_t)num_items * thread / pool->num_threads);
}

// Does items of one run until none is left to take; returns how many.
static int work_on_run(thread_pool *pool, uint32_t job, int run, int thread)
{
    _Atomic uint64_t *place = &pool->runs[run].ticket;
    pool_function function = atomic_load_explicit(&pool->function, memory_order_acquire);
    void *arg = atomic_load_explicit(&pool->arg, memory_order_acquire);
    uint32_t end = run_begin(pool, atomic_load_explicit(&pool->num_items, memory_order_acquire), run + 1);
    int done = 0;
    // A worker that comes late may have read a field of a newer job; then the ticket no longer has its number,
    // since the number changes first (release) and is read last (acquire).
    uint64_t ticket = atomic_load_explicit(place, memory_order_acquire);
    while (job_of(ticket) == job && item_of(ticket) < end) {
        if (!atomic_compare_exchange_weak_explicit(place, &ticket, ticket + 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        function(arg, (int)item_of(ticket), thread);
        done++;
        ticket = atomic_load_explicit(place, memory_order_acquire);
    }
    return done;
}

static void work(thread_pool *pool, uint32_t job, int thread)
{
    int done = 0;
    for (int i = 0; i < pool->num_threads; i++) done += work_on_run(pool, job, (thread + i) % pool->num_threads, thread);
    if (done) atomic_fetch_add_explicit(&pool->items_done, done, memory_order_release);
}

// Waits for a job other than `last`; returns its number.
static uint32_t wait_for_job(thread_pool *pool, uint32_t last, int thread)
{
    _Atomic uint64_t *place = &pool->runs[thread].ticket;
    int64_t deadline = clock_nanoseconds() + SPIN_NANOSECONDS;
    uint32_t job;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            job = job_of(atomic_load_explicit(place, memory_order_acquire));
            if ((job != last && is_open(job)) || atomic_load_explicit(&pool->stop, memory_order_relaxed)) return job;
            cpu_relax();
        }
    } while (clock_nanoseconds() < deadline);
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (job = job_of(atomic_load(place)), (job == last || !is_open(job)) && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *worker_main(void *argument)
{
    worker_start start = *(worker_start *)argument;
    mem_free(argument);
    uint32_t job = 0;
    for (;;) {
        job = wait_for_job(start.pool, job, start.thread);
        if (atomic_load(&start.pool->stop)) return NULL;
        work(start.pool, job, start.thread);
    }
}

void thread_pool_run(thread_pool *pool, int num_items, pool_function function, void *arg)
{
    if (pool->num_threads == 1 || num_items <= 1) {
        for (int item = 0; item < num_items; item++) function(arg, item, 0);
        return;
    }
    uint32_t job = job_of(atomic_load_explicit(&pool->runs[0].ticket, memory_order_relaxed)) + 1;
    for (int i = 0; i < pool->num_threads; i++) // odd: closes the old job
        atomic_store_explicit(&pool->runs[i].ticket, (uint64_t)job << 32, memory_order_relaxed);
    atomic_store_explicit(&pool->items_done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->function, function, memory_order_release);
    atomic_store_explicit(&pool->arg, arg, memory_order_release);
    atomic_store_explicit(&pool->num_items, num_items, memory_order_release);
    job++;
    for (int i = pool->num_threads; i-- > 0;)
        atomic_store(&pool->runs[i].ticket, (uint64_t)job << 32 | run_begin(pool, num_items, i));
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    work(pool, job, 0);
    while (atomic_load_explicit(&pool->items_done, memory_order_acquire) < num_items) cpu_relax();
}

static llm_status start_worker(thread_pool *pool, int thread, llm_error *err)
{
    worker_start *start = mem_alloc(sizeof *start);
    if (!start) return error_no_memory(err, "a worker thread");
    *start = (worker_start){pool, thread};
    if (!thread_start(&pool->threads[thread - 1], worker_main, start)) {
        mem_free(start);
        return error_set(err, LLM_OUT_OF_MEMORY, "cannot start worker thread %d of %d", thread, pool->num_threads);
    }
    pool->started++;
    return LLM_OK;
}

llm_status thread_pool_create(int num_threads, thread_pool **out, llm_error *err)
{
    *out = NULL;
    thread_pool *pool = mem_alloc_aligned(CACHE_LINE, sizeof *pool);
    if (!pool) return error_no_memory(err, "the thread pool");
    *pool = (thread_pool){.num_threads = num_threads};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->runs = mem_alloc_aligned(CACHE_LINE, (size_t)num_threads * sizeof *pool->runs);
    for (int i = 0; pool->runs && i < num_threads; i++) atomic_init(&pool->runs[i].ticket, 0);
    pool->threads = mem_alloc_zero((size_t)num_threads, sizeof *pool->threads);
    llm_status status = pool->threads && pool->runs ? LLM_OK : error_no_memory(err, "the thread pool");
    for (int thread = 1; status == LLM_OK && thread < num_threads; thread++) status = start_worker(pool, thread, err);
    if (status != LLM_OK) {
        thread_pool_free(pool);
        return status;
    }
    *out = pool;
    return LLM_OK;
}

void thread_pool_free(thread_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    mem_free(pool->threads);
    mem_free(pool->runs);
    mem_free(pool);
}

int thread_pool_size(const thread_pool *pool) { return pool->num_threads; }
