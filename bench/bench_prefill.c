// How near a prompt comes to the integer dots that the processor can do, and where its time goes. Every dot that the
// engine's kernels execute is counted, in a pass with kernels that count (counted_avx512.c); dots of 8 bits (vpdpbusd) and
// of 16 bits (vpdpwssd, attention) apart. The rates of the machine are those of independent dots on the engine's own
// threads, measured before and after each pass that is timed. A share is the time that the dots take at these rates, in the
// time of the whole pass, or in that of one step. Steps are timed in passes of their own: time in the kernels of a step,
// added up over the threads and divided by their number; waiting and what no named kernel does are "other".
//     bench-prefill MODEL [TOKENS] [THREADS] [ROUNDS] [TEXT_FILE]
// Without a text, tokens are random. Figures are medians of the rounds. Without AVX-512 VNNI only steps are shown.
#include "counted.h"
#include "peak.h"
#include "tokens.h"
#include "base/clock.h"
#include "engine/cpu/cpu_engine.h"
#include <stdatomic.h>
#include <string.h>

enum { CALL_TOKENS = 512 /* as the backend forwards a prompt */, MAX_ROUNDS = 101, MAX_THREADS = 256, PEAK_ITEMS = 64, PEAK_LOOPS = 1 << 14 };

typedef enum step { PRODUCTS, ATTENTION, QUANTISING, ACTIVATION, NORMS, STORING, HEAD, NUM_STEPS } step;
static const char *const step_names[] = {"products", "attention", "quantising", "activation", "norms", "positions and stores", "head"};

// What a thread has done since the counters were cleared.
typedef struct thread_counters {
    _Alignas(64) int64_t time[NUM_STEPS]; // nanoseconds
    uint64_t dots_8[NUM_STEPS], dots_16[NUM_STEPS];
} thread_counters;

typedef struct bench {
    cpu_engine *engine;
    cpu_model *model;
    int32_t *tokens;
    int num_tokens, num_threads;
    float *logits;
    double weights; // multiplications of a token in the layers
} bench;

static thread_counters counters[MAX_THREADS];
static atomic_int num_counters;
static _Thread_local thread_counters *mine;
static const kernels *wrapped;       // what the kernels below call
static const packed_matrix *head;

// ---- Kernels that note what they do

static void note(step s, int64_t begin)
{
    if (!mine) mine = &counters[atomic_fetch_add(&num_counters, 1)];
    mine->time[s] += clock_nanoseconds() - begin;
#if defined(__x86_64__)
    mine->dots_8[s] += counted_dots_8, mine->dots_16[s] += counted_dots_16;
    counted_dots_8 = counted_dots_16 = 0;
#endif
}

#define NOTED(step, name, parameters, ...)           \
    static void noted_##name parameters              \
    {                                                \
        int64_t noted_begin = clock_nanoseconds();   \
        wrapped->name(__VA_ARGS__);                  \
        note(step, noted_begin);                     \
    }
NOTED(w == head ? HEAD : PRODUCTS, matmul_affine, (const packed_matrix *w, int tile, int tile_end, const quantized_rows *x, int token, int token_end,
      float *y, size_t stride), w, tile, tile_end, x, token, token_end, y, stride)
NOTED(w == head ? HEAD : PRODUCTS, matmul_float, (const packed_matrix *w, int tile, int tile_end, const float *x, size_t x_stride, int token,
      int token_end, float *y, size_t stride), w, tile, tile_end, x, x_stride, token, token_end, y, stride)
NOTED(ATTENTION, attention_page, (const attention_page_args *args), args)
NOTED(ATTENTION, attention_segment, (const attention_segment_args *args), args)
NOTED(ATTENTION, attention_scores, (const attention_segment_args *args), args)
NOTED(ATTENTION, attention_values, (const attention_segment_args *args), args)
NOTED(ATTENTION, attention_merge, (int queries, int dim, attention_state total, attention_state part), queries, dim, total, part)
NOTED(QUANTISING, quantize_rows, (const float *x, size_t stride, int rows, bool narrow, const quantized_rows *out, int first), x, stride, rows,
      narrow, out, first)
NOTED(ACTIVATION, activate, (activation_kind kind, const float *gate, const float *up, int n, float *y), kind, gate, up, n, y)
NOTED(NORMS, rms_norm, (const float *x, const float *weight, int n, float eps, float *y), x, weight, n, eps, y)
NOTED(NORMS, layer_norm, (const float *x, const float *weight, const float *bias, int n, float eps, float *y), x, weight, bias, n, eps, y)
NOTED(STORING, rope, (float *x, const float *cosine, const float *sine, int dims, bool traditional, float scale), x, cosine, sine, dims, traditional, scale)
NOTED(STORING, kv_store, (const float *key, const float *value, int dim, dtype type, int slot, const kv_page *page), key, value, dim, type, slot, page)

