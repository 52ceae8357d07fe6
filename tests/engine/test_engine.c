// Every engine over every golden model: logits, batches, sequences, saving, interrupts. A test's state is the engine
// that it runs on.
#include "testing.h"
#include "base/mem.h"
#include "engine/engines.h"
#include "engine/opened_case.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void open_case(const char *name, engine_precision precision, int threads, opened *o)
{
    open_case_on(tested->name, name, &(engine_options){.precision = precision, .num_threads = threads}, 0, o);
}

typedef void (*case_check)(const char *name, double *worst);

static void for_all_cases(case_check check, const char *what)
{
    char *names[MAX_CASES];
    int count = list_cases(names);
    double worst = 0;
    assert_true(count >= 50);
    for (int i = 0; i < count; i++) {
        check(names[i], &worst);
        mem_free(names[i]);
    }
    print_message("%s: %d models, %s: %.1e\n", tested->name, count, what, worst);
}

static void check_exact(const char *name, double *worst)
{
    opened o;
    open_case(name, PRECISION_EXACT, 2, &o);
    engine_seq *seq = new_seq(&o);
    float *logits = forward(&o, seq, 0, o.total);
    double error = compare_logits(&o.golden, logits);
    if (!(error <= tested->exact)) fail_msg("%s: the logits differ by %.2e", name, error);
    for (int i = o.prompt; i < o.total; i++)
        if (largest_logit(logits + (size_t)(i - 1) * (size_t)o.vocab, o.vocab) != o.ids[i]) fail_msg("%s: token %d differs", name, i);
    *worst = fmax(*worst, error);
    mem_free(logits);
    engine_seq_free(seq);
    close_case(&o);
}

static void test_exact_precision_agrees_with_mlx(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all_cases(check_exact, "exact precision, largest relative difference from MLX");
}

// Integer activations and a 16-bit KV cache. Token by token within 2 % of the largest logit even on models of random
// weights, which forgive less than trained ones; a prompt, with 8 bits for most activations, within 15 %.
static void check_fast(const char *name, double *worst, bool decoded)
{
    opened o;
    open_case(name, PRECISION_FAST, 2, &o);
    engine_seq *seq = new_seq(&o);
    float *logits = decoded ? mem_alloc_zero((size_t)o.total * (size_t)o.vocab, sizeof *logits) : forward(&o, seq, 0, o.total);
    for (int i = 0; decoded && i < o.total; i++) {
        engine_batch_item item = {seq, o.ids + i, 1, 1, false};
        assert_ok(engine_forward(o.model, &item, 1, logits + (size_t)i * (size_t)o.vocab, &err));
    }
    double error = compare_logits(&o.golden, logits);
    if (!(error <= (decoded ? tested->fast : tested->fast_prompt))) fail_msg("%s: the logits differ by %.2e", name, error);
    *worst = fmax(*worst, error);
    mem_free(logits);
    engine_seq_free(seq);
    close_case(&o);
}

static void check_decoded(const char *name, double *worst) { check_fast(name, worst, true); }
static void check_prefilled(const char *name, double *worst) { check_fast(name, worst, false); }

static void test_fast_precision_is_close_to_mlx(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all_cases(check_decoded, "fast precision decoded, largest relative difference from MLX");
    for_all_cases(check_prefilled, "fast precision prefilled, largest relative difference from MLX");
}

