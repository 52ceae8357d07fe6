// Adapters in every engine: the logits of mlx-lm and PEFT, switching, mixing, and a base that keeps its bits.
#include "testing.h"
#include "base/mem.h"
#include "engine/engines.h"
#include "nn/golden_adapters.h"
#include <math.h>

static llm_error err;

typedef struct opened {
    golden_adapter golden;
    engine *device;
    engine_model *model;
    engine_adapter *adapter;
    size_t vocab;
} opened;

static void open_adapted(const char *name, engine_precision precision, int threads, opened *o)
{
    open_golden_adapter(name, &o->golden);
    const model_desc *desc = &o->golden.files.desc;
    engine_weights weights = weights_for_engine(&o->golden.files.weights);
    assert_ok(engine_open(tested->name, &(engine_options){.precision = precision, .num_threads = threads, .cache_limit = 20 << 20}, &o->device, &err));
    assert_ok(engine_model_load(o->device, desc, &weights, NULL, NULL, &o->model, &err));
    assert_ok(engine_adapter_load(o->model, desc, o->golden.adapter.layers, o->golden.adapter.num_layers, &o->adapter, &err));
    o->vocab = (size_t)desc->vocab_size;
}

static void close_adapted(opened *o)
{
    engine_adapter_free(o->adapter);
    engine_model_free(o->model);
    engine_close(o->device);
    close_golden_adapter(&o->golden);
}

// All tokens on a fresh sequence, `step` in a call; the logits are owned.
static float *forward_by(const opened *o, const adapter_use *uses, int count, int step)
{
    engine_seq *seq;
    int tokens = o->golden.num_ids;
    float *logits = mem_alloc_zero((size_t)tokens * o->vocab, sizeof *logits);
    assert_ok(engine_seq_create(o->model, &seq, &err));
    assert_ok(engine_seq_set_adapters(seq, uses, count, &err));
    for (int done = 0; done < tokens; done += step) {
        int now = tokens - done < step ? tokens - done : step;
        engine_batch_item item = {seq, o->golden.ids + done, now, now, false};
        assert_ok(engine_forward(o->model, &item, 1, logits + (size_t)done * o->vocab, &err));
    }
    engine_seq_free(seq);
    return logits;
}

static float *forward(const opened *o, const adapter_use *uses, int count) { return forward_by(o, uses, count, o->golden.num_ids); }

static float *forward_with(const opened *o, float strength)
{
    adapter_use use = {o->adapter, strength};
    return forward(o, &use, 1);
}

static bool same_bits(const opened *o, const float *a, const float *b)
{
    return memcmp(a, b, (size_t)o->golden.num_ids * o->vocab * sizeof *a) == 0;
}