// `to` with the kernels of `from` inside, which it notes.
static void note_kernels(kernels *to, const kernels *from)
{
    wrapped = from;
    *to = *from;
    to->matmul_affine = noted_matmul_affine, to->matmul_float = noted_matmul_float;
    to->attention_page = noted_attention_page, to->attention_segment = noted_attention_segment, to->attention_merge = noted_attention_merge;
    to->attention_scores = noted_attention_scores, to->attention_values = noted_attention_values;
    to->quantize_rows = noted_quantize_rows, to->activate = noted_activate;
    to->rms_norm = noted_rms_norm, to->layer_norm = noted_layer_norm;
    to->rope = noted_rope, to->kv_store = noted_kv_store;
}

// ---- Passes

// Linux takes a processor from a real-time process that has had it for 95 % of a second. Who measures as one rests in time.
static void rest(void) { nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); }

// Seconds of a prompt with these kernels. Counters begin at 0.
static double forward(bench *b, const kernels *table)
{
    void *seq;
    b->engine->kernels = table;
    memset(counters, 0, sizeof counters);
    check(cpu_engine_methods.seq_create(b->model, &seq, &err));
    double seconds = 0;
    for (int done = 0, count; done < b->num_tokens; done += count) {
        count = b->num_tokens - done < CALL_TOKENS ? b->num_tokens - done : CALL_TOKENS;
        engine_batch_item item = {.tokens = b->tokens + done, .num_tokens = count, .num_logits = done + count == b->num_tokens};
        double begin = clock_seconds();
        check(cpu_engine_methods.forward(b->model, &item, &seq, 1, b->logits, &err));
        seconds += clock_seconds() - begin;
        rest();
    }
    cpu_engine_methods.seq_free(seq);
    return seconds;
}

static thread_counters sum_counters(void)
{
    thread_counters sum = {0};
    for (int i = 0; i < MAX_THREADS; i++)
        for (int s = 0; s < NUM_STEPS; s++) {
            sum.time[s] += counters[i].time[s];
            sum.dots_8[s] += counters[i].dots_8[s], sum.dots_16[s] += counters[i].dots_16[s];
        }
    return sum;
}

static uint64_t all_steps(const uint64_t *of_step)
{
    uint64_t sum = 0;
    for (int s = 0; s < NUM_STEPS; s++) sum += of_step[s];
    return sum;
}

// Instructions a second, all threads together.
typedef struct dot_rates {
    double dots_8, dots_16;
} dot_rates;

#if defined(__x86_64__)
static volatile uint64_t sink;
static void run_peak_8(void *arg, int item, int thread) { (void)arg, (void)thread, sink = peak_dots_8(item, PEAK_LOOPS); }
static void run_peak_16(void *arg, int item, int thread) { (void)arg, (void)thread, sink = peak_dots_16(item, PEAK_LOOPS); }

static double peak_rate(const bench *b, pool_function run)
{
    double begin = clock_seconds();
    thread_pool_run(b->engine->pool, PEAK_ITEMS * b->num_threads, run, NULL);
    return (double)PEAK_ITEMS * b->num_threads * PEAK_CHAINS * PEAK_LOOPS / (clock_seconds() - begin);
}

static dot_rates measure_rates(const bench *b) { return (dot_rates){peak_rate(b, run_peak_8), peak_rate(b, run_peak_16)}; }

static bool can_count(const bench *b) { return strcmp(b->engine->kernels->isa, "avx512vnni") == 0; }

// The dots of a prompt, by a pass with kernels that count.
static thread_counters count_dots(bench *b, const kernels *plain)
{
    kernels counting = *plain, noted;
    counting.matmul_affine = matmul_affine_counted;
    counting.attention_segment = attention_segment_counted;
    counting.attention_scores = attention_scores_counted, counting.attention_values = attention_values_counted;
    note_kernels(&noted, &counting);
    forward(b, &noted);
    return sum_counters();
}
#else
static dot_rates measure_rates(const bench *b) { return (void)b, (dot_rates){1, 1}; }
static bool can_count(const bench *b) { return (void)b, false; }
static thread_counters count_dots(bench *b, const kernels *plain) { return (void)b, (void)plain, (thread_counters){0}; }
#endif

// ---- What is shown

static double seconds_of(uint64_t dots_8, uint64_t dots_16, dot_rates rates) { return (double)dots_8 / rates.dots_8 + (double)dots_16 / rates.dots_16; }

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

enum { WHOLE = NUM_STEPS, OTHER = NUM_STEPS }; // in the arrays of steps

static double seconds[MAX_ROUNDS], rates_8[MAX_ROUNDS], rates_16[MAX_ROUNDS], shares[NUM_STEPS + 1][MAX_ROUNDS], times[NUM_STEPS + 1][MAX_ROUNDS];

