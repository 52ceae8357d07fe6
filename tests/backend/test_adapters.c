// Adapters of a backend: the model spec's own, others by name, chosen request by request, and chats that go on when they
// are switched; on every engine that is there.
#include "testing.h"
#include "files.h"
#include "backend/reading.h"
#include <math.h>
#include <stdlib.h>

static llm_error err;
static const char *engine_name;

static llm_adapter directory_of(const char *name)
{
    return (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = path_in(golden("adapters"), name)};
}

static llm_backend *load_adapted(const llm_adapter *adapter)
{
    llm_mlx_options options;
    llm_model_spec spec;
    llm_mlx_options_init(&options);
    options.engine = engine_name;
    options.precision = LLM_PRECISION_EXACT;
    llm_model_spec_init(&spec, GOLDEN_DIR "/models/chat");
    if (adapter) spec.adapter = *adapter;
    llm_backend *backend = llm_mlx_backend_create(&options, &err);
    assert_non_null(backend);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    return backend;
}

static llm_backend *load(const char *name)
{
    llm_adapter adapter = name ? directory_of(name) : (llm_adapter){0};
    return load_adapted(name ? &adapter : NULL);
}

static llm_generation_config settings(const llm_adapter_use *uses, int count)
{
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = 16;
    config.ignore_end = true;
    config.adapters = uses;
    config.num_adapters = count;
    return config;
}

static answer ask(llm_backend *backend, const llm_adapter_use *uses, int count)
{
    llm_generation_config config = settings(uses, count);
    return read_answer(llm_backend_generate(backend, "Say a word.", &config, &err), &err);
}

static void test_the_specs_own_adapter_is_the_default(void **state)
{
    (void)state;
    llm_backend *plain = load(NULL), *adapted = load("chat-lora");
    answer bare = ask(plain, NULL, 0), own = ask(adapted, NULL, 0);
    assert_string_not_equal(bare.text, own.text);
    assert_ok(llm_backend_reset(adapted, &err));
    answer off = ask(adapted, NULL, LLM_NO_ADAPTERS);
    assert_string_equal(off.text, bare.text);
    assert_ok(llm_backend_reset(adapted, &err));
    llm_adapter_use use = {"default", 1};
    answer named = ask(adapted, &use, 1);
    assert_string_equal(named.text, own.text);
    llm_backend_free(plain);
    llm_backend_free(adapted);
}

static void test_adapters_are_switched_between_requests(void **state)
{
    (void)state;
    llm_backend *backend = load(NULL), *adapted = load("chat-lora");
    llm_adapter lora = directory_of("chat-lora"), dora = directory_of("chat-dora");
    answer expected = ask(adapted, NULL, 0), bare = ask(backend, NULL, 0);
    assert_ok(llm_backend_add_adapter(backend, "a", &lora, &err));
    assert_ok(llm_backend_add_adapter(backend, "b", &dora, &err));
    llm_adapter_use both[2] = {{"a", 1}, {"b", 0}}, other = {"b", 1};
    assert_ok(llm_backend_reset(backend, &err));
    answer switched = ask(backend, both, 1);
    assert_string_equal(switched.text, expected.text);
    assert_int_equal(switched.stats.cached_prompt_tokens, 0); // nothing of the bare model's is used
    assert_ok(llm_backend_reset(backend, &err));
    answer again = ask(backend, both, 1);
    assert_string_equal(again.text, expected.text);
    assert_true(again.stats.cached_prompt_tokens > 0);
    assert_ok(llm_backend_reset(backend, &err));
    assert_string_equal(ask(backend, both, 2).text, expected.text); // strength 0 adds nothing
    assert_ok(llm_backend_reset(backend, &err));
    assert_string_not_equal(ask(backend, &other, 1).text, expected.text);
    assert_ok(llm_backend_reset(backend, &err));
    assert_ok(llm_backend_remove_adapter(backend, "a", &err));
    answer back = ask(backend, NULL, 0);
    assert_string_equal(back.text, bare.text);
    assert_int_equal(back.stats.cached_prompt_tokens, 0);
    llm_backend_free(backend);
    llm_backend_free(adapted);
}

// A saved session does not bring what was read through another adapter.
static void test_saved_sessions_keep_adapters_apart(void **state)
{
    llm_backend *backend = load(NULL);
    llm_adapter lora = directory_of("chat-lora");
    llm_adapter_use use = {"a", 1};
    const char *path = path_in(*state, "session.safetensors");
    assert_ok(llm_backend_add_adapter(backend, "a", &lora, &err));
    ask(backend, &use, 1);
    assert_ok(llm_session_save(llm_backend_session(backend), path, &err));
    llm_generation_config config = settings(NULL, 0);
    answer switched = read_answer(llm_backend_generate(backend, "Go on.", &config, &err), &err);
    assert_ok(llm_session_load(llm_backend_session(backend), path, &err));
    answer restored = read_answer(llm_backend_generate(backend, "Go on.", &config, &err), &err);
    assert_string_equal(restored.text, switched.text);
    assert_int_equal(restored.stats.cached_prompt_tokens, 0);
    llm_backend_free(backend);
}

static void copy_file(const char *from, const char *to, const char *name)
{
    size_t length;
    char *bytes = read_bytes(path_in(from, name), &length);
    write_bytes(path_in(to, name), bytes, length);
    free(bytes);
}