// A prompt in one call on one thread, and in two calls on two threads beside a sequence that decodes; and that
// sequence alone: the same bits. A token that comes alone is computed with more bits than one of several.
static void check_batches(const char *name, double *worst)
{
    (void)worst;
    opened o, single;
    open_case(name, repeatable_precision(), 2, &o);
    open_case(name, repeatable_precision(), 1, &single);
    engine_seq *whole = new_seq(&single), *alone = new_seq(&single), *parts = new_seq(&o), *beside = new_seq(&o);
    float *expected = forward(&single, whole, 0, o.total);
    float *logits = mem_alloc_zero((size_t)(o.total + 1) * (size_t)o.vocab, sizeof *logits);
    for (int step = 0, begin = 0; begin < o.total; step++) {
        int end = step == 0 ? o.total / 2 : o.total, rows = end - begin;
        assert_true(rows > 1);
        engine_batch_item items[2] = {{beside, o.ids + step, 1, 1, false}, {parts, o.ids + begin, rows, rows, false}};
        assert_ok(engine_forward(o.model, items, 2, logits, &err));
        assert_repeated(name, "a prompt in parts", logits + o.vocab, expected + (size_t)begin * (size_t)o.vocab, rows * o.vocab);
        float *decoded = forward(&single, alone, step, step + 1);
        assert_repeated(name, "decoding beside a prompt", logits, decoded, o.vocab);
        mem_free(decoded);
        begin = end;
    }
    for (int i = 2; i < 6; i++) { // two sequences decode together: the one that had the prompt, and the other
        engine_batch_item items[2] = {{parts, o.ids + i, 1, 1, false}, {beside, o.ids + i, 1, 1, false}};
        assert_ok(engine_forward(o.model, items, 2, logits, &err));
        float *first = forward(&single, whole, i, i + 1), *second = forward(&single, alone, i, i + 1);
        assert_repeated(name, "decoding after a prompt", logits, first, o.vocab);
        assert_repeated(name, "decoding from the start", logits + o.vocab, second, o.vocab);
        mem_free(first);
        mem_free(second);
    }
    mem_free(expected);
    mem_free(logits);
    engine_seq_free(whole);
    engine_seq_free(alone);
    engine_seq_free(parts);
    engine_seq_free(beside);
    close_case(&o);
    close_case(&single);
}

static void test_batches_and_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all_cases(check_batches, "batches and threads, differing bits");
}

// A thread that sleeps while a token begins, and comes when others have done some of its steps, computes the same bits.
static void check_late_threads(const char *name, double *worst)
{
    enum { TOKENS = 6, REPEATS = 12 };
    (void)worst;
    opened o, single;
    open_case(name, repeatable_precision(), 2, &o);
    open_case(name, repeatable_precision(), 1, &single);
    engine_seq *seq = new_seq(&o), *alone = new_seq(&single);
    float *expected[TOKENS];
    for (int i = 0; i < TOKENS; i++) expected[i] = forward(&single, alone, i, i + 1);
    for (int i = 0; i < TOKENS * REPEATS; i++) {
        if (i % TOKENS == 0) assert_ok(engine_seq_trim(seq, 0, &err));
        if (i % 3) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        float *logits = forward(&o, seq, i % TOKENS, i % TOKENS + 1);
        assert_repeated(name, "a token with a late thread", logits, expected[i % TOKENS], o.vocab);
        mem_free(logits);
    }
    for (int i = 0; i < TOKENS; i++) mem_free(expected[i]);
    engine_seq_free(seq);
    engine_seq_free(alone);
    close_case(&o);
    close_case(&single);
}

static void test_late_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all_cases(check_late_threads, "late threads, differing bits");
}

enum { LONG_TEXT = 200, WRONG_TOKENS = 3 };

