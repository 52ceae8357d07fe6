// What more rows cost in one forward pass, in the exactness of decoding: tokens of 1, 2, 4 and 8 sequences, one each, and
// 1, 2, 4 and 8 tokens of one sequence, as when proposed tokens are verified. Logits of every row are computed, nothing is
// sampled. All cases by turns, medians of the rounds.
//     bench-batch MODEL [THREADS] [CONTEXT] [ROUNDS]
#include "bench.h"
#include "base/clock.h"
#include "base/mem.h"

enum { MOST = 8, STEPS = 16, MAX_ROUNDS = 101, PREFILL = 512 };

typedef struct bench {
    engine *device;
    engine_model *model;
    engine_seq *seqs[MOST];
    int vocab_size, context;
    uint32_t random;
    float *logits; // [MOST][vocab_size]
} bench;

static int32_t some_token(bench *b)
{
    b->random = b->random * 1664525u + 1013904223u;
    return (int32_t)((b->random >> 8) % (uint32_t)b->vocab_size);
}

static void open_model(bench *b, const char *directory, int threads)
{
    b->vocab_size = load_model("cpu", directory, &(engine_options){.num_threads = threads}, &b->device, &b->model);
}

static void fill_context(bench *b)
{
    int32_t tokens[PREFILL];
    for (int s = 0; s < MOST; s++) {
        check(engine_seq_create(b->model, &b->seqs[s], &err));
        for (int done = 0, count; done < b->context; done += count) {
            count = b->context - done < PREFILL ? b->context - done : PREFILL;
            for (int i = 0; i < count; i++) tokens[i] = some_token(b);
            check(engine_forward(b->model, &(engine_batch_item){.seq = b->seqs[s], .tokens = tokens, .num_tokens = count}, 1, NULL, &err));
        }
    }
}

static void back_to_context(bench *b)
{
    for (int s = 0; s < MOST; s++) check(engine_seq_trim(b->seqs[s], b->context, &err));
}

// Seconds of a step of `rows` sequences.
static double time_sequences(bench *b, int rows)
{
    int32_t tokens[MOST];
    engine_batch_item items[MOST];
    double begin = clock_seconds();
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < rows; i++) {
            tokens[i] = some_token(b);
            items[i] = (engine_batch_item){.seq = b->seqs[i], .tokens = &tokens[i], .num_tokens = 1, .num_logits = 1};
        }
        check(engine_forward(b->model, items, rows, b->logits, &err));
    }
    double seconds = (clock_seconds() - begin) / STEPS;
    back_to_context(b);
    return seconds;
}

// Seconds of a step of `rows` tokens of one sequence.
static double time_tokens(bench *b, int rows)
{
    int32_t tokens[MOST];
    double begin = clock_seconds();
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < rows; i++) tokens[i] = some_token(b);
        engine_batch_item item = {.seq = b->seqs[0], .tokens = tokens, .num_tokens = rows, .num_logits = rows, .precise = true};
        check(engine_forward(b->model, &item, 1, b->logits, &err));
        check(engine_seq_trim(b->seqs[0], b->context, &err));
    }
    return (clock_seconds() - begin) / STEPS;
}

static const int batches[] = {1, 2, 3, 4, 6, 8};
enum { NUM_BATCHES = sizeof batches / sizeof *batches };

static void print_row(const char *what, double seconds[NUM_BATCHES][MAX_ROUNDS], int rounds)
{
    for (int i = 0; i < NUM_BATCHES; i++) qsort(seconds[i], (size_t)rounds, sizeof **seconds, by_value);
    printf("%-22s", what);
    for (int i = 0; i < NUM_BATCHES; i++) {
        double rate = batches[i] / seconds[i][rounds / 2];
        printf("  %d: %6.1f (%.2f)", batches[i], rate, rate * seconds[0][rounds / 2]);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    static double sequences[NUM_BATCHES][MAX_ROUNDS], tokens[NUM_BATCHES][MAX_ROUNDS];
    bench b = {.random = 12345};
    if (argc < 2) return fprintf(stderr, "usage: bench-batch MODEL [THREADS] [CONTEXT] [ROUNDS]\n"), 2;
    int threads = argc > 2 ? atoi(argv[2]) : 0, rounds = argc > 4 ? atoi(argv[4]) : 9;
    b.context = argc > 3 ? atoi(argv[3]) : 512;
    if (rounds < 1 || rounds > MAX_ROUNDS || b.context < 1) return fprintf(stderr, "bench-batch: a number is out of range\n"), 2;
    open_model(&b, argv[1], threads);
    b.logits = mem_alloc_zero(MOST * (size_t)b.vocab_size, sizeof *b.logits);
    if (!b.logits) return 1;
    fill_context(&b);
    engine_info info;
    engine_get_info(b.device, &info);
    for (int round = -1; round < rounds; round++)
        for (int i = 0; i < NUM_BATCHES; i++) {
            double by_sequence = time_sequences(&b, batches[i]), by_token = time_tokens(&b, batches[i]);
            if (round >= 0) sequences[i][round] = by_sequence, tokens[i][round] = by_token; // the first one warms up
        }
    printf("%s, %d threads, after %d tokens; tokens/s (to one row), medians of %d\n", info.isa, info.num_threads, b.context, rounds);
    print_row("sequences", sequences, rounds);
    print_row("tokens of a sequence", tokens, rounds);
    for (int s = 0; s < MOST; s++) engine_seq_free(b.seqs[s]);
    mem_free(b.logits);
    engine_model_free(b.model);
    engine_close(b.device);
    return 0;
}
