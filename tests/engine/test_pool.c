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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_item_is_done_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