// Tokens forwarded one by one on one thread, and on two threads in precise items of all sizes, each with wrong tokens behind
// it that are trimmed, behind blocks that windows no longer need, too: the same bits.
static void check_precise(const char *name, double *worst)
{
    (void)worst;
    opened o, single;
    open_case(name, tested->repeated ? PRECISION_EXACT : PRECISION_FAST, 2, &o);
    open_case(name, tested->repeated ? PRECISION_EXACT : PRECISION_FAST, 1, &single);
    engine_seq *alone = new_seq(&single), *several = new_seq(&o);
    int32_t tokens[LONG_TEXT + WRONG_TOKENS];
    int context = o.golden.files.desc.context_length, total = context < LONG_TEXT ? context : LONG_TEXT;
    float *logits = mem_alloc_zero((LONG_TEXT + WRONG_TOKENS) * (size_t)o.vocab, sizeof *logits);
    float *expected = mem_alloc_zero((size_t)o.vocab, sizeof *expected);
    for (int i = 0; i < total; i++) tokens[i] = o.ids[i % o.total];
    for (int begin = 0, size = 0, rows; begin < total; begin += rows) {
        rows = size++ % 19 + 1;
        if (rows > total - begin) rows = total - begin;
        int wrong = total - begin - rows < WRONG_TOKENS ? total - begin - rows : WRONG_TOKENS;
        int32_t item_tokens[LONG_TEXT];
        memcpy(item_tokens, tokens + begin, (size_t)(rows + wrong) * sizeof *tokens);
        for (int i = rows; i < rows + wrong; i++) item_tokens[i] = (item_tokens[i] + 1) % o.vocab;
        engine_batch_item item = {several, item_tokens, rows + wrong, rows + wrong, true};
        assert_ok(engine_forward(o.model, &item, 1, logits, &err));
        assert_ok(engine_seq_trim(several, begin + rows, &err));
        for (int i = 0; i < rows; i++) {
            engine_batch_item one = {alone, tokens + begin + i, 1, 1, false};
            assert_ok(engine_forward(single.model, &one, 1, expected, &err));
            assert_repeated(name, "a precise token", logits + (size_t)i * (size_t)o.vocab, expected, o.vocab);
        }
    }
    mem_free(logits);
    mem_free(expected);
    engine_seq_free(alone);
    engine_seq_free(several);
    close_case(&o);
    close_case(&single);
}

static void test_precise_tokens_have_the_bits_of_single_ones(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all_cases(check_precise, "precise tokens of one call, differing bits");
}

static const char *const few_cases[] = {"llama-q4-g64", "gemma3-text-q4-g32", "phi3-longrope", "gemma2", NULL};

static void test_fork_and_trim_continue_where_they_should(void **state)
{
    (void)state;
    if (!tested) skip();
    for (int c = 0; few_cases[c]; c++) {
        opened o;
        open_case(few_cases[c], PRECISION_EXACT, 2, &o);
        engine_seq *seq = new_seq(&o), *fork;
        float *all = forward(&o, seq, 0, o.total);
        const float *tail = all + (size_t)(o.total - 4) * (size_t)o.vocab;
        if (engine_seq_trim(seq, o.total - 4, &err) != LLM_OK) { // windowed: the caller starts again
            assert_ok(engine_seq_trim(seq, 0, &err));
            mem_free(forward(&o, seq, 0, o.total - 4));
        }
        assert_ok(engine_seq_fork(seq, &fork, &err));
        float *first = forward(&o, fork, o.total - 4, o.total), *second = forward(&o, seq, o.total - 4, o.total);
        assert_repeated(few_cases[c], "the fork", first, tail, 4 * o.vocab);
        assert_repeated(few_cases[c], "the sequence after a fork", second, tail, 4 * o.vocab);
        assert_error(engine_seq_trim(seq, o.total + 1, &err), LLM_INVALID_ARGUMENT, "cannot trim");
        mem_free(first);
        mem_free(second);
        mem_free(all);
        engine_seq_free(fork);
        engine_seq_free(seq);
        close_case(&o);
    }
}

typedef struct saved {
    engine_state_array arrays[64];
    int count;
} saved;

static size_t array_bytes(const engine_state_array *a)
{
    return (size_t)(a->shape[0] * a->shape[1] * a->shape[2]) * dtype_size(a->type);
}

static llm_status keep_array(void *user, engine_state_array *array, llm_error *e)
{
    (void)e;
    saved *s = user;
    assert_true(s->count < 64);
    s->arrays[s->count] = *array;
    s->arrays[s->count++].data = mem_copy_bytes(array->data, array_bytes(array));
    return LLM_OK;
}

