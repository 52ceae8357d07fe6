// The engine of this tree for bench_versions.c.
#include "version.h"
#include "tokens.h"
#include "base/clock.h"

enum { CALL_TOKENS = 512 };

typedef struct version {
    engine *device;
    engine_model *model;
    engine_seq *prompt;
    int32_t *tokens;    // [num_tokens + 1]: the prompt, and what is decoded again and again
    float *logits;
    int num_tokens;
} version;

static engine_seq *read_prompt(const version *v)
{
    engine_seq *seq;
    check(engine_seq_create(v->model, &seq, &err));
    for (int done = 0, count; done < v->num_tokens; done += count) {
        count = v->num_tokens - done < CALL_TOKENS ? v->num_tokens - done : CALL_TOKENS;
        check(engine_forward(v->model, &(engine_batch_item){.seq = seq, .tokens = v->tokens + done, .num_tokens = count}, 1, NULL, &err));
    }
    return seq;
}

void *open_version(const char *directory, const char *text_file, int num_tokens, int num_threads)
{
    version *v = mem_alloc_zero(1, sizeof *v);
    if (!v) exit(1);
    int vocab_size = load_model("cpu", directory, &(engine_options){.num_threads = num_threads}, &v->device, &v->model);
    v->num_tokens = num_tokens;
    v->tokens = choose_tokens(directory, text_file, vocab_size, num_tokens + 1);
    v->logits = mem_alloc_zero((size_t)vocab_size, sizeof *v->logits);
    if (!v->logits) exit(1);
    v->prompt = read_prompt(v);
    return v;
}

double prefill_version(void *version)
{
    double begin = clock_seconds();
    engine_seq_free(read_prompt(version));
    return clock_seconds() - begin;
}

static void decode(const version *v, engine_seq *seq)
{
    engine_batch_item item = {.seq = seq, .tokens = v->tokens + v->num_tokens, .num_tokens = 1, .num_logits = 1};
    check(engine_forward(v->model, &item, 1, v->logits, &err));
}

double decode_version(void *version, int num_tokens)
{
    engine_seq *seq;
    struct version *v = version;
    check(engine_seq_fork(v->prompt, &seq, &err));
    decode(v, seq);
    double begin = clock_seconds();
    for (int i = 0; i < num_tokens; i++) decode(v, seq);
    double seconds = (clock_seconds() - begin) / num_tokens;
    engine_seq_free(seq);
    return seconds;
}
