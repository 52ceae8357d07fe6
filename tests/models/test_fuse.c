// llm_fuse: merged directories of all golden adapters, against what mlx-lm computes from weights merged in float32.
#include "testing.h"
#include "engine/engine.h"
#include "files.h"
#include "nn/golden_adapters.h"
#include <math.h>

static llm_error err;

static llm_status fuse(const golden_adapter *g, const char *target, bool dequantize)
{
    llm_model_spec spec;
    llm_fuse_options options;
    llm_model_spec_init(&spec, path_in(golden("models"), yyjson_get_str(yyjson_obj_get(g->root, "base"))));
    llm_fuse_options_init(&options);
    options.dequantize = dequantize;
    spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = g->directory};
    return llm_fuse(&spec, target, &options, &err);
}

static double run(const golden_adapter *g, const char *directory, const char *key)
{
    model_files files;
    engine *device;
    engine_model *model;
    engine_seq *seq;
    assert_ok(model_files_open(directory, &files, &err));
    engine_weights weights = weights_for_engine(&files.weights);
    assert_ok(engine_open("cpu", &(engine_options){.precision = PRECISION_EXACT, .num_threads = 2}, &device, &err));
    assert_ok(engine_model_load(device, &files.desc, &weights, NULL, NULL, &model, &err));
    assert_ok(engine_seq_create(model, &seq, &err));
    float *logits = mem_alloc_zero((size_t)g->num_ids * (size_t)files.desc.vocab_size, sizeof *logits);
    engine_batch_item item = {seq, g->ids, g->num_ids, g->num_ids, false};
    assert_ok(engine_forward(model, &item, 1, logits, &err));
    double error = compare_rows(g, key, logits);
    mem_free(logits);
    engine_seq_free(seq);
    engine_model_free(model);
    engine_close(device);
    model_files_close(&files);
    return error;
}

// The merged weights are rounded to the model's type once, theirs and ours: sums that differ by a rounding may fall to
// different sides.
static void test_merged_models_compute_what_they_should(void **state)
{
    char *names[MAX_ADAPTERS];
    int count = list_adapters(names);
    double worst_merged = 0, worst_plain = 0, worst_peft = 0;
    for (int i = 0; i < count; i++) {
        golden_adapter g;
        const char *merged = path_in(*state, "merged"), *plain = path_in(*state, "plain");
        open_golden_adapter(names[i], &g);
        bool peft = strncmp(names[i], "peft", 4) == 0;
        if (fuse(&g, merged, false) != LLM_OK || fuse(&g, plain, true) != LLM_OK) fail_msg("%s: %s", names[i], err.message);
        double of_merged = run(&g, merged, "merged"), of_plain = run(&g, plain, peft ? "merged" : "dequantized");
        if (!(of_merged <= 1e-3) || !(of_plain <= 1e-3)) fail_msg("%s: merged %.1e, dequantised %.1e", names[i], of_merged, of_plain);
        if (peft) worst_peft = fmax(worst_peft, of_merged);
        else worst_merged = fmax(worst_merged, of_merged), worst_plain = fmax(worst_plain, of_plain);
        remove_tree(merged);
        remove_tree(plain);
        close_golden_adapter(&g);
        mem_free(names[i]);
    }
    print_message("%d adapters, merged: quantised as before %.1e, dequantised %.1e, PEFT's %.1e\n", count,
                  worst_merged, worst_plain, worst_peft);
}