static llm_status give_array(void *user, engine_state_array *array, llm_error *e)
{
    saved *s = user;
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->arrays[i].name, array->name) != 0) continue;
        memcpy(array->data, s->arrays[i].data, array_bytes(&s->arrays[i]));
        array->first_position = s->arrays[i].first_position;
        return LLM_OK;
    }
    return error_set(e, LLM_LOAD_FAILED, "no array %s", array->name);
}

static void free_saved(saved *s)
{
    for (int i = 0; i < s->count; i++) mem_free(s->arrays[i].data);
}

static void test_saved_sequences_continue_with_the_same_bits(void **state)
{
    (void)state;
    if (!tested) skip();
    for (int c = 0; few_cases[c]; c++) {
        opened o;
        open_case(few_cases[c], PRECISION_FAST, 2, &o);
        saved s = {.count = 0}, empty = {.count = 0};
        engine_seq *seq = new_seq(&o), *restored = new_seq(&o);
        mem_free(forward(&o, seq, 0, o.total - 2));
        assert_ok(engine_seq_save(seq, keep_array, &s, &err));
        assert_error(engine_seq_restore(restored, o.total - 2, give_array, &empty, &err), LLM_LOAD_FAILED, "no array");
        assert_int_equal(engine_seq_length(restored), 0);
        assert_ok(engine_seq_restore(restored, o.total - 2, give_array, &s, &err));
        float *a = forward(&o, seq, o.total - 2, o.total), *b = forward(&o, restored, o.total - 2, o.total);
        assert_repeated(few_cases[c], "the restored sequence", b, a, 2 * o.vocab);
        assert_error(engine_seq_restore(restored, 1, give_array, &s, &err), LLM_INVALID_ARGUMENT, "empty sequence");
        free_saved(&s);
        mem_free(a);
        mem_free(b);
        engine_seq_free(seq);
        engine_seq_free(restored);
        close_case(&o);
    }
}

// The values of layer 0 without those of the first position.
static llm_status give_later_values(void *user, engine_state_array *array, llm_error *e)
{
    llm_status status = give_array(user, array, e);
    if (status != LLM_OK || strcmp(array->name, "layers.0.values") != 0) return status;
    size_t row = array_bytes(array) / (size_t)array->shape[0];
    memmove(array->data, (uint8_t *)array->data + row, array_bytes(array) - row);
    array->first_position++;
    return LLM_OK;
}

// With a window, positions that nothing sees any more may be missing, but then from every part of the layer.
static void test_parts_of_a_saved_layer_begin_at_one_position(void **state)
{
    (void)state;
    if (!tested || strcmp(tested->name, "cpu") != 0) skip();
    opened o;
    open_golden("llama-q4-g64", &o.golden);
    for (int i = 0; i < o.golden.files.desc.num_blocks; i++) o.golden.files.desc.blocks[i].attention.window = 4;
    load_case_on(tested->name, "llama-q4-g64", &(engine_options){.precision = PRECISION_FAST, .num_threads = 1}, &o);
    saved s = {.count = 0};
    engine_seq *seq = new_seq(&o), *restored = new_seq(&o);
    mem_free(forward(&o, seq, 0, o.total));
    assert_ok(engine_seq_save(seq, keep_array, &s, &err));
    assert_error(engine_seq_restore(restored, o.total, give_later_values, &s, &err), LLM_LOAD_FAILED, "layer 0");
    assert_int_equal(engine_seq_length(restored), 0);
    assert_ok(engine_seq_restore(restored, o.total, give_array, &s, &err));
    free_saved(&s);
    engine_seq_free(seq);
    engine_seq_free(restored);
    close_case(&o);
}

