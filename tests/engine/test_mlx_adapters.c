// Adapters in the MLX engine alone: a model's own types, working ahead, limits of memory, failures. What every engine
// promises of them is in test_adapters.c.
#include "testing.h"
#include "engine/mlx_case.h"
#include "nn/golden_adapters.h"

typedef struct adapted {
    golden_adapter golden;
    engine *device;
    engine_model *model;
    engine_adapter *adapter; // NULL: not yet
    engine_seq *seq;         // that uses it
    int vocab;
} adapted;

static llm_status load_adapter(adapted *a)
{
    return engine_adapter_load(a->model, &a->golden.files.desc, a->golden.adapter.layers, a->golden.adapter.num_layers, &a->adapter, &err);
}

static void use_adapter(adapted *a)
{
    assert_ok(load_adapter(a));
    assert_ok(engine_seq_create(a->model, &a->seq, &err));
    assert_ok(engine_seq_set_adapters(a->seq, &(adapter_use){a->adapter, 1}, 1, &err));
}

static void open_model(const char *name, const engine_options *options, adapted *a)
{
    *a = (adapted){0};
    open_golden_adapter(name, &a->golden);
    engine_weights weights = weights_for_engine(&a->golden.files.weights);
    weights.release = NULL;
    assert_ok(engine_open("mlx", options, &a->device, &err));
    assert_ok(engine_model_load(a->device, &a->golden.files.desc, &weights, NULL, NULL, &a->model, &err));
    a->vocab = a->golden.files.desc.vocab_size;
}

static void close_adapted(adapted *a)
{
    engine_seq_free(a->seq);
    engine_adapter_free(a->adapter);
    engine_model_free(a->model);
    engine_close(a->device);
    close_golden_adapter(&a->golden);
}

// In float16 and bfloat16 as mlx-lm in them: the same bits for LoRA. Its DoRA multiplies by a dequantised weight instead.
static void test_fast_precision_computes_in_the_models_types(void **state)
{
    NEED_MLX(state);
    char *names[MAX_ADAPTERS];
    int count = list_adapters(names), compared = 0, same = 0;
    double worst = 0;
    yyjson_doc *doc;
    assert_ok(json_read_file(GOLDEN_DIR "/own_types.json", 1 << 20, &doc, &err));
    for (int i = 0; i < count; i++) {
        adapted a;
        yyjson_val *expected = yyjson_obj_get(yyjson_doc_get_root(doc), names[i]);
        if (expected) {
            open_model(names[i], &(engine_options){.precision = PRECISION_FAST, .cache_limit = 20 << 20}, &a);
            use_adapter(&a);
            float *row = mem_alloc_zero((size_t)a.vocab, sizeof *row);
            assert_ok(engine_forward(a.model, &(engine_batch_item){a.seq, a.golden.ids, a.golden.num_ids, 1, false}, 1, row, &err));
            double difference = compare_own_types(expected, row, a.vocab), allowed = strstr(names[i], "dora") ? 5e-2 : 1e-2;
            if (!(difference <= allowed)) fail_msg("%s: logits differ by %.1e", names[i], difference);
            same += difference <= 1e-5; // the file has six digits
            worst = fmax(worst, difference);
            compared++;
            mem_free(row);
            close_adapted(&a);
        }
        mem_free(names[i]);
    }
    print_message("%d of %d adapters the same as mlx-lm in their models' types, largest relative difference %.1e\n", same, compared, worst);
    assert_true(compared >= 16 && same >= compared - 6);
    json_free(doc);
}

// Greedy tokens one by one, worked ahead or not, beside one pass over all; and the fork of the sequence that was worked
// ahead for, whose own adapters are switched off then.
static void check_ahead(const char *ahead)
{
    enum { STEPS = 30, SWITCH = 20 };
    adapted a;
    engine_seq *fork = NULL, *whole, *plain;
    int32_t tokens[STEPS + 1] = {3};
    setenv("LLMLOCAL_MLX_AHEAD", ahead, 1);
    open_model("chat-lora", &exact, &a);
    unsetenv("LLMLOCAL_MLX_AHEAD");
    use_adapter(&a);
    size_t vocab = (size_t)a.vocab;
    float *logits = mem_alloc_zero(STEPS * vocab, sizeof *logits), *all = mem_alloc_zero(STEPS * vocab, sizeof *all);
    for (int i = 0; i < STEPS; i++) {
        if (i == SWITCH) assert_ok(engine_seq_fork(a.seq, &fork, &err));
        if (i == SWITCH) assert_ok(engine_seq_set_adapters(a.seq, NULL, 0, &err));
        assert_ok(engine_forward(a.model, &(engine_batch_item){fork ? fork : a.seq, tokens + i, 1, 1, false}, 1, logits + (size_t)i * vocab, &err));
        tokens[i + 1] = largest_logit(logits + (size_t)i * vocab, a.vocab);
    }
    assert_int_equal(engine_seq_length(a.seq), 0);
    assert_ok(engine_seq_create(a.model, &whole, &err));
    assert_ok(engine_seq_set_adapters(whole, &(adapter_use){a.adapter, 1}, 1, &err));
    assert_ok(engine_forward(a.model, &(engine_batch_item){whole, tokens, STEPS, STEPS, false}, 1, all, &err));
    assert_close("with the adapter", logits, all, STEPS * a.vocab);
    // The sequence itself goes on without: token by token, as a new one in one pass.
    assert_ok(engine_seq_create(a.model, &plain, &err));
    assert_ok(engine_forward(a.model, &(engine_batch_item){plain, tokens, STEPS, STEPS, false}, 1, all, &err));
    for (int i = 0; i < STEPS; i++)
        assert_ok(engine_forward(a.model, &(engine_batch_item){a.seq, tokens + i, 1, 1, false}, 1, logits + (size_t)i * vocab, &err));
    assert_close("without it", logits, all, STEPS * a.vocab);
    engine_seq_free(plain);
    engine_seq_free(whole);
    engine_seq_free(fork);
    mem_free(logits);
    mem_free(all);
    close_adapted(&a);
}

