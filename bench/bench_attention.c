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

enum { MAX_QUERIES = 96, MAX_HEAD_DIM = 256, REPETITIONS = 7, PREFILL_TOKENS = 4096, LONGEST = 8192 };
static const size_t pool_bytes = (size_t)512 << 20; // far more than the caches hold

static int16_t queries[MAX_QUERIES * MAX_HEAD_DIM], unpacked[KV_SEGMENT_PAGES * 2 * KV_PAGE_TOKENS * MAX_HEAD_DIM];
static float scores[MAX_QUERIES * LONGEST];
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
    bool two_passes;
    float sink;         // a score that all others are compared with
} shape;

static size_t page_bytes(const shape *s)
{
    size_t bytes = 0;
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) bytes += kv_plane_bytes(plane, s->type, s->head_dim);
    return bytes;
}

// As in the engine, planes of BLOCK pages lie in one piece each; blocks of one sequence are `stride` bytes apart, because other
// heads and layers are between them.
enum { BLOCK = 4 };

static kv_page page_at(const shape *s, uint8_t *sequence, size_t stride, int page)
{
    void *planes[KV_PLANES];
    uint8_t *begin = sequence + (size_t)(page / BLOCK) * stride;
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) {
        size_t bytes = kv_plane_bytes(plane, s->type, s->head_dim);
        planes[plane] = begin + (size_t)(page % BLOCK) * bytes;
        begin += BLOCK * bytes;
    }
    return kv_page_of(planes);
}

static size_t sequence_bytes(const shape *s) { return (size_t)(s->tokens / KV_PAGE_TOKENS) * page_bytes(s); }

// While a segment's planes are read, the same planes of the next one come near.
static attention_segment_args segment_args(const shape *s, uint8_t *pages, size_t stride, int page, kv_plane first, kv_plane last)
{
    static kv_piece ahead[KV_PLANES * KV_SEGMENT_PAGES];
    static kv_page own[KV_SEGMENT_PAGES];
    attention_segment_args args = {.queries = queries, .query_scales = scales, .num_queries = s->num_queries, .head_dim = s->head_dim,
                                   .kv_type = s->type, .begin = begin, .end = end, .unpacked = unpacked, .ahead = ahead, .pages = own, .num_pages = KV_SEGMENT_PAGES,
                                   .scores = scores + page * KV_PAGE_TOKENS, .score_stride = LONGEST};
    for (int i = 0; i < KV_SEGMENT_PAGES; i++) own[i] = page_at(s, pages, stride, page + i);
    for (kv_plane plane = first; plane <= last && page + KV_SEGMENT_PAGES < s->tokens / KV_PAGE_TOKENS; plane++)
        for (int i = 0; i < KV_SEGMENT_PAGES; i++) {
            kv_page next = page_at(s, pages, stride, page + KV_SEGMENT_PAGES + i);
            size_t bytes = kv_plane_bytes(plane, s->type, s->head_dim);
            if (bytes) ahead[args.num_ahead++] = (kv_piece){kv_plane_of(&next, plane), bytes};
        }
    return args;
}

// Seconds for all queries over all tokens of a sequence.
static double attend_once(const kernels *table, const shape *s, uint8_t *pages, size_t stride)
{
    attention_state total = {max[0], sum[0], out[0]}, part = {max[1], sum[1], out[1]};
    int num_pages = s->tokens / KV_PAGE_TOKENS;
    float largest[MAX_QUERIES];
    for (int i = 0; i < s->num_queries; i++) largest[i] = s->sink;
    double start = clock_seconds();
    for (int page = 0; s->two_passes && page < num_pages; page += KV_SEGMENT_PAGES) {
        attention_segment_args args = segment_args(s, pages, stride, page, KV_KEYS, KV_KEYS);
        args.largest = largest;
        table->attention_scores(&args);
    }
    for (int page = 0; page < num_pages; page += KV_SEGMENT_PAGES) {
        attention_segment_args args = segment_args(s, pages, stride, page, s->two_passes ? KV_VALUES : KV_KEYS, s->two_passes ? KV_VALUES : KV_LOW_VALUES);
        attention_state *to = page ? &part : &total;
        args.max = to->max, args.sum = to->sum, args.out = to->out, args.largest = largest;
        if (s->two_passes) table->attention_values(&args);
        else table->attention_segment(&args);
        if (page) table->attention_merge(s->num_queries, s->head_dim, total, part);
    }
    return clock_seconds() - start;
}

