// Real models on the MLX engine: greedy answers in float32 are mlx-lm's, and what is loaded and unloaded leaves nothing.
// MLX is slow on a processor: LLMLOCAL_GREEDY_TOKENS=200 compares whole answers.
#include "testing.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static llm_error err;

// NULL, said loudly, where the model or the engine is missing; a build that has made the engine does without it for no reason.
static char *model_directory(const char *name)
{
    llm_engine_info infos[4];
    int count = llm_engines(infos, 4);
    const char *folder = getenv("LLMLOCAL_TEST_MODELS"), *reason = "there is no engine mlx";
    for (int i = 0; i < count && i < 4; i++)
        if (strcmp(infos[i].name, "mlx") == 0) reason = infos[i].available ? NULL : infos[i].reason;
    char *directory = folder && *folder ? path_join(folder, name) : NULL;
#ifdef TEST_MLX
    if (reason) fail_msg("%s", reason);
#endif
    if (!reason && directory && file_is_directory(directory)) return directory;
    mem_free(directory);
    print_message("SKIPPED: %s; `make test` provides model and engine\n", reason ? reason : "no model (LLMLOCAL_TEST_MODELS)");
    return NULL;
}

static llm_backend *create_backend(uint64_t cache_limit)
{
    llm_mlx_options options;
    llm_mlx_options_init(&options);
    options.engine = "mlx";
    options.precision = LLM_PRECISION_EXACT;
    options.gpu_cache_limit = cache_limit;
    llm_backend *backend = llm_mlx_backend_create(&options, &err);
    if (!backend) fail_msg("%s", err.message);
    return backend;
}

static void load(llm_backend *backend, const char *directory)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, directory);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
}

// Greedy tokens after `ids`, into `answer`.
static void complete(llm_backend *backend, const int32_t *ids, int count, int32_t *answer, int num_tokens)
{
    llm_chunk chunk;
    llm_status status;
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = num_tokens;
    config.ignore_end = true;
    llm_stream *stream = llm_backend_complete_tokens(backend, ids, count, &config, &err);
    if (!stream) fail_msg("%s", err.message);
    int got = 0;
    while ((status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK)
        for (; chunk.kind == LLM_CHUNK_INFO && got < chunk.num_tokens; got++) answer[got] = chunk.tokens[got];
    if (status != LLM_END) fail_msg("%s", err.message);
    assert_int_equal(got, num_tokens);
    llm_stream_free(stream);
}

static void read_ids(yyjson_val *array, int32_t *ids, int count)
{
    size_t i, all;
    yyjson_val *item;
    yyjson_arr_foreach(array, i, all, item) if ((int)i < count) ids[i] = (int32_t)yyjson_get_int(item);
}

static void check_greedy(const char *name, int num_tokens)
{
    enum { MOST = 200 };
    char *directory = model_directory(name);
    if (!directory) {
        skip();
        return;
    }
    const char *wanted = getenv("LLMLOCAL_GREEDY_TOKENS");
    yyjson_doc *doc;
    int32_t ids[MOST], expected[MOST], answer[MOST];
    if (wanted && *wanted) num_tokens = atoi(wanted);
    assert_true(num_tokens >= 1 && num_tokens <= MOST);
    assert_ok(json_read_file(GOLDEN_DIR "/greedy.json", 1 << 20, &doc, &err));
    yyjson_val *test = yyjson_obj_get(yyjson_doc_get_root(doc), name);
    int count = (int)yyjson_arr_size(yyjson_obj_get(test, "ids"));
    assert_true(count > 0 && count <= MOST);
    read_ids(yyjson_obj_get(test, "ids"), ids, MOST);
    read_ids(yyjson_obj_get(test, "greedy"), expected, MOST);
    llm_backend *backend = create_backend(20 << 20);
    load(backend, directory);
    complete(backend, ids, count, answer, num_tokens);
    for (int i = 0; i < num_tokens; i++)
        if (answer[i] != expected[i]) fail_msg("%s: greedy token %d is %d, mlx-lm's %d", name, i, answer[i], expected[i]);
    print_message("%s: %d greedy tokens as mlx-lm's\n", name, num_tokens);
    llm_backend_free(backend);
    json_free(doc);
    mem_free(directory);
}

static void test_smollm2_answers_as_mlx_lm(void **state) { (void)state; check_greedy("smollm2-4bit", 24); }
static void test_gemma3_answers_as_mlx_lm(void **state) { (void)state; check_greedy("gemma3-4bit", 4); }

static uint64_t resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_reloading_leaves_nothing(void **state)
{
    (void)state;
    char *directory = model_directory("smollm2-4bit");
    if (!directory) {
        skip();
        return;
    }
    enum { LIMIT = 4 << 20 };
    uint64_t first = 0, last = 0, loaded = 0;
    llm_backend *backend = create_backend(LIMIT);
    for (int i = 0; i < 24; i++) {
        int32_t answer[2], ids[2] = {504, 1463};
        llm_memory memory;
        load(backend, directory);
        complete(backend, ids, 2, answer, 2);
        assert_ok(llm_backend_memory(backend, &memory, &err));
        assert_true(memory.weights_bytes > 70000000 && memory.cache_bytes <= LIMIT && memory.peak_bytes >= memory.weights_bytes);
        loaded = memory.resident_bytes;
        llm_backend_unload(backend);
        last = resident();
        if (i == 3) first = last;
    }
    print_message("resident %.1f MB loaded, %.1f MB after 4 unloads, %.1f MB after 24\n", (double)loaded * 1e-6, (double)first * 1e-6,
                  (double)last * 1e-6);
    assert_true(last <= first + first / 50);
    assert_true(last <= 50000000);
    llm_backend_free(backend);
    mem_free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2_answers_as_mlx_lm),
        cmocka_unit_test(test_gemma3_answers_as_mlx_lm),
        cmocka_unit_test(test_reloading_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