static double largest_difference(const opened *o, const float *a, const float *b)
{
    double worst = 0;
    for (size_t i = 0; i < (size_t)o->golden.num_ids * o->vocab; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

typedef void (*case_check)(const char *name, double *worst);

static void for_all(case_check check, const char *what)
{
    char *names[MAX_ADAPTERS];
    int count = list_adapters(names);
    double worst = 0;
    assert_true(count >= 15);
    for (int i = 0; i < count; i++) {
        check(names[i], &worst);
        mem_free(names[i]);
    }
    print_message("%s: %d adapters, %s: %.1e\n", tested->name, count, what, worst);
}

static void check_exact(const char *name, double *worst)
{
    opened o;
    open_adapted(name, PRECISION_EXACT, 2, &o);
    float *logits = forward_with(&o, 1);
    double error = compare_rows(&o.golden, "logits", logits);
    if (!(error <= 1e-4)) fail_msg("%s: the logits differ by %.2e", name, error);
    *worst = fmax(*worst, error);
    mem_free(logits);
    close_adapted(&o);
}

static void test_logits_are_those_of_the_makers(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all(check_exact, "exact precision, largest relative difference from their makers");
}

static void check_fast(const char *name, double *worst)
{
    opened o;
    open_adapted(name, PRECISION_FAST, 2, &o);
    float *decoded = forward_by(&o, &(adapter_use){o.adapter, 1}, 1, 1), *prefilled = forward_with(&o, 1);
    double error = compare_rows(&o.golden, "logits", decoded), prefill_error = compare_rows(&o.golden, "logits", prefilled);
    if (!(error <= tested->fast)) fail_msg("%s: the logits of decoded tokens differ by %.2e", name, error);
    if (!(prefill_error <= tested->fast_prompt)) fail_msg("%s: the logits of prefilled tokens differ by %.2e", name, prefill_error);
    *worst = fmax(*worst, error);
    mem_free(decoded);
    mem_free(prefilled);
    close_adapted(&o);
}

// (Nor is mlx-lm in a model's own type close to itself in float32, on random weights: test_mlx_adapters.c compares in it.)
static void test_fast_precision_is_close(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all(check_fast, "fast precision, largest relative difference of decoded tokens from their makers");
}

// Before an adapter is loaded, beside it, with it at no strength, after it has been used, and after it is gone.
static void check_base(const char *name, double *worst)
{
    (void)worst;
    opened o;
    open_adapted(name, PRECISION_FAST, 2, &o);
    engine_adapter_free(o.adapter);
    float *before = forward(&o, NULL, 0);
    assert_ok(engine_adapter_load(o.model, &o.golden.files.desc, o.golden.adapter.layers, o.golden.adapter.num_layers, &o.adapter, &err));
    engine_memory with, without;
    engine_model_memory(o.model, &with);
    float *adapted = forward_with(&o, 1), *beside = forward(&o, NULL, 0), *nothing = forward_with(&o, 0);
    engine_adapter_free(o.adapter);
    o.adapter = NULL;
    float *after = forward(&o, NULL, 0);
    engine_model_memory(o.model, &without);
    if (same_bits(&o, before, adapted)) fail_msg("%s: the adapter changes nothing", name);
    if (!same_bits(&o, before, beside)) fail_msg("%s: an adapter that is not used changes something", name);
    if (!same_bits(&o, before, nothing)) fail_msg("%s: an adapter of strength 0 changes something", name);
    if (!same_bits(&o, before, after)) fail_msg("%s: the base has changed", name);
    assert_true(with.weights_bytes > without.weights_bytes);
    float *all[] = {before, adapted, beside, nothing, after};
    for (int i = 0; i < 5; i++) mem_free(all[i]);
    close_adapted(&o);
}

static void test_the_base_keeps_its_bits(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all(check_base, "the base beside and after them, differing bits");
}

// Three sequences of one batch, two with the adapter, token by token, on two threads: what each is alone.
static void check_batches(const char *name, double *worst)
{
    (void)worst;
    opened o, single;
    open_adapted(name, repeatable_precision(), 2, &o);
    open_adapted(name, repeatable_precision(), 1, &single);
    float *adapted = forward_by(&single, &(adapter_use){single.adapter, 1}, 1, 1), *plain = forward_by(&single, NULL, 0, 1);
    float *logits = mem_alloc_zero(3 * o.vocab, sizeof *logits);
    engine_seq *seqs[3];
    for (int k = 0; k < 3; k++) {
        assert_ok(engine_seq_create(o.model, &seqs[k], &err));
        if (k > 0) assert_ok(engine_seq_set_adapters(seqs[k], &(adapter_use){o.adapter, 1}, 1, &err));
    }
    for (int i = 0; i < o.golden.num_ids; i++) {
        engine_batch_item items[3];
        for (int k = 0; k < 3; k++) items[k] = (engine_batch_item){seqs[k], o.golden.ids + i, 1, 1, false};
        assert_ok(engine_forward(o.model, items, 3, logits, &err));
        for (int k = 0; k < 3; k++)
            assert_repeated(name, k ? "an adapted sequence in a batch" : "the plain sequence in a batch", logits + (size_t)k * o.vocab,
                            (k ? adapted : plain) + (size_t)i * o.vocab, (int)o.vocab);
    }
    mem_free(adapted);
    mem_free(plain);
    mem_free(logits);
    for (int k = 0; k < 3; k++) engine_seq_free(seqs[k]);
    close_adapted(&o);
    close_adapted(&single);
}

static void test_batches_and_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    if (!tested) skip();
    for_all(check_batches, "batches and threads, differing bits");
}

// Long enough for the work to be shared among threads, and for a second chunk.
static void test_long_prompts_are_the_same_on_any_number_of_threads(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o[2];
    float *logits[2];
    int32_t tokens[240];
    for (int i = 0; i < 240; i++) tokens[i] = i * 7 % 60;
    for (int k = 0; k < 2; k++) {
        engine_seq *seq;
        open_adapted("qwen3-lora-wide", repeatable_precision(), k + 1, &o[k]);
        logits[k] = mem_alloc_zero(240 * o[k].vocab, sizeof *logits[k]);
        assert_ok(engine_seq_create(o[k].model, &seq, &err));
        assert_ok(engine_seq_set_adapters(seq, &(adapter_use){o[k].adapter, 1}, 1, &err));
        int step = k ? 240 : 60;
        for (int at = 0; at < 240; at += step) {
            engine_batch_item item = {seq, tokens + at, step, step, false};
            assert_ok(engine_forward(o[k].model, &item, 1, logits[k] + (size_t)at * o[k].vocab, &err));
        }
        engine_seq_free(seq);
    }
    assert_repeated("qwen3-lora-wide", "a prompt in other pieces", logits[0], logits[1], (int)(240 * o[0].vocab));
    for (int k = 0; k < 2; k++) {
        mem_free(logits[k]);
        close_adapted(&o[k]);
    }
}

// The same adapter twice at half strength is the adapter, also where rows are rescaled.
static void test_several_add_up(void **state)
{
    (void)state;
    if (!tested) skip();
    const char *const names[] = {"llama-lora", "phi3-dora-fused", "chat-dora", NULL};
    for (int i = 0; names[i]; i++) {
        opened o;
        engine_adapter *twin;
        open_adapted(names[i], PRECISION_EXACT, 2, &o);
        assert_ok(engine_adapter_load(o.model, &o.golden.files.desc, o.golden.adapter.layers, o.golden.adapter.num_layers, &twin, &err));
        adapter_use halves[2] = {{o.adapter, 0.5f}, {twin, 0.5f}}, most[2] = {{o.adapter, 3}, {twin, -2}};
        float *whole = forward_with(&o, 1), *sum = forward(&o, halves, 2), *rest = forward(&o, most, 2), *half = forward_with(&o, 0.5f);
        assert_true(compare_rows(&o.golden, "logits", sum) < 1e-4);
        assert_true(compare_rows(&o.golden, "logits", rest) < 1e-4);
        assert_true(largest_difference(&o, whole, half) > 1e-2);
        float *all[] = {whole, sum, rest, half};
        for (int k = 0; k < 4; k++) mem_free(all[k]);
        engine_adapter_free(twin);
        close_adapted(&o);
    }
}

static void test_a_switch_empties_the_sequence(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o;
    engine_seq *seq, *fork;
    open_adapted("gemma3-lora-wrapper", PRECISION_EXACT, 2, &o);
    size_t row = o.vocab * sizeof(float);
    float *adapted = forward_with(&o, 1), *logits = mem_alloc_zero(1, row);
    int n = o.golden.num_ids;
    engine_batch_item head = {.tokens = o.golden.ids, .num_tokens = n - 1}, last = {.tokens = o.golden.ids + n - 1, .num_tokens = 1, .num_logits = 1};
    assert_ok(engine_seq_create(o.model, &seq, &err));
    head.seq = seq;
    assert_ok(engine_forward(o.model, &head, 1, logits, &err));
    assert_ok(engine_seq_set_adapters(seq, NULL, 0, &err)); // the same: nothing happens
    assert_int_equal(engine_seq_length(seq), n - 1);
    adapter_use use = {o.adapter, 1};
    assert_ok(engine_seq_set_adapters(seq, &use, 1, &err));
    assert_int_equal(engine_seq_length(seq), 0);
    assert_ok(engine_forward(o.model, &head, 1, logits, &err));
    assert_ok(engine_seq_set_adapters(seq, &use, 1, &err)); // again the same
    assert_int_equal(engine_seq_length(seq), n - 1);
    assert_ok(engine_seq_fork(seq, &fork, &err)); // forks go on with the adapter, and keep it alive
    engine_seq_free(seq);
    engine_adapter_free(o.adapter);
    o.adapter = NULL;
    last.seq = fork;
    assert_ok(engine_forward(o.model, &last, 1, logits, &err));
    assert_repeated("gemma3-lora-wrapper", "a fork", logits, adapted + (size_t)(n - 1) * o.vocab, (int)o.vocab);
    use.strength = 0.5f;
    assert_ok(engine_seq_set_adapters(fork, &use, 1, &err)); // another strength is another adapter
    assert_int_equal(engine_seq_length(fork), 0);
    engine_seq_free(fork);
    mem_free(adapted);
    mem_free(logits);
    close_adapted(&o);
}

static void test_wrong_calls_are_refused(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o, other;
    engine_seq *seq;
    engine_adapter *none;
    open_adapted("chat-lora", PRECISION_EXACT, 1, &o);
    open_adapted("chat-lora", PRECISION_EXACT, 1, &other);
    const model_desc *desc = &o.golden.files.desc;
    adapter_layer twice[2] = {o.golden.adapter.layers[0], o.golden.adapter.layers[0]}, embedding = twice[0], nothing = twice[0];
    embedding.tensor = desc->embedding;
    nothing.rank = 0;
    assert_error(engine_adapter_load(o.model, desc, twice, 2, &none, &err), LLM_INVALID_ARGUMENT, "twice");
    assert_error(engine_adapter_load(o.model, desc, &embedding, 1, &none, &err), LLM_INVALID_ARGUMENT, "no linear layer");
    assert_error(engine_adapter_load(o.model, desc, &nothing, 1, &none, &err), LLM_INVALID_ARGUMENT, "no linear layer");
    assert_null(none);
    assert_ok(engine_seq_create(o.model, &seq, &err));
    adapter_use uses[ENGINE_MAX_ADAPTERS + 1] = {{other.adapter, 1}};
    assert_error(engine_seq_set_adapters(seq, uses, 1, &err), LLM_INVALID_ARGUMENT, "another model");
    assert_error(engine_seq_set_adapters(seq, uses, ENGINE_MAX_ADAPTERS + 1, &err), LLM_INVALID_ARGUMENT, "17 adapters");
    engine_seq_free(seq);
    close_adapted(&o);
    close_adapted(&other);
}

static void test_memory_may_run_out(void **state)
{
    (void)state;
    if (!tested) skip();
    opened o;
    engine_seq *seq;
    open_adapted("chat-dora", PRECISION_EXACT, 1, &o);
    engine_adapter_free(o.adapter);
    llm_status status = LLM_OUT_OF_MEMORY;
    int failures = 0;
    for (; status == LLM_OUT_OF_MEMORY; failures++) {
        mem_fail_after(failures);
        status = engine_adapter_load(o.model, &o.golden.files.desc, o.golden.adapter.layers, o.golden.adapter.num_layers, &o.adapter, &err);
        mem_fail_after(-1);
    }
    assert_int_equal(status, LLM_OK);
    assert_true(failures > 10);
    adapter_use use = {o.adapter, 1};
    assert_ok(engine_seq_create(o.model, &seq, &err));
    mem_fail_after(0);
    status = engine_seq_set_adapters(seq, &use, 1, &err);
    mem_fail_after(-1);
    assert_int_equal(status, LLM_OUT_OF_MEMORY);
    assert_ok(engine_seq_set_adapters(seq, &use, 1, &err));
    engine_seq_free(seq);
    close_adapted(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(test_logits_are_those_of_the_makers),
        CPU_TEST(test_fast_precision_is_close),
        ENGINE_TEST(test_the_base_keeps_its_bits),
        ENGINE_TEST(test_batches_and_threads_do_not_change_a_bit),
        ENGINE_TEST(test_long_prompts_are_the_same_on_any_number_of_threads),
        ENGINE_TEST(test_several_add_up),
        ENGINE_TEST(test_a_switch_empties_the_sequence),
        ENGINE_TEST(test_wrong_calls_are_refused),
        CPU_TEST(test_memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
