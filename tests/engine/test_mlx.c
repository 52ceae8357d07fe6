// What only the MLX engine does: working ahead, sliding windows, limits of memory, errors that MLX throws, unloading.
#include "testing.h"
#include "engine/mlx_case.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

// ---- The model's own types

// In float16 and bfloat16, the same operations in the same order: the same bits as mlx-lm's, but for what frequencies that
// come as numbers instead of as a base can change.
static void test_fast_precision_computes_in_the_models_types(void **state)
{
    NEED_MLX(state);
    enum { TOKENS = 32 };
    char *names[MAX_CASES];
    int count = list_cases(names), same = 0;
    double worst = 0;
    yyjson_doc *doc;
    assert_ok(json_read_file(GOLDEN_DIR "/own_types.json", 1 << 20, &doc, &err));
    for (int i = 0; i < count; i++) {
        opened o;
        open_case_on("mlx", names[i], &(engine_options){.precision = PRECISION_FAST, .cache_limit = 20 << 20}, 0, &o);
        yyjson_val *expected = yyjson_obj_get(yyjson_doc_get_root(doc), names[i]);
        int tokens = o.total < TOKENS ? o.total : TOKENS;
        engine_seq *seq = new_seq(&o);
        float *row = mem_alloc_zero((size_t)o.vocab, sizeof *row);
        assert_ok(engine_forward(o.model, &(engine_batch_item){seq, o.ids, tokens, 1, false}, 1, row, &err));
        double difference = compare_own_types(expected, row, o.vocab);
        if (!(difference <= 1e-2)) fail_msg("%s: logits differ by %.1e", names[i], difference);
        same += difference <= 1e-5; // the file has six digits
        worst = fmax(worst, difference);
        mem_free(row);
        engine_seq_free(seq);
        close_case(&o);
        mem_free(names[i]);
    }
    print_message("%d of %d models the same as mlx-lm in their own types, largest relative difference %.1e\n", same, count, worst);
    assert_true(same >= count - 5);
    json_free(doc);
}

// ---- Working ahead

// Greedy tokens one by one, which are guessed right, then others, which are not, with forks and trims between: always
// the logits of one pass over all.
static void check_ahead(const char *name, bool trim)
{
    opened o;
    open_case_on("mlx", name, &exact, 2000, &o);
    enum { STEPS = 40 };
    int32_t tokens[STEPS + 1] = {3};
    float *logits = mem_alloc_zero((size_t)o.vocab * (STEPS + 1), sizeof *logits), *all = mem_alloc_zero((size_t)o.vocab * STEPS, sizeof *all);
    engine_seq *seq = new_seq(&o), *whole = new_seq(&o), *fork;
    for (int i = 0; i < STEPS; i++) {
        float *row = logits + (size_t)i * (size_t)o.vocab;
        if (i == 20) { // the sequence that was worked ahead for goes on as a fork, and the old one is gone
            assert_ok(engine_seq_fork(seq, &fork, &err));
            engine_seq_free(seq);
            seq = fork;
        }
        if (i == 30 && trim) { // and back, over what was computed ahead
            assert_ok(engine_seq_trim(seq, 29, &err));
            assert_ok(engine_forward(o.model, &(engine_batch_item){seq, tokens + 29, 1, 1, false}, 1, row, &err));
        }
        assert_ok(engine_forward(o.model, &(engine_batch_item){seq, tokens + i, 1, 1, false}, 1, row, &err));
        assert_int_equal(engine_seq_length(seq), i + 1);
        int best = largest_logit(row, o.vocab);
        tokens[i + 1] = i % 13 == 12 ? (best + 1) % o.vocab : best;
    }
    assert_ok(engine_forward(o.model, &(engine_batch_item){whole, tokens, STEPS, STEPS, false}, 1, all, &err));
    assert_close(name, logits, all, STEPS * o.vocab);
    engine_seq_free(seq);
    engine_seq_free(whole);
    mem_free(logits);
    mem_free(all);
    close_case(&o);
}

static void test_working_ahead_changes_nothing(void **state)
{
    NEED_MLX(state);
    setenv("LLMLOCAL_MLX_AHEAD", "1", 1);
    check_ahead("llama-tied", true);
    check_ahead("gemma2", true);
    check_ahead("gemma3-text", false); // a windowed layer does not go back
    unsetenv("LLMLOCAL_MLX_AHEAD");
    check_ahead("llama-tied", true);
}

