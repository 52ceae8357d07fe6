// How fast the matrix products are, beside what the machine can do, measured in the same run: bytes of packed
// weights a second for one token (decode waits for memory), multiply-adds a second for many (prefill waits for
// arithmetic). Every figure is the fastest of REPEATS runs.
//     bench_kernels [threads] [isa] [MiB of weights]
#include "order.h"
#include "peak.h"
#include "base/clock.h"
#include "engine/cpu/kernels/kernels.h"
#include "base/cpu.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 30, MAX_THREADS = 64 };

typedef struct bench_job {
    void (*work)(struct bench_job *job, int thread);
    int num_threads;
    pthread_barrier_t barrier;
    const kernels *table;
    packed_matrix *weights;
    const quantized_rows *quantized;
    const float *x;
    float *y;
    size_t y_stride;
    int num_tokens, passes;
    bool narrow;
    volatile uint64_t sink[MAX_THREADS * 8];
} bench_job;

typedef struct worker {
    bench_job *job;
    int index;
} worker;

static void *run_worker(void *argument)
{
    worker *self = argument;
    for (int i = 0; i < REPEATS; i++) {
        pthread_barrier_wait(&self->job->barrier);
        self->job->work(self->job, self->index);
        pthread_barrier_wait(&self->job->barrier);
    }
    return NULL;
}

// Seconds of the fastest run (other work on the machine can only slow one down) of job->work on all threads, this
// one included.
static double measure(bench_job *job)
{
    pthread_t threads[MAX_THREADS];
    worker workers[MAX_THREADS];
    double seconds[REPEATS];
    pthread_barrier_init(&job->barrier, NULL, (unsigned)job->num_threads);
    for (int i = 1; i < job->num_threads; i++) {
        workers[i] = (worker){job, i};
        pthread_create(&threads[i], NULL, run_worker, &workers[i]);
    }
    for (int i = 0; i < REPEATS; i++) {
        pthread_barrier_wait(&job->barrier);
        double start = clock_seconds();
        job->work(job, 0);
        pthread_barrier_wait(&job->barrier);
        seconds[i] = clock_seconds() - start;
    }
    for (int i = 1; i < job->num_threads; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&job->barrier);
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    return seconds[0];
}

static int part(int count, const bench_job *job, int thread)
{
    return (int)((long)count * thread / job->num_threads);
}

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
read_memory(bench_job *job, int thread)
{
    size_t bytes = packed_matrix_bytes(job->weights) / (size_t)job->num_threads / 64 * 64;
    const uint8_t *data = job->weights->data + bytes * (size_t)thread;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < bytes; i += 64)
        for (int k = 0; k < 8; k++) {
            uint64_t word;
            memcpy(&word, data + i + 8 * k, 8);
            sums[k] += word;
        }
    for (int k = 0; k < 8; k++) job->sink[thread * 8 + k] = sums[k];
}

enum { PEAK_LOOPS = 1 << 20 };

#if defined(__x86_64__)
static void run_peak_vnni(bench_job *job, int thread) { job->sink[thread * 8] += peak_dots_8(thread, PEAK_LOOPS); }
static void run_peak_avx2(bench_job *job, int thread) { job->sink[thread * 8] += peak_dots_avx2(thread, PEAK_LOOPS); }
#endif

static double peak_dot_rate(bench_job *job)
{
    double macs = 0;
#if defined(__x86_64__)
    bool vnni = strcmp(job->table->isa, "avx512vnni") == 0;
    if (vnni) job->work = run_peak_vnni, macs = 64.0 * PEAK_CHAINS * PEAK_LOOPS;
    if (!vnni && cpu_get_features()->avx2) job->work = run_peak_avx2, macs = 16.0 * PEAK_CHAINS * PEAK_LOOPS;
#endif
    return macs > 0 ? macs * job->num_threads / measure(job) : 0;
}

static void multiply_affine(bench_job *job, int thread)
{
    int begin = part(job->weights->num_tiles, job, thread), end = part(job->weights->num_tiles, job, thread + 1);
    job->table->matmul_affine(job->weights, begin, end, job->quantized, 0, job->num_tokens, job->y, job->y_stride);
}