static void test_working_ahead_goes_through_them(void **state)
{
    NEED_MLX(state);
    check_ahead("1");
    check_ahead("0");
}

static void test_memory_figures_and_limits_count_them(void **state)
{
    NEED_MLX(state);
    adapted a;
    engine_memory before, with, after;
    engine_options options = exact;
    open_model("llama-dora", &exact, &a);
    engine_model_memory(a.model, &before);
    assert_ok(load_adapter(&a));
    engine_model_memory(a.model, &with);
    engine_adapter_free(a.adapter);
    a.adapter = NULL;
    engine_model_memory(a.model, &after);
    uint64_t bytes = 0;
    for (int i = 0; i < a.golden.adapter.num_layers; i++) {
        const adapter_layer *layer = &a.golden.adapter.layers[i];
        const tensor_desc *tensor = &a.golden.files.desc.tensors[layer->tensor];
        bytes += sizeof(float) * (uint64_t)(layer->rank * (tensor->rows + tensor->cols) + (layer->gain ? tensor->rows : 0));
    }
    assert_int_equal(with.weights_bytes - before.weights_bytes, bytes);
    assert_int_equal(after.weights_bytes, before.weights_bytes);
    assert_true(after.work_bytes <= before.work_bytes);
    close_adapted(&a);
    options.memory_limit = before.weights_bytes + before.work_bytes + bytes / 2;
    open_model("llama-dora", &options, &a);
    assert_error(load_adapter(&a), LLM_INSUFFICIENT_MEMORY, "with the adapter");
    assert_null(a.adapter);
    close_adapted(&a);
    open_model("llama-dora", &exact, &a); // the limit is gone
    use_adapter(&a);
    close_adapted(&a);
}

// Evaluations fail at every point of a load and of what follows: nothing stays of it, and then it works.
static void test_failed_evaluations_leave_things_as_they_were(void **state)
{
    NEED_MLX(state);
    adapted a;
    engine_memory before, now;
    fail_function fail_after = find_hook();
    llm_status status = LLM_OUT_OF_MEMORY;
    int failures = 0, n;
    open_model("phi3-dora-fused", &exact, &a);
    n = a.golden.num_ids;
    engine_model_memory(a.model, &before);
    for (; status == LLM_OUT_OF_MEMORY; failures++) {
        fail_after(failures);
        status = load_adapter(&a);
        fail_after(-1);
        engine_model_memory(a.model, &now);
        if (status != LLM_OK) assert_true(!a.adapter && now.weights_bytes == before.weights_bytes && now.work_bytes <= before.work_bytes);
    }
    assert_ok(status);
    assert_true(failures > 3);
    engine_adapter_free(a.adapter);
    use_adapter(&a);
    float *logits = mem_alloc_zero((size_t)n * (size_t)a.vocab, sizeof *logits);
    engine_batch_item item = {a.seq, a.golden.ids, n, n, false};
    status = LLM_OUT_OF_MEMORY;
    for (int allowed = 0; status == LLM_OUT_OF_MEMORY; allowed++) {
        fail_after(allowed);
        status = engine_forward(a.model, &item, 1, logits, &err);
        fail_after(-1);
        assert_int_equal(engine_seq_length(a.seq), status == LLM_OK ? n : 0);
    }
    assert_ok(status);
    assert_true(compare_rows(&a.golden, "logits", logits) <= 1e-4);
    mem_free(logits);
    close_adapted(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fast_precision_computes_in_the_models_types, need_mlx),
        cmocka_unit_test_setup(test_working_ahead_goes_through_them, need_mlx),
        cmocka_unit_test_setup(test_memory_figures_and_limits_count_them, need_mlx),
        cmocka_unit_test_setup(test_failed_evaluations_leave_things_as_they_were, need_mlx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
