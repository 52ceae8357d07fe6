// The service over the MLX backend: sessions that stay or go, memory that comes back, allocations that fail. The tiny golden
// model always; SmolLM2 at 4 bits where LLMLOCAL_TEST_MODELS has it.
#include "testing.h"
#include "base/mem.h"
#include "files.h"
#include <time.h>

static llm_error err;
static llm_generation_config config;

static llm_service *create_service(int max_models)
{
    llm_mlx_options mlx;
    llm_service_options options;
    llm_mlx_options_init(&mlx);
    mlx.num_threads = 2;
    llm_service_options_init(&options);
    options.mlx = &mlx;
    options.max_models = max_models;
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = 8;
    config.ignore_end = true;
    return llm_service_create(&options, &err);
}

// Two models by their context lengths.
static void make_specs(const char *directory, llm_model_spec *a, llm_model_spec *b)
{
    llm_model_spec_init(a, directory);
    llm_model_spec_init(b, directory);
    b->context_length = 250;
}

static llm_stats ask(llm_service *service, const llm_model_spec *spec, const char *prompt)
{
    llm_stats stats;
    llm_stream *stream = llm_service_generate(service, spec, prompt, &config, &err);
    if (!stream || llm_stream_consume(stream, NULL, NULL, &err) != LLM_OK) fail_msg("%s: %s", prompt, err.message);
    llm_stream_free(stream);
    assert_true(llm_service_last_stats(service, &stats));
    return stats;
}

static void test_with_room_for_two_sessions_stay(const char *directory)
{
    llm_model_spec a, b;
    llm_memory memory, one;
    llm_service *service = create_service(2);
    make_specs(directory, &a, &b);
    llm_stats first = ask(service, &a, "My name is Ada.");
    assert_true(first.load_seconds > 0 && first.first_token_seconds > first.load_seconds);
    assert_int_equal(first.cached_prompt_tokens, 0);
    assert_ok(llm_service_memory(service, &one, &err));
    assert_true(ask(service, &b, "Hello.").load_seconds > 0);
    assert_ok(llm_service_memory(service, &memory, &err));
    assert_int_equal(memory.weights_bytes, 2 * one.weights_bytes); // really two
    llm_stats again = ask(service, &a, "What is my name?");
    assert_true(again.load_seconds <= 0);
    assert_true(again.cached_prompt_tokens >= first.prompt_tokens); // A's session is still there
    llm_service_reset(service);
    llm_stats fresh = ask(service, &a, "My name is Ada.");
    assert_int_equal(fresh.prompt_tokens, first.prompt_tokens); // nothing of it is left
    llm_service_free(service);
}

static void test_with_room_for_one_models_come_back_fresh(const char *directory)
{
    llm_model_spec a, b;
    llm_service *service = create_service(1);
    make_specs(directory, &a, &b);
    llm_stats first = ask(service, &a, "My name is Ada.");
    ask(service, &b, "Hello.");
    llm_stats again = ask(service, &a, "My name is Ada.");
    assert_true(again.load_seconds > 0);
    assert_int_equal(again.prompt_tokens, first.prompt_tokens);
    assert_int_equal(again.cached_prompt_tokens, 0);
    llm_service_free(service);
}

static void test_unloading_gives_the_memory_back(const char *directory)
{
    llm_model_spec a, b;
    llm_memory memory;
    llm_service *service = create_service(2);
    make_specs(directory, &a, &b);
    ask(service, &a, "Hello.");
    ask(service, &b, "Hello.");
    llm_service_unload(service, NULL);
    assert_ok(llm_service_memory(service, &memory, &err));
    assert_int_equal(memory.weights_bytes, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    print_message("%.1f MB resident when idle\n", (double)memory.resident_bytes / 1e6);
    assert_true(memory.resident_bytes < 50000000);
#endif
    ask(service, &a, "Hello.");
    llm_service_free(service);
}

static void test_a_cancel_during_a_real_load(const char *directory)
{
    llm_model_spec a, b;
    llm_service *service = create_service(1);
    make_specs(directory, &a, &b);
    for (int microseconds = 0; microseconds < 30000; microseconds += 1000) {
        llm_stream *stream = llm_service_generate(service, &a, "Hello.", &config, &err);
        nanosleep(&(struct timespec){0, microseconds * 1000L}, NULL);
        llm_stream_cancel(stream);
        llm_status status;
        while ((status = llm_stream_next(stream, LLM_FOREVER, NULL, &err)) == LLM_OK) {}
        assert_true(status == LLM_CANCELLED || status == LLM_END);
        llm_stream_free(stream);
        llm_service_unload(service, &a);
    }
    ask(service, &a, "Hello.");
    llm_service_free(service);
}

static void test_what_is_here_is_cached(const char *directory)
{
    llm_model_spec a, b;
    llm_service *service = create_service(1);
    make_specs(directory, &a, &b);
    assert_true(llm_service_is_cached(service, &a));
    llm_model_spec_init(&a, "no-such-owner/no-such-model");
    assert_false(llm_service_is_cached(service, &a));
    assert_false(llm_service_is_cached(service, NULL));
    a.base = NULL;
    assert_false(llm_service_is_cached(service, &a));
    llm_service_free(service);
}

static void run_all(const char *directory)
{
    test_with_room_for_two_sessions_stay(directory);
    test_with_room_for_one_models_come_back_fresh(directory);
    test_unloading_gives_the_memory_back(directory);
    test_a_cancel_during_a_real_load(directory);
    test_what_is_here_is_cached(directory);
}

static void test_the_tiny_model(void **state)
{
    (void)state;
    run_all(golden("models/chat"));
}

static void test_the_default_model(void **state)
{
    (void)state;
    const char *folder = getenv("LLMLOCAL_TEST_MODELS");
    const char *directory = path_in(folder ? folder : "", "smollm2-4bit");
    if (folder && file_is_directory(directory)) run_all(directory);
    else print_message("SKIPPED: no model smollm2-4bit (LLMLOCAL_TEST_MODELS); `make test` provides it\n");
}

// Everything an application does once, with `n` allocations granted; true when nothing failed.
static bool run_with_allocations(const llm_model_spec *spec, long n)
{
    llm_status status = LLM_OUT_OF_MEMORY;
    llm_memory_estimate estimate;
    err = (llm_error){0};
    mem_fail_after(n);
    llm_service *service = create_service(1);
    llm_stream *stream = service ? llm_service_generate(service, spec, "Hello.", &config, &err) : NULL;
    while (stream && (status = llm_stream_next(stream, LLM_FOREVER, NULL, &err)) == LLM_OK) {}
    if (status == LLM_END) status = llm_service_check_memory(service, spec, &estimate, &err);
    int count = 0;
    if (status == LLM_OK) llm_free(llm_service_loaded_models_copy(service, &count));
    mem_fail_after(-1);
    if (status != LLM_OK && (err.code != LLM_OUT_OF_MEMORY || !err.message[0]))
        fail_msg("after %ld allocations: %s: %s", n, llm_status_name(err.code), err.message);
    llm_stream_free(stream);
    llm_service_free(service);
    return status == LLM_OK && count == 1;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    llm_model_spec spec;
    llm_model_spec_init(&spec, golden("models/chat"));
    long n = 0;
    while (!run_with_allocations(&spec, n)) n++;
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tiny_model),
        cmocka_unit_test(test_the_default_model),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
