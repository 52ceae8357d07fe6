// What fast precision costs: mean KL divergence (nats), agreement of the best token, and perplexity, against exact
// precision of the same engine, for prefilled and for decoded tokens apart.
//     bench-accuracy MODEL TEXT_FILE [TOKENS] [WINDOW] [KV_BITS]
#include "bench.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"
#include <math.h>
#include <string.h>

typedef struct side {
    engine *device;
    engine_model *model;
} side;

static side open_side(const char *directory, engine_precision precision, int kv_bits)
{
    side s;
    load_model("cpu", directory, &(engine_options){.precision = precision, .kv_bits = kv_bits}, &s.device, &s.model);
    return s;
}

typedef struct totals {
    double kl, nll_exact, nll_fast;
    long agree, count, next;
} totals;

// The logits of the exact model at one place of the text, and what follows from them.
typedef struct reference {
    const float *logits;
    double *p; // [vocab]
    double log_sum;
    int best;
} reference;

static int best(const float *x, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

static void set_reference(reference *r, const float *logits, int n)
{
    double sum = 0;
    r->logits = logits;
    r->best = best(logits, n);
    for (int i = 0; i < n; i++) sum += r->p[i] = exp(logits[i] - logits[r->best]);
    for (int i = 0; i < n; i++) r->p[i] /= sum;
    r->log_sum = logits[r->best] + log(sum);
}

static void compare(totals *t, const reference *exact, const float *fast, int n, int32_t next)
{
    int top = best(fast, n);
    double sum = 0, kl = 0;
    for (int i = 0; i < n; i++) sum += exp(fast[i] - fast[top]);
    double log_sum = fast[top] + log(sum);
    for (int i = 0; i < n; i++) kl += exact->p[i] * ((exact->logits[i] - exact->log_sum) - (fast[i] - log_sum));
    t->kl += kl;
    t->agree += exact->best == top;
    t->count++;
    if (next < 0) return;
    t->nll_exact -= exact->logits[next] - exact->log_sum;
    t->nll_fast -= fast[next] - log_sum;
    t->next++;
}

static void forward(side s, engine_seq *seq, const int32_t *ids, int count, float *logits)
{
    check(engine_forward(s.model, &(engine_batch_item){seq, ids, count, count, false}, 1, logits, &err));
}

enum { ROWS = 64, REPORT_WINDOWS = 8 };

// One window: exact by rows of ROWS, fast prefilled the same way, fast token by token.
static void run_window(side exact, side fast, const int32_t *ids, int count, int vocab, float *a, float *b, reference *r, totals *prefilled, totals *decoded)
{
    engine_seq *seq_exact, *seq_prefill, *seq_decode;
    check(engine_seq_create(exact.model, &seq_exact, &err));
    check(engine_seq_create(fast.model, &seq_prefill, &err));
    check(engine_seq_create(fast.model, &seq_decode, &err));
    for (int begin = 0; begin < count; begin += ROWS) {
        int rows = count - begin < ROWS ? count - begin : ROWS;
        forward(exact, seq_exact, ids + begin, rows, a);
        forward(fast, seq_prefill, ids + begin, rows, b);
        for (int i = 0; i < rows; i++) {
            float *row = b + (size_t)i * (size_t)vocab;
            int32_t next = begin + i + 1 < count ? ids[begin + i + 1] : -1;
            set_reference(r, a + (size_t)i * (size_t)vocab, vocab);
            compare(prefilled, r, row, vocab, next);
            forward(fast, seq_decode, ids + begin + i, 1, row);
            compare(decoded, r, row, vocab, next);
        }
    }
    engine_seq_free(seq_exact);
    engine_seq_free(seq_prefill);
    engine_seq_free(seq_decode);
}

static void print(const char *what, const totals *t)
{
    double exact = exp(t->nll_exact / (double)t->next), fast = exp(t->nll_fast / (double)t->next);
    printf("%-10s %6ld tokens  KL %.2e  best token agrees %.2f %%  perplexity %.4f exact, %.4f fast (%+.3f %%)\n", what, t->count,
           t->kl / (double)t->count, 100.0 * (double)t->agree / (double)t->count, exact, fast, 100 * (fast / exact - 1));
}

int main(int argc, char **argv)
{
    tokenizer *tok;
    token_list ids = {0};
    char *text;
    size_t length;
    if (argc < 3) return fprintf(stderr, "usage: bench-accuracy MODEL TEXT_FILE [TOKENS] [WINDOW] [KV_BITS]\n"), 2;
    int limit = argc > 3 ? atoi(argv[3]) : 2000, window = argc > 4 ? atoi(argv[4]) : 512;
    check(tokenizer_load(argv[1], &tok, &err));
    check(file_read(argv[2], (size_t)64 << 20, &text, &length, &err));
    check(tokenizer_encode(tok, text, length, 0, &ids, &err));
    model_files files = {0};
    check(model_files_open(argv[1], &files, &err));
    int vocab = files.desc.vocab_size;
    model_files_close(&files);
    side exact = open_side(argv[1], PRECISION_EXACT, 0);
    side fast = open_side(argv[1], PRECISION_FAST, argc > 5 ? atoi(argv[5]) : 0);
    totals prefilled = {0}, decoded = {0};
    float *a = mem_alloc_zero(ROWS * (size_t)vocab, sizeof *a), *b = mem_alloc_zero(ROWS * (size_t)vocab, sizeof *b);
    reference r = {.p = mem_alloc_zero((size_t)vocab, sizeof *r.p)};
    // Every window begins as the model's texts do: a Gemma without its <bos> predicts nothing.
    token_list start = {0};
    check(tokenizer_encode(tok, "", 0, TOKENIZER_ADD_SPECIAL, &start, &err));
    int total = (int)ids.count < limit ? (int)ids.count : limit, num_start = (int)start.count;
    int32_t *tokens = mem_alloc_zero((size_t)(window + num_start), sizeof *tokens);
    if (num_start) memcpy(tokens, start.ids, (size_t)num_start * sizeof *tokens);
    for (int begin = 0; begin < total; begin += window) {
        int count = total - begin < window ? total - begin : window;
        memcpy(tokens + num_start, ids.ids + begin, (size_t)count * sizeof *tokens);
        run_window(exact, fast, tokens, num_start + count, vocab, a, b, &r, &prefilled, &decoded);
        bool last = total - begin <= window;
        if (!last && begin / window % REPORT_WINDOWS < REPORT_WINDOWS - 1) continue;
        print("prefilled", &prefilled); // so far: it takes long
        print("decoded", &decoded);
        fflush(stdout);
    }
    return 0;
}
