// What programs built against an earlier header rely on: the values of enumerations, and the places of a
// backend's slots. New ones join at the end of their row. A row that changes in its middle breaks such
// programs without a word from the compiler: it asks for another soname.
#include "testing.h"
#include "llmlocal.h"

typedef struct abi_row {
    const char *names;
    int count;
    int values[24];
} abi_row;

#define ROW(...)                                                                                             \
    {                                                                                                        \
#__VA_ARGS__, sizeof((int[]){__VA_ARGS__}) / sizeof(int),                                            \
        {                                                                                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
#define SLOT(name) (int)(offsetof(llm_backend_methods, name) / sizeof(void *))

// Each row counts from 0.
static const abi_row rows[] = {
    ROW(LLM_OK, LLM_END, LLM_TIMEOUT, LLM_INVALID_ARGUMENT, LLM_OUT_OF_MEMORY, LLM_IO_ERROR,
        LLM_DOWNLOAD_FAILED, LLM_LOAD_FAILED, LLM_INSUFFICIENT_MEMORY, LLM_INSUFFICIENT_STORAGE,
        LLM_MODEL_NOT_LOADED, LLM_LOAD_IN_PROGRESS, LLM_CANCELLED, LLM_ADAPTER_MERGE_FAILED,
        LLM_UNSUPPORTED_FORMAT, LLM_CONTEXT_EXCEEDED, LLM_BUSY, LLM_TEMPLATE_ERROR, LLM_INTERNAL_ERROR),
    ROW(LLM_ADAPTER_NONE, LLM_ADAPTER_DIRECTORY, LLM_ADAPTER_HUB, LLM_ADAPTER_GITHUB),
    ROW(LLM_TIER_UNKNOWN, LLM_TIER_TINY, LLM_TIER_SMALL, LLM_TIER_MEDIUM, LLM_TIER_LARGE,
        LLM_TIER_EXTRA_LARGE),
    ROW(LLM_CHUNK_TEXT, LLM_CHUNK_REASONING, LLM_CHUNK_TOOL_CALL, LLM_CHUNK_LOGPROBS, LLM_CHUNK_INFO),
    ROW(LLM_FINISH_STOP, LLM_FINISH_LENGTH, LLM_FINISH_CANCELLED, LLM_FINISH_TOOL_CALL),
    ROW(LLM_PRECISION_FAST, LLM_PRECISION_EXACT),
    ROW(LLM_PRESSURE_NONE, LLM_PRESSURE_WARNING, LLM_PRESSURE_CRITICAL),
    ROW(LLM_REQUEST_PROMPT, LLM_REQUEST_MESSAGES, LLM_REQUEST_TEXT, LLM_REQUEST_TOKENS, LLM_REQUEST_RESULTS),
    ROW(SLOT(api_version), SLOT(name), SLOT(load), SLOT(unload), SLOT(generate), SLOT(destroy),
        SLOT(set_system_prompt), SLOT(reset), SLOT(cancel), SLOT(memory), SLOT(score), SLOT(engine_info),
        SLOT(session_create), SLOT(session_free), SLOT(session_reset), SLOT(session_save), SLOT(session_load),
        SLOT(session_messages_json)),
};

static void test_values_stay(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int i = 0; i < rows[r].count; i++)
            if (rows[r].values[i] != i)
                fail_msg("number %d of these is now %d: %s", i, rows[r].values[i], rows[r].names);
}

// A structure that grows must stay readable by what its first member says.
static void test_size_comes_first(void **state)
{
    (void)state;
    assert_int_equal(0, offsetof(llm_model_spec, size));
    assert_int_equal(0, offsetof(llm_generation_config, size));
    assert_int_equal(0, offsetof(llm_mlx_options, size));
    assert_int_equal(0, offsetof(llm_convert_options, size));
    assert_int_equal(0, offsetof(llm_service_options, size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values_stay),
                                       cmocka_unit_test(test_size_comes_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