// The last token that fits has no successor: when it was computed ahead, its call begins nothing.
static void check_last_token(const char *ahead, llm_status expected)
{
    enum { CONTEXT = 24 };
    opened o;
    fail_function fail_after = find_hook();
    setenv("LLMLOCAL_MLX_AHEAD", ahead, 1);
    open_case_on("mlx", "llama-tied", &exact, CONTEXT, &o);
    engine_seq *seq = new_seq(&o);
    float *row = mem_alloc_zero((size_t)o.vocab, sizeof *row);
    int32_t token = 3;
    for (int i = 0; i < CONTEXT; i++) {
        if (i == CONTEXT - 1) fail_after(0);
        llm_status status = engine_forward(o.model, &(engine_batch_item){seq, &token, 1, 1, false}, 1, row, &err);
        fail_after(-1);
        assert_int_equal(status, i == CONTEXT - 1 ? expected : LLM_OK);
        token = largest_logit(row, o.vocab);
    }
    mem_free(row);
    engine_seq_free(seq);
    close_case(&o);
    unsetenv("LLMLOCAL_MLX_AHEAD");
}

static void test_greedy_tokens_are_computed_ahead(void **state)
{
    NEED_MLX(state);
    check_last_token("1", LLM_OK);
    check_last_token("0", LLM_OUT_OF_MEMORY);
}

// ---- Windows

// 1,200 tokens in uneven pieces, over several steps of a windowed layer's memory, beside the processor's engine.
static void check_window(const char *name)
{
    static const int pieces[] = {1, 300, 7, 64, 1, 1, 500, 33, 256, 37};
    opened ours, theirs;
    open_case_on("mlx", name, &exact, 2000, &ours);
    open_case_on("cpu", name, &exact, 2000, &theirs);
    engine_seq *a = new_seq(&ours), *b = new_seq(&theirs);
    float *row_a = mem_alloc_zero((size_t)ours.vocab, sizeof *row_a), *row_b = mem_alloc_zero((size_t)ours.vocab, sizeof *row_b);
    int32_t tokens[500];
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        for (int i = 0; i < pieces[p]; i++) tokens[i] = (int32_t)((i * 7 + (int)p * 31) % ours.vocab);
        assert_ok(engine_forward(ours.model, &(engine_batch_item){a, tokens, pieces[p], 1, false}, 1, row_a, &err));
        assert_ok(engine_forward(theirs.model, &(engine_batch_item){b, tokens, pieces[p], 1, false}, 1, row_b, &err));
        assert_close(name, row_a, row_b, ours.vocab);
    }
    engine_memory memory;
    engine_model_memory(ours.model, &memory);
    print_message("%s: %llu bytes of keys and values for %d tokens\n", name, (unsigned long long)memory.kv_bytes, engine_seq_length(a));
    engine_seq_free(a);
    engine_seq_free(b);
    engine_model_memory(ours.model, &memory);
    assert_int_equal(memory.kv_bytes, 0);
    mem_free(row_a);
    mem_free(row_b);
    close_case(&ours);
    close_case(&theirs);
}

static void test_windows_slide(void **state)
{
    NEED_MLX(state);
    check_window("gemma3-text");
    check_window("llama-layer-types");
    check_window("gemma2");
    check_window("phi3-longrope");
}

// ---- Limits and errors

static void test_memory_limits_are_errors_and_the_next_request_works(void **state)
{
    NEED_MLX(state);
    golden g;
    engine *device;
    engine_model *model;
    engine_options options = exact;
    options.memory_limit = 1000;
    open_golden("llama-tied", &g);
    engine_weights weights = weights_for_engine(&g.files.weights);
    weights.release = NULL;
    assert_ok(engine_open("mlx", &options, &device, &err));
    assert_error(engine_model_load(device, &g.files.desc, &weights, NULL, NULL, &model, &err), LLM_INSUFFICIENT_MEMORY, "limit is 1000");
    assert_true(err.available == 1000 && err.required > 1000);
    engine_close(device);
    close_golden(&g);

    opened o;
    options.memory_limit = 2 << 20;
    open_case_on("mlx", "llama-tied", &options, 1 << 20, &o);
    int32_t *tokens = mem_alloc_zero(1 << 19, sizeof *tokens);
    float *logits = mem_alloc_zero((size_t)o.vocab, sizeof *logits);
    engine_seq *seq = new_seq(&o);
    assert_error(engine_forward(o.model, &(engine_batch_item){seq, tokens, 1 << 19, 1, false}, 1, logits, &err), LLM_INSUFFICIENT_MEMORY, "memory limit");
    assert_int_equal(engine_seq_length(seq), 0);
    float *rows = forward(&o, seq, 0, o.total);
    assert_true(compare_logits(&o.golden, rows) <= 1e-4);
    mem_free(rows);
    mem_free(logits);
    mem_free(tokens);
    engine_seq_free(seq);
    close_case(&o);
}

