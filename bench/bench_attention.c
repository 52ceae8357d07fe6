// How fast one thread attends: bytes of keys and values a second for decode shapes, floating point operations
// a second for prefill shapes, for every kernel table that runs here. usage: bench-attention
#include "base/clock.h"
#include "base/cpu.h"
#include "engine/cpu/kernels/kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKENS = 4096,
    NUM_PAGES = TOKENS / KV_PAGE_TOKENS,
    MAX_QUERIES = 64,
    MAX_HEAD_DIM = 256,
    REPETITIONS = 7
};
static const size_t cold_bytes = (size_t)512 << 20; // far more than the caches hold

static float queries[MAX_QUERIES * MAX_HEAD_DIM], out[MAX_QUERIES * MAX_HEAD_DIM], max[MAX_QUERIES],
    sum[MAX_QUERIES];
static int begin[MAX_QUERIES], end[MAX_QUERIES];
static _Alignas(64) float scores[MAX_QUERIES * KV_PAGE_TOKENS];

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool is_scalar(const kernels *table)
{
    return strcmp(table->isa, "scalar") == 0;
} // too slow to wait for

static double read_bandwidth(const uint16_t *pool)
{
    const uint64_t *words = (const void *)pool;
    double best = 0;
    for (int i = 0; i < REPETITIONS; i++) {
        uint64_t sums[8] = {0};
        double start = clock_seconds();
        for (size_t at = 0; at < cold_bytes / sizeof *words; at += 8)
            for (int j = 0; j < 8; j++) sums[j] += words[at + (size_t)j];
        double rate = (double)cold_bytes / (clock_seconds() - start) * 1e-9;
        volatile uint64_t sink =
            sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
        (void)sink;
        if (rate > best) best = rate;
    }
    return best;
}

// Seconds for one query block over all tokens of a sequence whose pages (keys, then values) start at `pages`.
static double attend_once(const kernels *table, int num_queries, int head_dim, const uint16_t *pages)
{
    size_t half_page = (size_t)head_dim * KV_PAGE_TOKENS;
    attention_page_args args = {.queries = queries,
                                .num_queries = num_queries,
                                .head_dim = head_dim,
                                .kv_type = DTYPE_F16,
                                .begin = begin,
                                .end = end,
                                .max = max,
                                .sum = sum,
                                .out = out,
                                .scores = scores};
    for (int i = 0; i < num_queries; i++) max[i] = -INFINITY, sum[i] = 0;
    for (int i = 0; i < num_queries * head_dim; i++) out[i] = 0;
    double start = clock_seconds();
    for (size_t page = 0; page < NUM_PAGES; page++) {
        args.keys = pages + 2 * page * half_page;
        args.values = pages + (2 * page + 1) * half_page;
        table->attention_page(&args);
    }
    return clock_seconds() - start;
}

// Median over repetitions; each takes a fresh sequence of the pool when `cold`, else the same one many times.
static double seconds(const kernels *table, int num_queries, int head_dim, const uint16_t *pool, bool cold)
{
    double times[REPETITIONS];
    size_t bytes = (size_t)TOKENS * (size_t)head_dim * 4, sequences = cold_bytes / bytes, next = 0;
    int rounds = cold ? (int)(sequences / REPETITIONS) : is_scalar(table) ? 1 : 10;
    if (!cold) attend_once(table, num_queries, head_dim, pool);
    for (int i = 0; i < REPETITIONS; i++) {
        times[i] = 0;
        for (int round = 0; round < rounds; round++, next += cold)
            times[i] += attend_once(table, num_queries, head_dim, pool + next % sequences * (bytes / 2));
        times[i] /= rounds;
    }
    qsort(times, REPETITIONS, sizeof *times, compare);
    return times[REPETITIONS / 2];
}

int main(void)
{
    static const int decode[][2] = {{1, 64},  {1, 96},  {1, 128}, {3, 64},
                                    {4, 128}, {8, 128}, {4, 256}, {16, 256}};
    static const int prefill[][2] = {{64, 64}, {64, 80}, {64, 96}, {64, 128}, {64, 256}};
    const kernels *tables[8];
    int count = kernels_available(tables, 8);
    char processor[128];
    uint16_t *pool = aligned_alloc(64, cold_bytes);
    if (!pool) return 1;
    for (size_t i = 0; i < cold_bytes / 2; i++)
        pool[i] = (uint16_t)(0x3000 + (i * 2654435761u >> 7) % 0x0800); // 1/8 to 1/2
    for (int i = 0; i < MAX_QUERIES * MAX_HEAD_DIM; i++) queries[i] = (float)(i % 17 - 8) / 64;
    for (int i = 0; i < MAX_QUERIES; i++) begin[i] = 0, end[i] = KV_PAGE_TOKENS;

    cpu_model_name(processor, sizeof processor);
    printf("%s, one thread, %d tokens, float16 pages, median of %d; reads %.1f GB/s\n", processor, TOKENS,
           REPETITIONS, read_bandwidth(pool));
    for (int t = 0; t < count; t++) {
        for (size_t i = 0; i < sizeof decode / sizeof *decode; i++) {
            int rows = decode[i][0], head_dim = decode[i][1];
            double gigabytes = 4e-9 * TOKENS * head_dim,
                   warm = seconds(tables[t], rows, head_dim, pool, false);
            printf("%-10s decode  %2d x %3d: %6.1f GB/s warm", tables[t]->isa, rows, head_dim,
                   gigabytes / warm);
            if (!is_scalar(tables[t]))
                printf(", %5.1f GB/s cold", gigabytes / seconds(tables[t], rows, head_dim, pool, true));
            printf("\n");
        }
        for (size_t i = 0; i < sizeof prefill / sizeof *prefill; i++) {
            int rows = prefill[i][0], head_dim = prefill[i][1];
            printf("%-10s prefill %2d x %3d: %6.1f GFLOP/s\n", tables[t]->isa, rows, head_dim,
                   4e-9 * TOKENS * head_dim * rows / seconds(tables[t], rows, head_dim, pool, false));
        }
    }
    free(pool);
    return 0;
}
