// The thread pool: every item is done exactly once, whatever the sizes, with pauses that let workers sleep.
#include "testing.h"
#include "engine/cpu/pool.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static llm_error err;
enum { MAX_ITEMS = 300 };

typedef struct counts {
    atomic_int done[MAX_ITEMS];
    int plain[MAX_ITEMS]; // written by one thread, read by the caller: the pool must order them
    int threads;
} counts;

static void count_item(void *arg, int item, int thread)
{
    counts *c = arg;
    assert_true(thread >= 0 && thread < c->threads);
    atomic_fetch_add(&c->done[item], 1);
    c->plain[item]++;
}

static void test_every_item_is_done_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        thread_pool *pool;
        counts c = {.threads = threads};
        int jobs[MAX_ITEMS + 1] = {0};
        assert_ok(thread_pool_create(threads, &pool, &err));
        assert_int_equal(thread_pool_size(pool), threads);
        srand(7);
        for (int job = 0; job < 5000; job++) {
            int items = rand() % (job % 10 ? 8 : MAX_ITEMS + 1);
            thread_pool_run(pool, items, count_item, &c);
            jobs[items]++;
            if (job % 1000 == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        int expected = 0;
        for (int item = MAX_ITEMS - 1; item >= 0; item--) {
            expected += jobs[item + 1];
            assert_int_equal(c.done[item], expected);
            assert_int_equal(c.plain[item], expected);
        }
        thread_pool_free(pool);
    }
    thread_pool_free(NULL);
}

typedef struct slow_worker {
    bool slow;
    atomic_int by_caller, by_worker;
} slow_worker;

static void pause_in_worker(void *arg, int item, int thread)
{
    slow_worker *s = arg;
    (void)item;
    atomic_fetch_add(thread ? &s->by_worker : &s->by_caller, 1);
    if (thread && s->slow) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

// A worker that the system keeps putting aside gets no items for a while, and then is tried again.
static void test_a_worker_that_is_always_late_is_left_out(void **state)
{
    (void)state;
    enum { JOBS = 200, ITEMS = 8, SECOND = 1000 };
    thread_pool *pool;
    slow_worker s = {.slow = true};
    assert_ok(thread_pool_create(2, &pool, &err));
    int shared = 0;
    for (int job = 0; job < JOBS; job++) {
        int before = s.by_worker;
        thread_pool_run(pool, ITEMS, pause_in_worker, &s);
        shared += s.by_worker > before;
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); // or the caller does all before the worker wakes
    }
    assert_int_equal(s.by_caller + s.by_worker, JOBS * ITEMS);
    assert_true(shared < JOBS * 3 / 4);
    s.slow = false;
    int before = s.by_worker;
    for (int i = 0; i < 10 * SECOND && s.by_worker == before; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        thread_pool_run(pool, 100 * ITEMS, pause_in_worker, &s);
    }
    assert_true(s.by_worker > before);
    thread_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_item_is_done_once),
                                       cmocka_unit_test(test_a_worker_that_is_always_late_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