static void test_wrong_calls_are_refused_and_change_nothing(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o;
    open_case("llama-q4-g64", PRECISION_FAST, 2, &o);
    engine_seq *seq = new_seq(&o);
    float *logits = forward(&o, seq, 0, 5);
    int32_t bad = o.vocab;
    engine_batch_item twice[2] = {{seq, o.ids, 1, 0, false}, {seq, o.ids, 1, 0, false}};
    assert_error(engine_forward(o.model, &(engine_batch_item){seq, &bad, 1, 1, false}, 1, logits, &err), LLM_INVALID_ARGUMENT, "not in the vocabulary");
    assert_error(engine_forward(o.model, &(engine_batch_item){seq, o.ids, 1, 2, false}, 1, logits, &err), LLM_INVALID_ARGUMENT, "2 logits of 1 tokens");
    assert_error(engine_forward(o.model, twice, 2, logits, &err), LLM_INVALID_ARGUMENT, "twice");
    assert_error(engine_forward(o.model, twice, 0, logits, &err), LLM_INVALID_ARGUMENT, "empty");
    engine_interrupt(o.model, true);
    assert_error(engine_forward(o.model, twice, 1, logits, &err), LLM_CANCELLED, "interrupted");
    engine_interrupt(o.model, false);
    assert_int_equal(engine_seq_length(seq), 5);
    int32_t *many = mem_alloc_zero((size_t)o.golden.files.desc.context_length, sizeof *many);
    engine_batch_item too_long = {seq, many, o.golden.files.desc.context_length, 0, false};
    assert_error(engine_forward(o.model, &too_long, 1, logits, &err), LLM_CONTEXT_EXCEEDED, "exceed");
    assert_int_equal(err.required, (uint64_t)o.golden.files.desc.context_length + 5);
    engine *none;
    assert_error(engine_open("abacus", &(engine_options){0}, &none, &err), LLM_UNSUPPORTED_FORMAT, "abacus");
    assert_error(engine_open(tested->name, &(engine_options){.kv_bits = 5}, &none, &err), LLM_INVALID_ARGUMENT, "5 bits");
    if (!strcmp(tested->name, "cpu"))
        assert_error(engine_open("cpu", &(engine_options){.kv_bits = 8, .precision = PRECISION_EXACT}, &none, &err), LLM_INVALID_ARGUMENT, "not exact");
    mem_free(many);
    mem_free(logits);
    engine_seq_free(seq);
    close_case(&o);
}

// ---- The cpu engine's cache of other widths

static float *forward_all(engine_model *model, const opened *o, int cut, engine_seq **seq)
{
    float *logits = mem_alloc_zero((size_t)o->total, (size_t)o->vocab * sizeof *logits);
    assert_ok(engine_seq_create(model, seq, &err));
    assert_ok(engine_forward(model, &(engine_batch_item){*seq, o->ids, cut, cut, false}, 1, logits, &err));
    assert_ok(engine_forward(model, &(engine_batch_item){*seq, o->ids + cut, o->total - cut, o->total - cut, false}, 1,
                             logits + (size_t)cut * (size_t)o->vocab, &err));
    return logits;
}