static void multiply_float(bench_job *job, int thread)
{
    int begin = part(job->weights->num_tiles, job, thread), end = part(job->weights->num_tiles, job, thread + 1);
    job->table->matmul_float(job->weights, begin, end, job->x, (size_t)job->weights->cols, 0, job->num_tokens,
                             job->y, job->y_stride);
}

static void quantize(bench_job *job, int thread)
{
    int begin = part(job->num_tokens, job, thread), end = part(job->num_tokens, job, thread + 1);
    job->table->quantize_rows(job->x + (size_t)begin * (size_t)job->quantized->cols, (size_t)job->quantized->cols,
                              end - begin, job->narrow, job->quantized, begin);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state;
}

// Random bits as floats near 1/2: numbers with tiny exponents would slow the arithmetic down.
static uint64_t random_floats(dtype type)
{
    if (type == DTYPE_F32) return (random_bits() & 0x807FFFFF807FFFFFu) | 0x3F0000003F000000u;
    if (type == DTYPE_F16) return (random_bits() & 0x83FF83FF83FF83FFu) | 0x3800380038003800u;
    return (random_bits() & 0x807F807F807F807Fu) | 0x3F003F003F003F00u;
}

static packed_matrix random_matrix(dtype type, int bits, int group_size, int cols, size_t bytes)
{
    packed_matrix m;
    weight_view view = {
        .type = type, .cols = cols, .bits = bits, .group_size = group_size, .scale_type = DTYPE_BF16};
    double row_bytes = type == DTYPE_U32 ? cols * (bits + 32.0 / group_size) / 8 : cols * (double)dtype_size(type);
    view.rows = (int)((double)bytes / row_bytes) / 16 * 16;
    if (packed_matrix_create(&m, &view, view.rows, NULL) != LLM_OK) exit(1);
    size_t group_bytes = (size_t)(64 + group_size * bits * 2); // scales and biases are 64 bytes
    for (size_t i = 0; i < packed_matrix_bytes(&m); i += 8) {
        bool floats = type != DTYPE_U32 || i % m.tile_bytes % group_bytes < 64;
        uint64_t value = floats ? random_floats(type == DTYPE_U32 ? DTYPE_BF16 : type) : random_bits();
        memcpy(m.data + i, &value, 8);
    }
    return m;
}

static void *allocate(size_t bytes)
{
    void *block = mem_alloc_aligned(64, (bytes + 63) / 64 * 64);
    if (!block) exit(1);
    memset(block, 0, bytes);
    return block;
}

enum { MAX_TOKENS = 512 };

