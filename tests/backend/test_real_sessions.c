// Sessions on real models at 4 bits: what a restored or cancelled chat says next, how little of a second turn is read,
// and what an unload leaves. LLMLOCAL_TEST_MODELS as for test_real_models.
#include "testing.h"
#include "files.h"
#include "backend/reading.h"

enum { IDLE_LIMIT = 50000000 }; // resident bytes after an unload

static llm_error err;
static llm_backend *backend;
static llm_generation_config config;

static answer ask(llm_session *session, const char *prompt)
{
    answer a = read_answer(llm_session_generate(session, prompt, &config, &err), &err);
    if (a.status != LLM_END) fail_msg("%s: %s", prompt, err.message);
    return a;
}

static bool open_real(const char *name, llm_precision precision)
{
    const char *models = getenv("LLMLOCAL_TEST_MODELS");
    const char *directory = path_in(models ? models : "", name);
    llm_model_spec spec;
    llm_mlx_options options;
    if (!models || !*models || !file_is_directory(directory)) {
        print_message("SKIPPED: no model %s (LLMLOCAL_TEST_MODELS=%s); `make test` provides it\n", name, models ? models : "");
        return false;
    }
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = 24;
    llm_model_spec_init(&spec, directory);
    llm_mlx_options_init(&options);
    options.precision = precision;
    backend = llm_mlx_backend_create(&options, &err);
    if (!backend) fail_msg("%s", err.message);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    return true;
}

// Longer than Gemma's windows, so that they have dropped blocks.
static const char *long_prompt(void)
{
    static char text[4000];
    text[0] = 0;
    for (int i = 0; i < 70; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "Line %d: the ship left the harbour at noon. ", i);
    strcat(text, "How many lines are there?");
    return text;
}

static void check_restore(const char *path, const char *first)
{
    llm_session *one = llm_session_create(backend, &err), *other = llm_session_create(backend, &err);
    assert_ok(llm_session_set_system_prompt(one, "You are brief.", &err));
    answer before = ask(one, first);
    assert_ok(llm_session_save(one, path, &err));
    assert_ok(llm_session_load(other, path, &err));
    answer expected = ask(one, "And what was my question?"), restored = ask(other, "And what was my question?");
    assert_string_equal(restored.text, expected.text);
    assert_int_equal(restored.stats.prompt_tokens, expected.stats.prompt_tokens);
    assert_int_equal(restored.stats.cached_prompt_tokens, expected.stats.cached_prompt_tokens);
    // All that the first turn has read, and of its answer all but the last token.
    assert_true(restored.stats.cached_prompt_tokens >= before.stats.prompt_tokens + before.stats.generated_tokens - 1);
    llm_session_free(one);
    llm_session_free(other);
}

// After a cancellation the chat says what it would have said without the turn.
static void check_cancel(bool in_prefill)
{
    llm_session *one = llm_session_create(backend, &err), *other = llm_session_create(backend, &err);
    llm_generation_config longer = config;
    llm_chunk chunk;
    longer.max_tokens = 2000;
    longer.ignore_end = true;
    ask(one, "My name is Ada.");
    ask(other, "My name is Ada.");
    llm_stream *stream = llm_session_generate(one, in_prefill ? long_prompt() : "Tell me a long story.", &longer, &err);
    if (in_prefill) assert_int_equal(llm_stream_next(stream, 20, &chunk, &err), LLM_TIMEOUT);
    else assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    llm_stream_cancel(stream);
    assert_int_equal(read_answer(stream, &err).status, LLM_CANCELLED);
    answer after = ask(one, "What is my name?"), expected = ask(other, "What is my name?");
    assert_string_equal(after.text, expected.text);
    assert_int_equal(after.stats.prompt_tokens, expected.stats.prompt_tokens);
    llm_session_free(one);
    llm_session_free(other);
}

static void check_unload(void)
{
    llm_memory memory;
    llm_backend_unload(backend);
    assert_ok(llm_backend_memory(backend, &memory, &err));
    print_message("%.1f MB are resident after the unload\n", (double)memory.resident_bytes * 1e-6);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(memory.resident_bytes <= IDLE_LIMIT);
#endif
}

static void check_model(void **state, const char *name, llm_precision precision)
{
    const char *path = path_in(*state, "session");
    if (!open_real(name, precision)) {
        skip();
        return;
    }
    check_restore(path, "What is the capital of France?");
    check_restore(path, long_prompt());
    config.temperature = 1;
    config.seed = 11;
    check_restore(path, "Tell me of the sea.");
    config.temperature = 0;
    check_cancel(false);
    check_cancel(true);
    check_unload();
    llm_backend_free(backend);
}

static void test_smollm2_fast(void **state) { check_model(state, "smollm2-4bit", LLM_PRECISION_FAST); }
static void test_smollm2_exact(void **state) { check_model(state, "smollm2-4bit", LLM_PRECISION_EXACT); }
static void test_gemma3_fast(void **state) { check_model(state, "gemma3-4bit", LLM_PRECISION_FAST); }
static void test_gemma3_exact(void **state) { check_model(state, "gemma3-4bit", LLM_PRECISION_EXACT); }

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_smollm2_fast),
        TEST(test_smollm2_exact),
        TEST(test_gemma3_fast),
        TEST(test_gemma3_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