// Fewer bits take less memory and stay near; a fork, a trim and a saved sequence go on with the same bits.
static void test_a_cache_of_8_bits(void **state)
{
    (void)state;
    if (!tested || strcmp(tested->name, "cpu") != 0) skip();
    for (int c = 0; few_cases[c]; c++) {
        opened o;
        engine *device;
        engine_model *model;
        engine_seq *wide, *seq, *fork, *restored;
        engine_memory memory, wide_memory;
        saved s = {.count = 0};
        open_case(few_cases[c], PRECISION_FAST, 2, &o);
        engine_weights weights = weights_for_engine(&o.golden.files.weights);
        assert_ok(engine_open("cpu", &(engine_options){.num_threads = 2, .kv_bits = 8}, &device, &err));
        assert_ok(engine_model_load(device, &o.golden.files.desc, &weights, NULL, NULL, &model, &err));
        float *a = forward_all(o.model, &o, o.total - 2, &wide), *b = forward_all(model, &o, o.total - 2, &seq), largest = 0, worst = 0;
        for (int i = 0; i < o.total * o.vocab; i++) largest = fmaxf(largest, fabsf(a[i])), worst = fmaxf(worst, fabsf(a[i] - b[i]));
        if (!(worst > 0 && worst < 0.1f * largest)) fail_msg("%s: 8 bits are %g away of %g", few_cases[c], worst, largest);
        engine_model_memory(model, &memory);
        engine_model_memory(o.model, &wide_memory);
        assert_true(memory.kv_bytes < wide_memory.kv_bytes);

        size_t row = (size_t)o.vocab;
        engine_batch_item last = {.tokens = o.ids + o.total - 2, .num_tokens = 2, .num_logits = 2};
        const float *wanted = b + (size_t)(o.total - 2) * row;
        float *again = mem_alloc_zero(2 * row, sizeof *again);
        assert_ok(engine_seq_trim(seq, o.total - 2, &err));
        assert_ok(engine_seq_fork(seq, &fork, &err));
        assert_ok(engine_seq_save(seq, keep_array, &s, &err));
        assert_ok(engine_seq_create(model, &restored, &err));
        assert_ok(engine_seq_restore(restored, o.total - 2, give_array, &s, &err));
        engine_seq *all[] = {seq, fork, restored};
        for (int i = 0; i < 3; i++) {
            last.seq = all[i];
            assert_ok(engine_forward(model, &last, 1, again, &err));
            assert_memory_equal(again, wanted, 2 * row * sizeof *again);
            engine_seq_free(all[i]);
        }
        free_saved(&s);
        mem_free(a), mem_free(b), mem_free(again);
        engine_seq_free(wide);
        engine_model_free(model);
        engine_close(device);
        close_case(&o);
    }
}

// ---- Long contexts

typedef struct long_context {
    engine *device;
    engine_model *model;
    engine_seq *seq;
} long_context;

enum { LONG_CONTEXT = 1290 }; // so many segments that attention takes them in two passes

// The case's model, whatever its context length, behind LONG_CONTEXT tokens of a prompt.
static long_context open_long(opened *o, int threads)
{
    long_context l;
    int32_t tokens[LONG_CONTEXT];
    model_desc desc = o->golden.files.desc;
    engine_weights weights = weights_for_engine(&o->golden.files.weights);
    desc.context_length = LONG_CONTEXT + 100;
    for (int i = 0; i < LONG_CONTEXT; i++) tokens[i] = o->ids[i * i % o->total];
    assert_ok(engine_open("cpu", &(engine_options){.num_threads = threads}, &l.device, &err));
    assert_ok(engine_model_load(l.device, &desc, &weights, NULL, NULL, &l.model, &err));
    assert_ok(engine_seq_create(l.model, &l.seq, &err));
    assert_ok(engine_forward(l.model, &(engine_batch_item){l.seq, tokens, LONG_CONTEXT, 0, false}, 1, NULL, &err));
    return l;
}

static void close_long(long_context *l)
{
    engine_seq_free(l->seq);
    engine_model_free(l->model);
    engine_close(l->device);
}

// One by one on one thread; together, precise, on three; and beside others in a batch: the same bits.
static void test_long_contexts_have_the_same_bits_however_they_are_read(void **state)
{
    (void)state;
    enum { TOKENS = 7 };
    if (!tested || strcmp(tested->name, "cpu") != 0) skip();
    static const char *const names[] = {"llama-q4-g64", "gemma2", NULL};
    for (int c = 0; names[c]; c++) {
        opened o;
        open_case(names[c], PRECISION_FAST, 1, &o);
        long_context single = open_long(&o, 1), several = open_long(&o, 3);
        size_t row = (size_t)o.vocab;
        float *expected = mem_alloc_zero(TOKENS * row, sizeof *expected), *logits = mem_alloc_zero(TOKENS * row, sizeof *logits);
        engine_seq *beside[2];
        for (int i = 0; i < 2; i++) assert_ok(engine_seq_fork(several.seq, &beside[i], &err));
        for (int i = 0; i < TOKENS; i++)
            assert_ok(engine_forward(single.model, &(engine_batch_item){single.seq, o.ids + i, 1, 1, false}, 1, expected + (size_t)i * row, &err));
        assert_ok(engine_forward(several.model, &(engine_batch_item){several.seq, o.ids, TOKENS, TOKENS, true}, 1, logits, &err));
        assert_memory_equal(logits, expected, TOKENS * row * sizeof *logits);
        for (int i = 0; i < TOKENS; i++) {
            engine_batch_item items[2] = {{beside[0], o.ids + i, 1, 1, false}, {beside[1], o.ids + i, 1, 1, false}};
            assert_ok(engine_forward(several.model, items, 2, logits, &err));
            assert_memory_equal(logits, expected + (size_t)i * row, row * sizeof *logits);
            assert_memory_equal(logits + row, logits, row * sizeof *logits);
        }
        for (int i = 0; i < 2; i++) engine_seq_free(beside[i]);
        mem_free(expected), mem_free(logits);
        close_long(&single), close_long(&several);
        close_case(&o);
    }
}