int main(int argc, char **argv)
{
    static bench_job job;
    job.num_threads = argc > 1 ? atoi(argv[1]) : cpu_count();
    if (job.num_threads < 1 || job.num_threads > MAX_THREADS) return 2;
    if (argc > 2 && strcmp(argv[2], "best") != 0) setenv("LLMLOCAL_ISA", argv[2], 1);
    size_t bytes = (size_t)(argc > 3 ? atoi(argv[3]) : 256) << 20;
    const int cols = 2048, few_rows = 2048;
    job.table = kernels_select();
    char name[100];
    cpu_model_name(name, sizeof name);
    printf("%s, %d threads, isa %s, %zu MiB of weights for one token\n", name, job.num_threads, job.table->isa,
           bytes >> 20);

    float *x = allocate((size_t)MAX_TOKENS * (size_t)cols * 4);
    for (int i = 0; i < MAX_TOKENS * cols; i++) x[i] = (float)((unsigned)i * 7919u % 2001u) * 1e-3f - 1.0f;
    job.x = x;
    packed_matrix big = random_matrix(DTYPE_F32, 0, 0, cols, bytes);
    job.weights = &big;
    job.work = read_memory;
    measure(&job);
    double peak = peak_dot_rate(&job);
    printf("int8 dots %.0f GMAC/s\n", peak * 1e-9);

    static const int token_counts[] = {1, 2, 4, 8, 16, 64, 512};
    static const struct {
        dtype type;
        int bits, group_size;
    } kinds[] = {{DTYPE_U32, 2, 64},  {DTYPE_U32, 3, 64},  {DTYPE_U32, 4, 32}, {DTYPE_U32, 4, 64},
                 {DTYPE_U32, 4, 128}, {DTYPE_U32, 5, 64},  {DTYPE_U32, 6, 64}, {DTYPE_U32, 8, 64},
                 {DTYPE_U32, 4, -64}, {DTYPE_U32, 8, -64}, // negative: float activations
                 {DTYPE_BF16, 0, 0},  {DTYPE_F16, 0, 0},   {DTYPE_F32, 0, 0}};
    printf("GB/s of weights (share of read rate) for 1, 2, 4 tokens; GMAC/s for more (share of peak, two dots "
           "each), and for narrow rows\n");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool exact = kinds[k].group_size <= 0;
        job.weights = &big;
        job.work = read_memory;
        double read_rate = (double)packed_matrix_bytes(&big) / measure(&job);
        int group_size = abs(kinds[k].group_size);
        printf("read %5.1f | %-4s %d bits g%-3d %s:", read_rate * 1e-9, dtype_name(kinds[k].type), kinds[k].bits,
               group_size, exact ? "float" : "int  ");
        for (size_t n = 0; n < sizeof token_counts / sizeof *token_counts; n++) {
            job.num_tokens = token_counts[n];
            packed_matrix m = random_matrix(kinds[k].type, kinds[k].bits, group_size, cols, bytes);
            if (job.num_tokens > 4) m.num_tiles = few_rows / 16, m.rows = few_rows;
            job.weights = &m;
            job.y_stride = (size_t)m.num_tiles * 16;
            job.y = allocate((size_t)job.num_tokens * job.y_stride * 4);
            quantized_rows q = {.num_rows = MAX_TOKENS, .cols = cols, .group_size = exact ? 64 : group_size};
            q.hi = allocate((size_t)MAX_TOKENS * (size_t)cols);
            q.lo = allocate((size_t)MAX_TOKENS * (size_t)cols);
            q.scale = allocate((size_t)MAX_TOKENS * (size_t)(cols / q.group_size) * 4);
            q.sum = allocate((size_t)MAX_TOKENS * (size_t)(cols / q.group_size) * 4);
            job.quantized = &q;
            job.work = quantize;
            double quantize_seconds = measure(&job);
            job.work = exact ? multiply_float : multiply_affine;
            double seconds = measure(&job), rate;
            if (job.num_tokens <= 4) {
                rate = (double)packed_matrix_bytes(&m) / seconds;
                printf(" %5.1f (%3.0f%%)", rate * 1e-9, 100 * rate / read_rate);
            } else {
                rate = (double)m.rows * cols * job.num_tokens / seconds;
                printf(" %4.0f", rate * 1e-9);
                if (!exact) printf(" (%2.0f%%)", peak > 0 ? 200 * rate / peak : 0.0);
            }
            if (!exact && job.num_tokens == MAX_TOKENS) {
                q.narrow = allocate(MAX_TOKENS);
                q.wide = allocate((size_t)MAX_TOKENS * (size_t)(cols / 32));
                job.table->quantize_rows(x, (size_t)cols, MAX_TOKENS, true, &q, 0);
                rate = (double)m.rows * cols * job.num_tokens / measure(&job);
                printf(" narrow %4.0f", rate * 1e-9);
                mem_free(q.narrow), mem_free(q.wide);
            }
            if (k == 0 && job.num_tokens == MAX_TOKENS)
                printf(" [quantize %.2f G/s]", (double)MAX_TOKENS * cols / quantize_seconds * 1e-9);
            fflush(stdout);
            mem_free(q.hi), mem_free(q.lo), mem_free(q.scale), mem_free(q.sum), mem_free(job.y);
            packed_matrix_free(&m);
        }
        printf("\n");
    }
    packed_matrix_free(&big);
    mem_free(x);
    return 0;
}