// It is known by its content: at another path it is the same one, and another one at the same path is not.
static void test_a_saved_session_knows_its_adapter(void **state)
{
    llm_adapter copy = {.kind = LLM_ADAPTER_DIRECTORY, .source = *state};
    const char *path = path_in(*state, "session.safetensors"), *names[] = {"chat-lora", "chat-dora"};
    llm_backend *first = load("chat-lora");
    ask(first, NULL, 0);
    assert_ok(llm_session_save(llm_backend_session(first), path, &err));
    llm_backend_free(first);
    for (int i = 0; i < 2; i++) {
        const char *from = directory_of(names[i]).source;
        copy_file(from, *state, "adapter_config.json");
        copy_file(from, *state, "adapters.safetensors");
        llm_backend *second = load_adapted(&copy);
        llm_status status = llm_session_load(llm_backend_session(second), path, &err);
        if (i == 0) assert_ok(status);
        else assert_error(status, LLM_INVALID_ARGUMENT, "a session of the model");
        llm_backend_free(second);
    }
}

static void test_wrong_calls_are_refused(void **state)
{
    (void)state;
    llm_backend *backend = load("chat-lora"), *mock = llm_mock_backend_create(&err), *empty = llm_mlx_backend_create(NULL, &err);
    llm_adapter lora = directory_of("chat-lora"), wrong = directory_of("qwen3-lora-wide"), none = {0}, hub = {.kind = LLM_ADAPTER_HUB, .source = "a/b"};
    assert_error(llm_backend_add_adapter(empty, "a", &lora, &err), LLM_MODEL_NOT_LOADED, "no model");
    assert_error(llm_backend_add_adapter(mock, "a", &lora, &err), LLM_UNSUPPORTED_FORMAT, "no adapters");
    assert_error(llm_backend_add_adapter(backend, "", &lora, &err), LLM_INVALID_ARGUMENT, "name");
    assert_error(llm_backend_add_adapter(backend, "a", &none, &err), LLM_INVALID_ARGUMENT, "missing");
    assert_error(llm_backend_add_adapter(backend, "a", &hub, &err), LLM_DOWNLOAD_FAILED, "a/b");
    assert_error(llm_backend_add_adapter(backend, "default", &lora, &err), LLM_INVALID_ARGUMENT, "default");
    assert_error(llm_backend_add_adapter(backend, "a", &wrong, &err), LLM_ADAPTER_MERGE_FAILED, "model.layers.");
    assert_error(llm_backend_remove_adapter(backend, "a", &err), LLM_INVALID_ARGUMENT, "no adapter \"a\"");
    assert_error(llm_backend_remove_adapter(backend, "default", &err), LLM_INVALID_ARGUMENT, "default");
    assert_ok(llm_backend_add_adapter(backend, "a", &lora, &err));
    assert_error(llm_backend_add_adapter(backend, "a", &lora, &err), LLM_INVALID_ARGUMENT, "already");
    llm_adapter_use unknown = {"x", 1}, strong = {"a", NAN};
    assert_int_equal(ask(backend, &unknown, 1).status, LLM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "no adapter \"x\""));
    llm_generation_config config = settings(&strong, 1);
    assert_error(llm_generation_config_check(&config, &err), LLM_INVALID_ARGUMENT, "strength");
    config = settings(NULL, 2);
    assert_error(llm_generation_config_check(&config, &err), LLM_INVALID_ARGUMENT, "adapters is NULL");
    config = settings(NULL, 17);
    assert_error(llm_generation_config_check(&config, &err), LLM_INVALID_ARGUMENT, "num_adapters is 17");
    llm_backend_free(backend);
    llm_backend_free(mock);
    llm_backend_free(empty);
}

static void test_a_load_fails_before_weights_are_read(void **state)
{
    (void)state;
    llm_model_spec spec;
    llm_backend *backend = llm_mlx_backend_create(NULL, &err);
    llm_model_spec_init(&spec, GOLDEN_DIR "/models/chat");
    spec.adapter = directory_of("qwen3-lora-wide");
    assert_error(llm_backend_load(backend, &spec, NULL, NULL, &err), LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor model.layers.");
    spec.adapter.source = "/nowhere";
    assert_error(llm_backend_load(backend, &spec, NULL, NULL, &err), LLM_LOAD_FAILED, "/nowhere");
    assert_false(llm_backend_is_loaded(backend));
    llm_backend_free(backend);
}

int main(void)
{
    setenv("HF_HUB_OFFLINE", "1", 1);
    setenv("HF_HUB_CACHE", "/nowhere", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_specs_own_adapter_is_the_default),
        cmocka_unit_test(test_adapters_are_switched_between_requests),
        cmocka_unit_test_setup_teardown(test_saved_sessions_keep_adapters_apart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_saved_session_knows_its_adapter, make_folder, remove_folder),
        cmocka_unit_test(test_wrong_calls_are_refused),
        cmocka_unit_test(test_a_load_fails_before_weights_are_read),
    };
    llm_engine_info infos[4];
    int failed = 0, count = llm_engines(infos, 4);
    for (int i = 0; i < count && i < 4; i++) {
        engine_name = infos[i].name;
        if (infos[i].available) failed += cmocka_run_group_tests_name(engine_name, tests, NULL, NULL);
        else print_message("SKIPPED: engine %s: %s; `make test` provides it\n", engine_name, infos[i].reason);
#ifdef TEST_MLX
        failed += !infos[i].available;
#endif
    }
    return failed;
}