static void run_round(bench *b, const kernels *plain, const thread_counters *dots, int round)
{
    kernels noted;
    dot_rates before = measure_rates(b);
    seconds[round] = forward(b, plain);
    dot_rates after = measure_rates(b), rates = {(before.dots_8 + after.dots_8) / 2, (before.dots_16 + after.dots_16) / 2};
    rates_8[round] = rates.dots_8, rates_16[round] = rates.dots_16;
    shares[WHOLE][round] = seconds_of(all_steps(dots->dots_8), all_steps(dots->dots_16), rates) / seconds[round];
    note_kernels(&noted, plain);
    double other = forward(b, &noted);
    thread_counters steps = sum_counters();
    for (int s = 0; s < NUM_STEPS; s++) {
        times[s][round] = (double)steps.time[s] * 1e-9 / b->num_threads;
        shares[s][round] = seconds_of(dots->dots_8[s], dots->dots_16[s], after) / times[s][round];
        other -= times[s][round];
    }
    times[OTHER][round] = other;
}

static void print_dots(const bench *b, const thread_counters *dots, int rounds)
{
    uint64_t dots_8 = all_steps(dots->dots_8), dots_16 = all_steps(dots->dots_16);
    printf("dots a token: %.3f million of 8 bits (layers: %.3f products for each weight), %.3f million of 16 bits\n", 1e-6 * (double)dots_8 / b->num_tokens,
           64 * (double)dots->dots_8[PRODUCTS] / b->weights / b->num_tokens, 1e-6 * (double)dots_16 / b->num_tokens);
    printf("the machine's rate: %.0f GMAC/s of 8 bits, %.0f of 16 bits\n", 64e-9 * median(rates_8, rounds), 32e-9 * median(rates_16, rounds));
    printf("share of it: the whole %.1f %%, products %.1f %%, attention %.1f %%\n", 100 * median(shares[WHOLE], rounds),
           100 * median(shares[PRODUCTS], rounds), 100 * median(shares[ATTENTION], rounds));
}

static void print_steps(const bench *b, int rounds)
{
    printf("microseconds a token:");
    for (int s = 0; s < NUM_STEPS; s++) printf(" %s %.1f,", step_names[s], 1e6 * median(times[s], rounds) / b->num_tokens);
    printf(" other %.1f\n", 1e6 * median(times[OTHER], rounds) / b->num_tokens);
}

// ---- Beginning

static void open_model(bench *b, const char *directory, int threads)
{
    model_files files = {0};
    void *device, *model;
    check(model_files_open(directory, &files, &err));
    engine_weights weights = weights_for_engine(&files.weights);
    check(cpu_engine_methods.open(&(engine_options){.num_threads = threads}, &device, &err));
    check(cpu_engine_methods.model_load(device, &files.desc, &weights, NULL, NULL, &model, &err));
    model_files_close(&files);
    b->engine = device, b->model = model;
    b->num_threads = thread_pool_size(b->engine->pool);
    head = b->model->head.matrix.data ? &b->model->head.matrix : &b->model->embedding;
    for (int i = 0; i < b->model->desc.num_blocks; i++) {
        const cpu_block *block = &b->model->blocks[i];
        const cpu_linear *linears[] = {&block->q, &block->k, &block->v, &block->o, &block->gate, &block->up, &block->down};
        for (size_t l = 0; l < sizeof linears / sizeof *linears; l++) b->weights += (double)linears[l]->matrix.rows * linears[l]->matrix.cols;
    }
    b->logits = mem_alloc_zero((size_t)b->model->desc.vocab_size, sizeof *b->logits);
    if (!b->logits) exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 2) return fprintf(stderr, "usage: bench-prefill MODEL [TOKENS] [THREADS] [ROUNDS] [TEXT_FILE]\n"), 2;
    bench b = {.num_tokens = argc > 2 ? atoi(argv[2]) : 2048};
    int rounds = argc > 4 ? atoi(argv[4]) : 5;
    if (rounds < 1 || rounds > MAX_ROUNDS || b.num_tokens < 1) return fprintf(stderr, "bench-prefill: a number is out of range\n"), 2;
    open_model(&b, argv[1], argc > 3 ? atoi(argv[3]) : 0);
    b.tokens = choose_tokens(argv[1], argc > 5 ? argv[5] : NULL, b.model->desc.vocab_size, b.num_tokens);
    const kernels *plain = b.engine->kernels;
    bool counts = can_count(&b);
    thread_counters dots = {0};
    if (counts) dots = count_dots(&b, plain);
    else forward(&b, plain); // to warm up
    for (int round = 0; round < rounds; round++) run_round(&b, plain, &dots, round);
    printf("%s, %d threads, %d tokens of %s, medians of %d: %.0f tokens/s\n", plain->isa, b.num_threads, b.num_tokens,
           argc > 5 ? "the text" : "random", rounds, b.num_tokens / median(seconds, rounds));
    if (counts) print_dots(&b, &dots, rounds);
    print_steps(&b, rounds);
    mem_free(b.tokens), mem_free(b.logits);
    cpu_engine_methods.model_free(b.model);
    cpu_engine_methods.close(b.engine);
    return 0;
}
