// How fast one thread attends: bytes of keys and values a second for decode shapes and contexts, beside what the same
// thread reads from memory; multiply-adds a second for prefill shapes; 16 and 8 bits, for every kernel table that runs
// here. usage: bench-attention [TABLE]
#include "order.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "engine/cpu/kernels/kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_QUERIES = 96, MAX_HEAD_DIM = 256, REPETITIONS = 7, PREFILL_TOKENS = 4096 };
static const size_t pool_bytes = (size_t)512 << 20; // far more than the caches hold

static int16_t queries[MAX_QUERIES * MAX_HEAD_DIM];
static float scales[MAX_QUERIES], out[2][MAX_QUERIES * MAX_HEAD_DIM], max[2][MAX_QUERIES], sum[2][MAX_QUERIES];
static int begin[MAX_QUERIES], end[MAX_QUERIES];

static bool is_scalar(const kernels *table)
{
    return strcmp(table->isa, "scalar") == 0;
} // too slow to wait for

static double read_bandwidth(const uint8_t *pool)
{
    const uint64_t *words = (const void *)pool;
    double best = 0;
    for (int i = 0; i < REPETITIONS; i++) {
        uint64_t sums[8] = {0};
        double start = clock_seconds();
        for (size_t at = 0; at < pool_bytes / sizeof *words; at += 8)
            for (int j = 0; j < 8; j++) sums[j] += words[at + (size_t)j];
        double rate = (double)pool_bytes / (clock_seconds() - start) * 1e-9;
        volatile uint64_t sink =
            sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
        (void)sink;
        if (rate > best) best = rate;
    }
    return best;
}

typedef struct shape {
    dtype type;
    int num_queries, head_dim, tokens;
} shape;

static size_t page_bytes(const shape *s) { return kv_key_bytes(s->type, s->head_dim) + kv_value_bytes(s->type, s->head_dim); }
static size_t sequence_bytes(const shape *s) { return (size_t)(s->tokens / KV_PAGE_TOKENS) * page_bytes(s); }

// Seconds for all queries over all tokens of a sequence. Its pages (keys, then values) lie `stride` bytes apart: as in the
// engine, other heads and layers are between them.
static double attend_once(const kernels *table, const shape *s, const uint8_t *pages, size_t stride)
{
    attention_state total = {max[0], sum[0], out[0]}, part = {max[1], sum[1], out[1]};
    attention_segment_args args = {.queries = queries, .query_scales = scales, .num_queries = s->num_queries, .head_dim = s->head_dim,
                                   .kv_type = s->type, .begin = begin, .end = end};
    double start = clock_seconds();
    for (int page = 0; page < s->tokens / KV_PAGE_TOKENS; page += KV_SEGMENT_PAGES) {
        attention_state *to = page ? &part : &total;
        for (int i = 0; i < KV_SEGMENT_PAGES; i++) {
            int next = page + KV_SEGMENT_PAGES + i;
            args.keys[i] = pages + (size_t)(page + i) * stride;
            args.values[i] = (const uint8_t *)args.keys[i] + kv_key_bytes(s->type, s->head_dim);
            args.next_keys[i] = next < s->tokens / KV_PAGE_TOKENS ? pages + (size_t)next * stride : NULL;
        }
        args.max = to->max, args.sum = to->sum, args.out = to->out;
        table->attention_segment(&args);
        if (page) table->attention_merge(s->num_queries, s->head_dim, total, part);
    }
    return clock_seconds() - start;
}

// Median over repetitions; each takes fresh sequences of the pool when `cold`, else the same one many times.
static double seconds(const kernels *table, const shape *s, const uint8_t *pool, bool cold)
{
    double times[REPETITIONS];
    size_t bytes = sequence_bytes(s), sequences = pool_bytes / bytes, next = 0;
    int rounds = cold ? (int)(sequences / REPETITIONS) : is_scalar(table) ? 1 : 10;
    size_t stride = sequences * page_bytes(s);
    if (!cold) attend_once(table, s, pool, stride);
    for (int i = 0; i < REPETITIONS; i++) {
        times[i] = 0;
        for (int round = 0; round < rounds; round++, next += cold) times[i] += attend_once(table, s, pool + next % sequences * page_bytes(s), stride);
        times[i] /= rounds;
    }
    qsort(times, REPETITIONS, sizeof *times, by_value);
    return times[REPETITIONS / 2];
}

static void measure(const kernels *table, dtype type, const uint8_t *pool)
{
    static const int decode[][2] = {{1, 64}, {3, 64}, {4, 128}, {8, 128}, {4, 256}}, contexts[] = {512, 2048, 4096, 8192};
    static const int prefill[][2] = {{96, 64}, {64, 64}, {64, 80}, {64, 128}, {64, 256}};
    for (size_t i = 0; !is_scalar(table) && i < sizeof decode / sizeof *decode; i++) {
        printf("%-10s %s decode  %2d x %3d, cold, GB/s at", table->isa, dtype_name(type), decode[i][0], decode[i][1]);
        for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++) {
            shape s = {type, decode[i][0], decode[i][1], contexts[c]};
            printf("  %d: %5.1f", s.tokens, 1e-9 * (double)sequence_bytes(&s) / seconds(table, &s, pool, true));
        }
        printf("  (reads %.1f)\n", read_bandwidth(pool));
    }
    for (size_t i = 0; i < sizeof prefill / sizeof *prefill; i++) {
        shape s = {type, prefill[i][0], prefill[i][1], PREFILL_TOKENS};
        printf("%-10s %s prefill %2d x %3d: %6.1f GMAC/s\n", table->isa, dtype_name(type), s.num_queries, s.head_dim,
               2e-9 * s.tokens * s.head_dim * s.num_queries / seconds(table, &s, pool, false));
    }
}

// Everything is the same small float: nothing depends on what integers and scales are, as long as scores are numbers.
static void fill(uint8_t *pool)
{
    const float scale = 1e-4f;
    for (size_t i = 0; i < pool_bytes; i += sizeof scale) memcpy(pool + i, &scale, sizeof scale);
}

int main(int argc, char **argv)
{
    const kernels *tables[8];
    int count = kernels_available(tables, 8);
    char processor[128];
    uint8_t *pool = mem_alloc_large(pool_bytes);
    if (!pool) return 1;
    fill(pool);
    for (int i = 0; i < MAX_QUERIES * MAX_HEAD_DIM; i++) queries[i] = (int16_t)(i % 17 - 8);
    for (int i = 0; i < MAX_QUERIES; i++) begin[i] = 0, end[i] = KV_SEGMENT_TOKENS, scales[i] = 1e-3f;
    cpu_model_name(processor, sizeof processor);
    printf("%s, one thread, median of %d\n", processor, REPETITIONS);
    for (int t = 0; t < count; t++) {
        if (argc > 1 && strcmp(argv[1], tables[t]->isa) != 0) continue;
        measure(tables[t], DTYPE_I16, pool);
        measure(tables[t], DTYPE_I8, pool);
    }
    mem_free(pool);
    return 0;
}
