// How fast memory is read right now: the limit of decoding, measured beside it.
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "engine/cpu/pool.h"
#include <string.h>

enum { PIECES = 64, PASSES = 5 };
#define BANDWIDTH_BYTES ((size_t)256 << 20) // well beyond any cache

typedef struct read_job {
    const uint64_t *data;
    size_t words; // of one piece
    uint64_t sums[PIECES];
} read_job;

static void read_piece(void *arg, int item, int thread)
{
    (void)thread;
    read_job *job = arg;
    const uint64_t *words = job->data + (size_t)item * job->words;
    uint64_t sums[32] = {0}; // independent chains, so that loads and not additions are the limit
    for (size_t i = 0; i + 32 <= job->words; i += 32)
        for (int lane = 0; lane < 32; lane++) sums[lane] += words[i + (size_t)lane];
    for (int lane = 1; lane < 32; lane++) sums[0] += sums[lane];
    job->sums[item] = sums[0];
}

double llm_measure_read_bandwidth(int num_threads)
{
    thread_pool *pool;
    int allowed = cpu_count();
    if (num_threads <= 0 || num_threads > allowed) num_threads = allowed;
    uint64_t *data = mem_alloc_large(BANDWIDTH_BYTES);
    if (!data || thread_pool_create(num_threads, &pool, NULL) != LLM_OK) {
        mem_free(data);
        return 0;
    }
    memset(data, 1, BANDWIDTH_BYTES);
    read_job job = {.data = data, .words = BANDWIDTH_BYTES / sizeof *data / PIECES};
    double best = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        double start = clock_seconds();
        thread_pool_run(pool, PIECES, read_piece, &job);
        double rate = (double)BANDWIDTH_BYTES / (clock_seconds() - start);
        if (rate > best) best = rate;
    }
    thread_pool_free(pool);
    mem_free(data);
    return best;
}
