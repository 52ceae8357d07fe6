// Threads that take items from tickets. Each thread has a run of neighbouring items of its own and helps out with the
// others' when it is done: so a thread reads one stream of memory, and keeps the caches it has. A job is over when its
// items are done, not when every worker has looked at it: a worker that the system has put aside holds nobody up
// unless it holds an item. Where that happens again and again, because another process takes a processor from us, the
// pool works with one thread fewer for a while: two threads that wait for each other are slower than one.
#include "engine/cpu/pool.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include <sched.h>
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

// When the caller has waited for others longer than its own part of the job took, and LATE more, it has lost that time.
// A window of losses is judged from JUDGE_AFTER on and forgotten after WINDOW; a thread that is left out comes back after
// MIN_PAUSE, and after twice as long each time that this was too early, which its first loss shows.
enum { LATE = 300000, JUDGE_AFTER = 8000000, WINDOW = 50000000, MIN_PAUSE = 40000000, MAX_PAUSE = 640000000 }; // nanoseconds

// Job number in the upper half, next item of the thread's run in the lower: an item can be taken only from the job one
// knows. An odd number means that the next job's fields are being written; then no item can be taken.
// What the job is stands beside each thread's ticket: a worker finds it in the cache line it has been watching.
typedef struct run_of_items {
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Atomic(pool_function) function;
    _Atomic(void *) arg;
    atomic_int num_items, num_runs;
    atomic_bool asleep; // the run's thread
} run_of_items;

struct thread_pool {
    _Alignas(CACHE_LINE) atomic_int items_done;
    _Alignas(CACHE_LINE) atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    run_of_items *runs; // [num_threads]
    pthread_t *threads; // [num_threads - 1]
    int num_threads, started;
    int active;                                // threads that get a run; these are the caller's alone
    int64_t window_begin, lost, left_out_at, pause; // nanoseconds
};

typedef struct worker_start {
    thread_pool *pool;
    int thread;
} worker_start;

static uint32_t job_of(uint64_t ticket) { return (uint32_t)(ticket >> 32); }
static uint32_t item_of(uint64_t ticket) { return (uint32_t)ticket; }
static bool is_open(uint32_t job) { return job % 2 == 0; }

// First item of a thread's run.
static uint32_t run_begin(int num_items, int num_runs, int run)
{
    return (uint32_t)((int64_t)num_items * run / num_runs);
}

// Does items of one run until none is left to take; returns how many.
static int work_on_run(thread_pool *pool, uint32_t job, int num_runs, int run, int thread)
{
    _Atomic uint64_t *place = &pool->runs[run].ticket;
    run_of_items *own = &pool->runs[thread];
    pool_function function = atomic_load_explicit(&own->function, memory_order_acquire);
    void *arg = atomic_load_explicit(&own->arg, memory_order_acquire);
    uint32_t end = run_begin(atomic_load_explicit(&own->num_items, memory_order_acquire), num_runs, run + 1);
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
    int done = 0, num_runs = atomic_load_explicit(&pool->runs[thread].num_runs, memory_order_acquire);
    for (int i = 0; i < num_runs; i++) done += work_on_run(pool, job, num_runs, (thread + i) % num_runs, thread);
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
    atomic_store(&pool->runs[thread].asleep, true);
    while (job = job_of(atomic_load(place)), (job == last || !is_open(job)) && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_store(&pool->runs[thread].asleep, false);
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

// ---- The caller

static bool is_trial(const thread_pool *pool, int64_t now) // a thread came back a pause after it was left out
{
    return now - pool->left_out_at < 3 * pool->pause;
}

static void leave_one_out(thread_pool *pool, int64_t now)
{
    pool->pause = !is_trial(pool, now) ? MIN_PAUSE : pool->pause < MAX_PAUSE ? 2 * pool->pause : MAX_PAUSE;
    pool->left_out_at = now;
    pool->lost = 0;
    pool->active--;
}

// The others were late by `wait`. One of n threads less costs an nth of the speed, of two that wait for memory less than
// half: more than that must have been lost.
static void note_late(thread_pool *pool, int64_t wait, int64_t now)
{
    if (pool->lost == 0 || now - pool->window_begin > WINDOW) pool->window_begin = now - wait, pool->lost = 0;
    pool->lost += wait;
    int64_t elapsed = now - pool->window_begin, share = pool->active > 4 ? pool->active : 4;
    if ((elapsed >= JUDGE_AFTER || is_trial(pool, now)) && pool->lost * share > elapsed) leave_one_out(pool, now);
}

static bool is_done(thread_pool *pool, int num_items)
{
    return atomic_load_explicit(&pool->items_done, memory_order_acquire) >= num_items;
}

// Waits until the others have done what they hold. Then the caller may stand in the way of the very thread it waits
// for, if both are on one processor: it yields.
static void wait_for_others(thread_pool *pool, int num_items, int64_t begin)
{
    for (int i = 0; i < 8 * SPINS_PER_CLOCK; i++) {
        if (is_done(pool, num_items)) return;
        cpu_relax();
    }
    int64_t since = clock_nanoseconds(), now = since;
    while (!is_done(pool, num_items)) {
        for (int i = 0; i < SPINS_PER_CLOCK && !is_done(pool, num_items); i++) cpu_relax();
        now = clock_nanoseconds();
        if (now - since > SPIN_NANOSECONDS) sched_yield();
    }
    if (now - since > LATE + (since - begin)) note_late(pool, now - since, now);
}

static void open_job(thread_pool *pool, int num_items, pool_function function, void *arg, uint32_t job)
{
    for (int i = 0; i < pool->num_threads; i++) // odd: closes the old job; for threads that are left out, this one too
        atomic_store_explicit(&pool->runs[i].ticket, (uint64_t)(job - 1) << 32, memory_order_relaxed);
    atomic_store_explicit(&pool->items_done, 0, memory_order_relaxed);
    for (int i = 0; i < pool->active; i++) {
        run_of_items *run = &pool->runs[i];
        atomic_store_explicit(&run->function, function, memory_order_release);
        atomic_store_explicit(&run->arg, arg, memory_order_release);
        atomic_store_explicit(&run->num_items, num_items, memory_order_release);
        atomic_store_explicit(&run->num_runs, pool->active, memory_order_release);
    }
    for (int i = pool->active; i-- > 0;)
        atomic_store(&pool->runs[i].ticket, (uint64_t)job << 32 | run_begin(num_items, pool->active, i));
    bool sleeping = false;
    for (int i = 1; i < pool->active; i++) sleeping |= atomic_load(&pool->runs[i].asleep);
    if (!sleeping) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void thread_pool_run(thread_pool *pool, int num_items, pool_function function, void *arg)
{
    bool alone = pool->num_threads == 1 || num_items <= 1;
    int64_t begin = alone ? 0 : clock_nanoseconds();
    if (!alone && pool->active < pool->num_threads && begin - pool->left_out_at > pool->pause) pool->active++;
    if (alone || pool->active == 1) {
        for (int item = 0; item < num_items; item++) function(arg, item, 0);
        return;
    }
    uint32_t job = job_of(atomic_load_explicit(&pool->runs[0].ticket, memory_order_relaxed)) + 2;
    open_job(pool, num_items, function, arg, job);
    work(pool, job, 0);
    wait_for_others(pool, num_items, begin);
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
    *pool = (thread_pool){.num_threads = num_threads, .active = num_threads, .pause = MIN_PAUSE};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->runs = mem_alloc_aligned(CACHE_LINE, (size_t)num_threads * sizeof *pool->runs);
    for (int i = 0; pool->runs && i < num_threads; i++) pool->runs[i] = (run_of_items){0};
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