// Logits behind LONG_CONTEXT tokens that are all `token`.
static void read_many(const long_context *l, engine_seq *seq, int32_t token, float *logits)
{
    int32_t tokens[LONG_CONTEXT];
    for (int i = 0; i < LONG_CONTEXT; i++) tokens[i] = token;
    assert_ok(engine_forward(l->model, &(engine_batch_item){seq, tokens, LONG_CONTEXT, 1, false}, 1, logits, &err));
}

static void test_forks_do_not_share_what_an_interrupted_call_has_reserved(void **state)
{
    (void)state;
    if (!tested || strcmp(tested->name, "cpu") != 0) skip();
    opened o;
    open_case("llama-q4-g64", PRECISION_FAST, 1, &o);
    long_context l = open_long(&o, 2);
    engine_seq *seqs[2], *alone[2];
    float *logits = mem_alloc_zero((size_t)o.vocab, sizeof *logits), *wanted = mem_alloc_zero((size_t)o.vocab, sizeof *wanted);
    for (int i = 0; i < 2; i++) {
        assert_ok(engine_seq_create(l.model, &alone[i], &err));
        read_many(&l, alone[i], o.ids[i], logits);
    }
    int32_t none[LONG_CONTEXT] = {0};
    assert_ok(engine_seq_create(l.model, &seqs[0], &err));
    engine_interrupt(l.model, true);
    assert_error(engine_forward(l.model, &(engine_batch_item){seqs[0], none, LONG_CONTEXT, 0, false}, 1, NULL, &err), LLM_CANCELLED, "interrupted");
    engine_interrupt(l.model, false);
    assert_ok(engine_seq_fork(seqs[0], &seqs[1], &err));
    for (int i = 0; i < 2; i++) read_many(&l, seqs[i], o.ids[i], logits);
    for (int i = 0; i < 2; i++) { // each still knows its own
        engine_batch_item next = {.tokens = o.ids + 2, .num_tokens = 1, .num_logits = 1};
        next.seq = alone[i];
        assert_ok(engine_forward(l.model, &next, 1, wanted, &err));
        next.seq = seqs[i];
        assert_ok(engine_forward(l.model, &next, 1, logits, &err));
        assert_memory_equal(logits, wanted, (size_t)o.vocab * sizeof *logits);
        engine_seq_free(seqs[i]), engine_seq_free(alone[i]);
    }
    mem_free(logits), mem_free(wanted);
    close_long(&l);
    close_case(&o);
}

typedef struct interrupter {
    engine_model *model;
    atomic_bool go;
    int delay; // in steps of waiting
} interrupter;

static void *interrupt_soon(void *user)
{
    interrupter *i = user;
    while (!atomic_load(&i->go)) {}
    for (volatile int step = 0; step < i->delay; step++) {}
    engine_interrupt(i->model, true);
    return NULL;
}

