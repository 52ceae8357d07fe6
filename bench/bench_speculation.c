// What speculation brings when a model answers a prompt with a given text: each token is sampled, greedily, from the model's
// logits, but the text's is taken. So small models stand for large ones, which do what they are asked. Without and with
// proposals by turns, medians of the rounds.
//     bench-speculation MODEL PROMPT_FILE ANSWER_FILE [MOST] [THREADS] [ROUNDS]
#include "bench.h"
#include "backend/speculation.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/sampler.h"
#include "text/tokenizer.h"
#include <string.h>

enum { MAX_ROUNDS = 101, PREFILL = 512, CASES = 2 };

typedef struct bench {
    engine *device;
    engine_model *model;
    engine_seq *seq;
    sampler *sampler;
    token_list text;     // prompt and answer
    size_t num_prompt;
    int vocab_size;
    float *logits;       // [1 + SPECULATION_MOST][vocab_size]
    double seconds[CASES][MAX_ROUNDS];
    int proposed, accepted, passes; // of the latest answer
} bench;

static void open_model(bench *b, const char *directory, int threads)
{
    b->vocab_size = load_model("cpu", directory, &(engine_options){.num_threads = threads}, &b->device, &b->model);
    check(engine_seq_create(b->model, &b->seq, &err));
    sampler_options options;
    sampler_options_init(&options);
    check(sampler_create(&options, b->vocab_size, &b->sampler, &err));
    b->logits = mem_alloc_zero((1 + SPECULATION_MOST) * (size_t)b->vocab_size, sizeof *b->logits);
    if (!b->logits) exit(1);
}

static void read_text(bench *b, const tokenizer *tok, const char *path, unsigned flags)
{
    char *text;
    size_t length;
    check(file_read(path, 1 << 20, &text, &length, &err));
    check(tokenizer_encode(tok, text, length, flags, &b->text, &err));
    mem_free(text);
}

static void forward(bench *b, const int32_t *tokens, int count, int logits)
{
    engine_batch_item item = {.seq = b->seq, .tokens = tokens, .num_tokens = count, .num_logits = logits, .precise = logits > 1};
    check(engine_forward(b->model, &item, 1, b->logits, &err));
}

static void read_prompt(bench *b)
{
    check(engine_seq_trim(b->seq, 0, &err));
    for (size_t done = 0, count; done < b->num_prompt; done += count) {
        count = b->num_prompt - done < PREFILL ? b->num_prompt - done : PREFILL;
        forward(b, b->text.ids + done, (int)count, done + count == b->num_prompt);
    }
}

// Samples from the rows of logits while the proposal is what the text says; returns how many of it are.
static int take(bench *b, const speculation *s, size_t *said)
{
    for (int row = 0;; row++) {
        sampler_result result;
        check(sampler_sample(b->sampler, b->logits + (size_t)row * (size_t)b->vocab_size, b->text.ids, *said, &result, &err));
        int32_t token = b->text.ids[(*said)++];
        if (row == s->count || *said == b->text.count || token != s->tokens[row]) return row;
    }
}

// Seconds of the answer after its first token.
static double answer(bench *b, int most)
{
    speculation s;
    int32_t tokens[1 + SPECULATION_MOST];
    size_t said = b->num_prompt;
    speculation_begin(&s, most);
    b->proposed = b->accepted = b->passes = 0;
    read_prompt(b);
    double begin = clock_seconds();
    for (;;) {
        int right = take(b, &s, &said);
        speculation_judged(&s, right);
        b->proposed += s.count;
        b->accepted += right;
        if (right < s.count) check(engine_seq_trim(b->seq, engine_seq_length(b->seq) - (s.count - right), &err));
        if (said == b->text.count) break;
        tokens[0] = b->text.ids[said - 1];
        if (!speculation_propose(&s, b->text.ids, said, (int)(b->text.count - said) - 1)) exit(1);
        memcpy(tokens + 1, s.tokens, (size_t)s.count * sizeof *tokens);
        double before = clock_seconds();
        forward(b, tokens, 1 + s.count, 1 + s.count);
        speculation_timed(&s, 1 + s.count, clock_seconds() - before);
        b->passes++;
    }
    double seconds = clock_seconds() - begin;
    speculation_free(&s);
    return seconds;
}

int main(int argc, char **argv)
{
    static bench b;
    tokenizer *tok;
    if (argc < 4) return fprintf(stderr, "usage: bench-speculation MODEL PROMPT_FILE ANSWER_FILE [MOST] [THREADS] [ROUNDS]\n"), 2;
    int most = argc > 4 ? atoi(argv[4]) : 7, threads = argc > 5 ? atoi(argv[5]) : 0, rounds = argc > 6 ? atoi(argv[6]) : 5;
    if (most < 1 || most > SPECULATION_MOST || rounds < 1 || rounds > MAX_ROUNDS) return fprintf(stderr, "bench-speculation: a number is out of range\n"), 2;
    open_model(&b, argv[1], threads);
    check(tokenizer_load(argv[1], &tok, &err));
    read_text(&b, tok, argv[2], TOKENIZER_ADD_SPECIAL);
    b.num_prompt = b.text.count;
    read_text(&b, tok, argv[3], 0);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < CASES; i++) b.seconds[i][round] = answer(&b, i ? most : 0);
    for (int i = 0; i < CASES; i++) qsort(b.seconds[i], (size_t)rounds, sizeof **b.seconds, by_value);
    double plain = b.seconds[0][rounds / 2], ahead = b.seconds[1][rounds / 2];
    int tokens = (int)(b.text.count - b.num_prompt) - 1;
    printf("prompt %zu, answer %d tokens: %.1f tokens/s without, %.1f with (%.2f); %d passes, %d of %d proposed tokens accepted\n",
           b.num_prompt, tokens, tokens / plain, tokens / ahead, plain / ahead, b.passes, b.accepted, b.proposed);
    tokenizer_free(tok);
    token_list_free(&b.text);
    sampler_free(b.sampler);
    mem_free(b.logits);
    engine_seq_free(b.seq);
    engine_model_free(b.model);
    engine_close(b.device);
    return 0;
}