// Median over repetitions; each takes fresh sequences of the pool when `cold`, else the same one many times.
static double seconds(const kernels *table, const shape *s, uint8_t *pool, bool cold)
{
    double times[REPETITIONS];
    size_t bytes = sequence_bytes(s), sequences = pool_bytes / bytes, next = 0;
    int rounds = cold ? (int)(sequences / REPETITIONS) : is_scalar(table) ? 1 : 10;
    size_t block = BLOCK * page_bytes(s), stride = sequences * block;
    if (!cold) attend_once(table, s, pool, stride);
    for (int i = 0; i < REPETITIONS; i++) {
        times[i] = 0;
        for (int round = 0; round < rounds; round++, next += cold) times[i] += attend_once(table, s, pool + next % sequences * block, stride);
        times[i] /= rounds;
    }
    qsort(times, REPETITIONS, sizeof *times, by_value);
    return times[REPETITIONS / 2];
}

static float random_float(void) // uniform in [-1, 1)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * 0x1p-31f;
}

// Pages of random keys and values. With the queries of make_queries scores are normal with a standard deviation of 2.
static void fill(const kernels *table, dtype type, int head_dim, uint8_t *pool)
{
    float x[2][MAX_HEAD_DIM];
    shape s = {.type = type, .head_dim = head_dim};
    for (size_t page = 0; page < pool_bytes / (BLOCK * page_bytes(&s)) * BLOCK; page++) {
        kv_page to = page_at(&s, pool, BLOCK * page_bytes(&s), (int)page);
        for (int slot = 0; slot < KV_PAGE_TOKENS; slot++) {
            for (int i = 0; i < head_dim; i++) x[0][i] = random_float(), x[1][i] = random_float();
            table->kv_store(x[0], x[1], head_dim, type, slot, &to);
        }
    }
}

static void make_queries(const kernels *table, dtype type, int head_dim)
{
    float x[MAX_HEAD_DIM];
    for (int q = 0; q < MAX_QUERIES; q++) {
        for (int i = 0; i < head_dim; i++) x[i] = 6 * random_float() / sqrtf((float)head_dim);
        scales[q] = table->attention_query(x, head_dim, type, queries + q * kv_even(head_dim));
    }
}

static void prepare(const kernels *table, const shape *s, uint8_t *pool)
{
    fill(table, s->type, s->head_dim, pool);
    make_queries(table, s->type, s->head_dim);
}

static void measure(const kernels *table, dtype type, uint8_t *pool)
{
    static const int decode[][2] = {{1, 64}, {3, 64}, {4, 128}, {8, 128}, {4, 256}}, contexts[] = {512, 2048, 4096, LONGEST};
    static const int prefill[][2] = {{96, 64}, {64, 64}, {64, 80}, {64, 128}, {64, 256}};
    static const float sinks[] = {12, 8}; // a few keys of a block come near it, or all blocks have some
    for (size_t i = 0; !is_scalar(table) && i < sizeof decode / sizeof *decode; i++) {
        prepare(table, &(shape){.type = type, .num_queries = decode[i][0], .head_dim = decode[i][1]}, pool);
        for (int sink = 0; sink < (type == DTYPE_I16 ? 2 : 1); sink++) {
            printf("%-10s %s decode  %2d x %3d, cold, GB/s at", table->isa, dtype_name(type), decode[i][0], decode[i][1]);
            for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++) {
                shape s = {type, decode[i][0], decode[i][1], contexts[c], type == DTYPE_I16, sinks[sink]};
                printf("  %d: %5.1f", s.tokens, 1e-9 * (double)sequence_bytes(&s) / seconds(table, &s, pool, true));
            }
            if (type == DTYPE_I16) printf("  largest score %g", (double)sinks[sink]);
            printf("  (reads %.1f)\n", read_bandwidth(pool));
        }
    }
    for (size_t i = 0; i < sizeof prefill / sizeof *prefill; i++) {
        shape s = {.type = type, .num_queries = prefill[i][0], .head_dim = prefill[i][1], .tokens = PREFILL_TOKENS};
        prepare(table, &s, pool);
        printf("%-10s %s prefill %2d x %3d: %6.1f GMAC/s\n", table->isa, dtype_name(type), s.num_queries, s.head_dim,
               2e-9 * s.tokens * s.head_dim * s.num_queries / seconds(table, &s, pool, false));
    }
}

int main(int argc, char **argv)
{
    const kernels *tables[8];
    int count = kernels_available(tables, 8);
    char processor[128];
    uint8_t *pool = mem_alloc_large(pool_bytes);
    if (!pool) return 1;
    for (int i = 0; i < MAX_QUERIES; i++) begin[i] = 0, end[i] = KV_SEGMENT_TOKENS;
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