// What the adapter does not change has the bytes that it had; so has every other file.
static void test_the_rest_is_copied(void **state)
{
    golden_adapter g;
    safetensors_model before, after;
    const char *target = path_in(*state, "fused");
    open_golden_adapter("llama-lora-last", &g);
    char *base = golden_base_path("llama-q4-g64");
    assert_ok(fuse(&g, target, false));
    assert_ok(safetensors_model_open(base, &before, &err));
    assert_ok(safetensors_model_open(target, &after, &err));
    int changed = 0;
    assert_int_equal(before.num_tensors, after.num_tensors);
    for (size_t i = 0; i < before.num_tensors; i++) {
        const safetensors_tensor *a = before.tensors[i], *b = safetensors_model_find(&after, a->name);
        assert_non_null(b);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->size, b->size);
        if (memcmp(a->data, b->data, a->size) == 0) continue;
        assert_non_null(strstr(a->name, "layers.1.self_attn."));
        assert_true(strstr(a->name, "q_proj") || strstr(a->name, "v_proj"));
        changed++;
    }
    assert_int_equal(changed, 6); // weight, scales and biases of two matrices
    size_t size_a, size_b;
    char *config_a = read_bytes(path_in(base, "config.json"), &size_a), *config_b = read_bytes(path_in(target, "config.json"), &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(config_a, config_b, size_a);
    mem_free(config_a);
    mem_free(config_b);
    safetensors_model_close(&before);
    safetensors_model_close(&after);
    mem_free(base);
    close_golden_adapter(&g);
}

static void test_dequantised_models_say_so(void **state)
{
    golden_adapter g;
    model_files files;
    const char *target = path_in(*state, "fused");
    open_golden_adapter("mixed-lora", &g);
    assert_ok(fuse(&g, target, true));
    yyjson_doc *doc = read_json(path_in(target, "config.json"));
    assert_null(yyjson_obj_get(yyjson_doc_get_root(doc), "quantization"));
    assert_null(yyjson_obj_get(yyjson_doc_get_root(doc), "quantization_config"));
    json_free(doc);
    assert_ok(model_files_open(target, &files, &err));
    assert_int_equal(files.weights.bits, 0);
    model_files_close(&files);
    close_golden_adapter(&g);
}

static int stop(void *user, const char *what, double fraction) { return (void)user, (void)what, fraction > 0.3; }

static void test_failures_leave_nothing(void **state)
{
    golden_adapter g;
    llm_model_spec spec;
    llm_fuse_options options;
    const char *target = path_in(*state, "fused");
    open_golden_adapter("llama-lora-last", &g);
    char *base = golden_base_path("llama-q4-g64"), *wide = golden_base_path("qwen3-q2-g128");
    llm_model_spec_init(&spec, wide);
    llm_fuse_options_init(&options);
    assert_error(llm_fuse(&spec, target, NULL, &err), LLM_INVALID_ARGUMENT, "the adapter is missing");
    spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = g.directory};
    assert_error(llm_fuse(&spec, target, NULL, &err), LLM_ADAPTER_MERGE_FAILED, "model.layers.1.self_attn.");
    spec.base = base;
    assert_error(llm_fuse(&spec, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "destination");
    options.progress = stop;
    assert_error(llm_fuse(&spec, target, &options, &err), LLM_CANCELLED, "cancelled");
    spec.adapter.kind = LLM_ADAPTER_HUB; // whose name a path cannot be
    assert_error(llm_fuse(&spec, target, NULL, &err), LLM_INVALID_ARGUMENT, g.directory);
    assert_int_equal(count_entries(*state), 0);
    llm_status status = LLM_OUT_OF_MEMORY;
    for (int failures = 0; status == LLM_OUT_OF_MEMORY; failures++) {
        mem_fail_after(failures);
        status = fuse(&g, target, failures % 2);
        mem_fail_after(-1);
        if (status == LLM_OUT_OF_MEMORY) assert_int_equal(count_entries(*state), 0);
    }
    assert_int_equal(status, LLM_OK);
    assert_error(fuse(&g, target, false), LLM_INVALID_ARGUMENT, "exists already");
    mem_free(base);
    mem_free(wide);
    close_golden_adapter(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_merged_models_compute_what_they_should, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_the_rest_is_copied, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_dequantised_models_say_so, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_failures_leave_nothing, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