// Wherever an interrupt comes, a pass either was complete or has changed nothing.
static void test_an_interrupt_from_another_thread_leaves_the_sequence_as_it_was(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o;
    open_case("gemma3-text-q4-g32", PRECISION_FAST, 2, &o);
    engine_seq *undisturbed = new_seq(&o), *seq = new_seq(&o);
    int half = o.total / 2, interrupted = 0;
    mem_free(forward(&o, undisturbed, 0, half));
    mem_free(forward(&o, seq, 0, half));
    float *expected = forward(&o, undisturbed, half, o.total);
    float *logits = mem_alloc_zero((size_t)(o.total - half) * (size_t)o.vocab, sizeof *logits);
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        interrupter other = {.model = o.model, .delay = i * 40};
        pthread_create(&thread, NULL, interrupt_soon, &other);
        engine_batch_item item = {seq, o.ids + half, o.total - half, o.total - half, false};
        atomic_store(&other.go, true);
        llm_status status = engine_forward(o.model, &item, 1, logits, &err);
        pthread_join(thread, NULL);
        engine_interrupt(o.model, false);
        assert_true(status == LLM_OK || status == LLM_CANCELLED);
        interrupted += status == LLM_CANCELLED;
        assert_int_equal(engine_seq_length(seq), status == LLM_OK ? o.total : half);
        if (status == LLM_OK) assert_repeated("gemma3-text-q4-g32", "an undisturbed pass", logits, expected, (o.total - half) * o.vocab);
        assert_ok(engine_seq_trim(seq, half, &err));
    }
    float *after = forward(&o, seq, half, o.total);
    assert_repeated("gemma3-text-q4-g32", "what follows", after, expected, (o.total - half) * o.vocab);
    assert_true(interrupted > 0);
    mem_free(after);
    mem_free(expected);
    mem_free(logits);
    engine_seq_free(undisturbed);
    engine_seq_free(seq);
    close_case(&o);
}

static bool stop_at_once(void *user, double fraction) { return (void)user, (void)fraction, false; }

static void test_loads_can_be_cancelled_and_run_out_of_memory(void **state)
{
    (void)state;
    if (!tested) skip();
    golden g;
    engine *device;
    engine_model *model;
    open_golden("gemma3-text-q4-g32", &g);
    engine_weights weights = weights_for_engine(&g.files.weights);
    weights.release = NULL;
    assert_ok(engine_open(tested->name, &(engine_options){.num_threads = 2}, &device, &err));
    assert_error(engine_model_load(device, &g.files.desc, &weights, stop_at_once, NULL, &model, &err), LLM_CANCELLED, "cancelled");
    llm_status status = LLM_OUT_OF_MEMORY;
    int failures = 0;
    for (; tested->fails_allocations && status == LLM_OUT_OF_MEMORY; failures++) {
        mem_fail_after(failures);
        status = engine_model_load(device, &g.files.desc, &weights, NULL, NULL, &model, &err);
        mem_fail_after(-1);
    }
    if (tested->fails_allocations) {
        assert_int_equal(status, LLM_OK);
        assert_true(failures > 20);
        engine_model_free(model);
    }
    engine_close(device);
    close_golden(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(test_exact_precision_agrees_with_mlx),
        ENGINE_TEST(test_fast_precision_is_close_to_mlx),
        ENGINE_TEST(test_batches_and_threads_do_not_change_a_bit),
        ENGINE_TEST(test_late_threads_do_not_change_a_bit),
        ENGINE_TEST(test_precise_tokens_have_the_bits_of_single_ones),
        ENGINE_TEST(test_fork_and_trim_continue_where_they_should),
        ENGINE_TEST(test_saved_sequences_continue_with_the_same_bits),
        ENGINE_TEST(test_parts_of_a_saved_layer_begin_at_one_position),
        ENGINE_TEST(test_wrong_calls_are_refused_and_change_nothing),
        ENGINE_TEST(test_a_cache_of_8_bits),
        ENGINE_TEST(test_long_contexts_have_the_same_bits_however_they_are_read),
        ENGINE_TEST(test_forks_do_not_share_what_an_interrupted_call_has_reserved),
        ENGINE_TEST(test_an_interrupt_from_another_thread_leaves_the_sequence_as_it_was),
        ENGINE_TEST(test_loads_can_be_cancelled_and_run_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