// A tensor whose words MLX refuses: its message arrives, and the process lives.
static void test_what_mlx_throws_is_an_error(void **state)
{
    NEED_MLX(state);
    golden g;
    engine *device;
    engine_model *model;
    open_golden("llama-q4-g64", &g);
    engine_weights weights = weights_for_engine(&g.files.weights);
    weights.release = NULL;
    weight_view *view = &g.files.weights.views[g.files.desc.blocks[1].ffn.down.weight], saved = *view;
    assert_ok(engine_open("mlx", &exact, &device, &err));
    view->group_size = saved.group_size / 2; // fewer scales than MLX then expects
    view->cols = saved.cols / 2;
    assert_error(engine_model_load(device, &g.files.desc, &weights, NULL, NULL, &model, &err), LLM_INTERNAL_ERROR, "MLX failed at");
    print_message("%s\n", err.message);
    *view = saved;
    assert_ok(engine_model_load(device, &g.files.desc, &weights, NULL, NULL, &model, &err));
    engine_model_free(model);
    engine_close(device);
    close_golden(&g);
}

// Evaluations fail half-way, at every point in turn: the sequence is as it was, and goes on with the right logits.
static void check_failures(const char *name, int ahead)
{
    opened o;
    fail_function fail_after = find_hook();
    open_case_on("mlx", name, &exact, 2000, &o);
    engine_seq *seq = new_seq(&o), *whole = new_seq(&o);
    float *expected = forward(&o, whole, 0, o.total), *got = mem_alloc_zero((size_t)(o.total * o.vocab), sizeof *got);
    int failures = 0;
    for (int begin = 0, end; begin < o.total; begin = end) {
        end = begin + (begin < o.prompt - 2 ? 17 : 1); // prompt in pieces, then single tokens
        if (end > o.total) end = o.total;
        llm_status status = LLM_OUT_OF_MEMORY;
        for (int allowed = 0; status == LLM_OUT_OF_MEMORY; allowed++) {
            fail_after(allowed);
            status = engine_forward(o.model, &(engine_batch_item){seq, o.ids + begin, end - begin, end - begin, false}, 1,
                                    got + (size_t)(begin * o.vocab), &err);
            fail_after(-1);
            if (status != LLM_OK && status != LLM_OUT_OF_MEMORY) fail_msg("%s", err.message);
            failures += status == LLM_OUT_OF_MEMORY;
            assert_int_equal(engine_seq_length(seq), status == LLM_OK ? end : begin);
        }
    }
    assert_true(failures >= o.total - o.prompt);
    assert_close(name, got, expected, o.total * o.vocab);
    print_message("%s%s: %d failures\n", name, ahead ? ", working ahead" : "", failures);
    engine_seq_free(seq);
    engine_seq_free(whole);
    mem_free(expected);
    mem_free(got);
    close_case(&o);
}

static void test_failed_evaluations_leave_sequences_as_they_were(void **state)
{
    NEED_MLX(state);
    check_failures("llama-tied", 0);
    check_failures("gemma3-text", 0);
    setenv("LLMLOCAL_MLX_AHEAD", "1", 1);
    check_failures("llama-tied", 1);
    unsetenv("LLMLOCAL_MLX_AHEAD");
}

// ---- Memory

static uint64_t resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void load_and_run(uint64_t cache_limit)
{
    opened o;
    engine_memory memory;
    engine_options options = exact;
    options.cache_limit = cache_limit;
    open_case_on("mlx", "gemma3-text-q4-g32", &options, 2000, &o);
    engine_seq *seq = new_seq(&o);
    mem_free(forward(&o, seq, 0, o.prompt));
    for (int i = o.prompt; i < o.total; i++) {
        mem_free(forward(&o, seq, i, i + 1));
        engine_model_memory(o.model, &memory);
        assert_true(memory.cache_bytes <= cache_limit);
        assert_true(memory.weights_bytes > 0 && memory.kv_bytes > 0 && memory.peak_bytes >= memory.weights_bytes + memory.kv_bytes);
    }
    engine_seq_free(seq);
    close_case(&o);
}

static void test_unloading_gives_memory_back(void **state)
{
    NEED_MLX(state);
    for (int i = 0; i < 5; i++) load_and_run(i % 2 ? 10000 : 20 << 20);
    uint64_t before = resident();
    for (int i = 0; i < 20; i++) load_and_run(i % 2 ? 10000 : 20 << 20);
    uint64_t after = resident();
    print_message("resident after 5 loads %llu, after 25 %llu\n", (unsigned long long)before, (unsigned long long)after);
    if (!SANITIZED) assert_true(after <= before + before / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fast_precision_computes_in_the_models_types, need_mlx),
        cmocka_unit_test_setup(test_working_ahead_changes_nothing, need_mlx),
        cmocka_unit_test_setup(test_greedy_tokens_are_computed_ahead, need_mlx),
        cmocka_unit_test_setup(test_windows_slide, need_mlx),
        cmocka_unit_test_setup(test_memory_limits_are_errors_and_the_next_request_works, need_mlx),
        cmocka_unit_test_setup(test_what_mlx_throws_is_an_error, need_mlx),
        cmocka_unit_test_setup(test_failed_evaluations_leave_sequences_as_they_were, need_mlx),
        cmocka_unit_test_setup(test_unloading_gives_memory_back, need_mlx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
