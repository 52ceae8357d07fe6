// The one rule for what fits, and adapters in the estimates it judges.
#include "testing.h"
#include "fake_system.h"
#include "models/memory.h"
#include "nn/golden_adapters.h"

static llm_error err;

// ---- The rule ---------------------------------------------------------------------------------------------

static void test_the_rule(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes, total, available;
        llm_memory_fit fit;
    } cases[] = {{800, 1000, 1000, LLM_FITS},       {801, 1000, 1000, LLM_FITS_NEVER}, {800, 1000, 799, LLM_FITS_LATER},
                 {800, 1000, 800, LLM_FITS},        {801, 1000, 0, LLM_FITS_NEVER},    {0, 0, 0, LLM_FITS},
                 {1, 0, 0, LLM_FITS_NEVER},         {UINT64_MAX, GIB, GIB, LLM_FITS_NEVER},
                 {GIB, UINT64_MAX, GIB, LLM_FITS},  {GIB, 2 * GIB, GIB - 1, LLM_FITS_LATER}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llm_system_memory memory = {.total_bytes = cases[i].total, .available_bytes = cases[i].available};
        llm_memory_estimate estimate = {.total_bytes = cases[i].bytes, .context_length = 77};
        assert_int_equal(llm_memory_fits(cases[i].bytes, &memory), cases[i].fit);
        llm_status now = memory_judge(&estimate, &memory, true, &err), ever = memory_judge(&estimate, &memory, false, &err);
        assert_int_equal(now, cases[i].fit == LLM_FITS ? LLM_OK : LLM_INSUFFICIENT_MEMORY);
        assert_int_equal(ever, cases[i].fit == LLM_FITS_NEVER ? LLM_INSUFFICIENT_MEMORY : LLM_OK);
    }
    assert_int_equal(llm_memory_fits(1, NULL), LLM_FITS_NEVER);
    llm_memory_estimate estimate = {.total_bytes = 3 * GIB, .context_length = 77};
    llm_system_memory memory = {.total_bytes = 4 * GIB, .available_bytes = GIB};
    assert_error(memory_judge(&estimate, &memory, true, &err), LLM_INSUFFICIENT_MEMORY,
                 "it takes 3.0 GiB of memory with a context of 77 tokens; 1.0 GiB are available now");
    memory.total_bytes = 3 * GIB;
    assert_error(memory_judge(&estimate, &memory, true, &err), LLM_INSUFFICIENT_MEMORY,
                 "2.4 GiB are available to a model here, 80 % of the memory");
    assert_int_equal(err.available, memory_share(&memory));
}

// ---- Adapters ---------------------------------------------------------------------------------------------

// An estimate by the shapes is what the arrays give, and what the engine then has.
static void test_estimates_of_adapters_are_exact(void **state)
{
    (void)state;
    char *names[MAX_ADAPTERS];
    int count = list_adapters(names);
    assert_true(count > 20);
    for (int i = 0; i < count; i++) {
        golden_adapter g;
        adapter shapes;
        engine *device;
        engine_model *model;
        engine_adapter *loaded;
        engine_memory by_shapes, by_arrays, before, after;
        open_golden_adapter(names[i], &g);
        if (adapter_open_shapes(g.directory, &g.files, &shapes, &err) != LLM_OK) fail_msg("%s: %s", names[i], err.message);
        assert_int_equal(shapes.num_layers, g.adapter.num_layers);
        assert_string_equal(shapes.format, g.adapter.format);
        assert_ok(engine_open("cpu", &(engine_options){.num_threads = 1}, &device, &err));
        assert_ok(engine_estimate_adapter(device, &g.files.desc, shapes.layers, shapes.num_layers, &by_shapes, &err));
        assert_ok(engine_estimate_adapter(device, &g.files.desc, g.adapter.layers, g.adapter.num_layers, &by_arrays, &err));
        assert_int_equal(by_shapes.weights_bytes, by_arrays.weights_bytes);
        assert_int_equal(by_shapes.work_bytes, by_arrays.work_bytes);
        engine_weights weights = weights_for_engine(&g.files.weights);
        assert_ok(engine_model_load(device, &g.files.desc, &weights, NULL, NULL, &model, &err));
        engine_model_memory(model, &before);
        assert_ok(engine_adapter_load(model, &g.files.desc, g.adapter.layers, g.adapter.num_layers, &loaded, &err));
        engine_model_memory(model, &after);
        assert_int_equal(after.weights_bytes - before.weights_bytes, by_shapes.weights_bytes);
        assert_true(by_shapes.weights_bytes > 0 && by_shapes.work_bytes > 0);
        engine_adapter_free(loaded);
        engine_model_free(model);
        engine_close(device);
        adapter_close(&shapes);
        close_golden_adapter(&g);
        mem_free(names[i]);
    }
}

static llm_status say_figures(void *user, llm_system_memory *memory, llm_error *failure)
{
    (void)failure;
    *memory = *(llm_system_memory *)user;
    return LLM_OK;
}

static void name_specs(llm_model_spec *plain, llm_model_spec *adapted)
{
    llm_model_spec_init(plain, golden("models/chat"));
    *adapted = *plain;
    adapted->adapter = (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = golden("adapters/chat-dora")};
}

static void test_the_specs_adapter_counts(void **state)
{
    (void)state;
    llm_model_spec plain, adapted;
    llm_memory_estimate without, with;
    llm_memory memory;
    llm_mlx_options options;
    llm_system_memory figures = {.total_bytes = 64 * GIB};
    name_specs(&plain, &adapted);
    assert_ok(llm_model_estimate_memory(&plain, NULL, &without, &err));
    assert_ok(llm_model_estimate_memory(&adapted, NULL, &with, &err));
    assert_true(with.weights_bytes > without.weights_bytes && with.work_bytes > without.work_bytes);
    assert_int_equal(with.kv_bytes, without.kv_bytes);
    assert_int_equal(with.total_bytes, with.weights_bytes + with.kv_bytes + with.work_bytes);
    llm_mlx_options_init(&options);
    options.num_threads = 1; // as estimates are made
    options.memory = say_figures;
    options.memory_user = &figures;
    llm_backend *backend = llm_mlx_backend_create(&options, &err);
    figures.available_bytes = with.total_bytes - 1;
    assert_ok(llm_backend_load(backend, &plain, NULL, NULL, &err));
    assert_error(llm_backend_load(backend, &adapted, NULL, NULL, &err), LLM_INSUFFICIENT_MEMORY, "available now");
    assert_int_equal(err.required, with.total_bytes);
    figures.available_bytes = with.total_bytes;
    assert_ok(llm_backend_load(backend, &adapted, NULL, NULL, &err));
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_int_equal(memory.weights_bytes, with.weights_bytes);
    // Another one, beside the loaded model, must fit into what is left.
    llm_adapter other = {.kind = LLM_ADAPTER_DIRECTORY, .source = golden("adapters/chat-lora")};
    figures.available_bytes = 1000;
    assert_error(llm_backend_add_adapter(backend, "other", &other, &err), LLM_INSUFFICIENT_MEMORY, "1000 bytes are available now");
    assert_true(err.required > 1000 && err.available == 1000 && strstr(err.message, "\"other\""));
    figures.available_bytes = GIB;
    assert_ok(llm_backend_add_adapter(backend, "other", &other, &err));
    llm_backend_free(backend);
}

static void test_the_service_counts_it(void **state)
{
    (void)state;
    llm_model_spec plain, adapted;
    llm_memory_estimate without, with;
    llm_mlx_options mlx;
    llm_service_options options;
    llm_system_memory figures = {0};
    name_specs(&plain, &adapted);
    llm_mlx_options_init(&mlx);
    mlx.memory = say_figures;
    mlx.memory_user = &figures;
    llm_service_options_init(&options);
    options.mlx = &mlx;
    llm_service *service = llm_service_create(&options, &err);
    assert_ok(llm_model_estimate_memory(&plain, NULL, &without, &err));
    figures.total_bytes = (without.total_bytes + 100) / 80 * 100 + 100; // just enough without
    assert_ok(llm_service_check_memory(service, &plain, NULL, &err));
    assert_error(llm_service_check_memory(service, &adapted, &with, &err), LLM_INSUFFICIENT_MEMORY, "80 %");
    assert_int_equal(err.required, with.total_bytes);
    int tokens, fewer;
    assert_ok(llm_service_recommended_context(service, &plain, &tokens, &err));
    assert_int_equal(tokens, 256);
    figures.total_bytes = (with.total_bytes - 10 * with.kv_bytes_per_token) / 80 * 100;
    assert_ok(llm_service_recommended_context(service, &adapted, &fewer, &err));
    assert_true(fewer > 0 && fewer < 256);
    figures.total_bytes = with.weights_bytes / 80 * 100;
    assert_error(llm_service_recommended_context(service, &adapted, &fewer, &err), LLM_INSUFFICIENT_MEMORY, "context of 1 tokens");
    adapted.adapter.source = "/no/such/adapter";
    assert_error(llm_service_check_memory(service, &adapted, NULL, &err), LLM_LOAD_FAILED, "/no/such/adapter");
    adapted.adapter = (llm_adapter){.kind = LLM_ADAPTER_HUB, .source = "nobody/no-adapter"};
    assert_error(llm_service_check_memory(service, &adapted, NULL, &err), LLM_DOWNLOAD_FAILED, "nobody/no-adapter is not in the cache");
    llm_service_free(service);
}

static void test_it_may_run_out_of_memory(void **state)
{
    (void)state;
    llm_model_spec plain, adapted;
    llm_memory_estimate estimate;
    name_specs(&plain, &adapted);
    long n = 0;
    for (;; n++) {
        mem_fail_after(n);
        llm_status status = llm_model_estimate_memory(&adapted, NULL, &estimate, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) break;
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    assert_true(n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rule),
        cmocka_unit_test(test_estimates_of_adapters_are_exact),
        cmocka_unit_test(test_the_specs_adapter_counts),
        cmocka_unit_test(test_the_service_counts_it),
        cmocka_unit_test(test_it_may_run_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
