// The rules of llm_backend over a scripted table of methods: the table itself, arguments, and loading.
#include "client/backend_fixture.h"
#include <math.h>

static int ignore_position(void *user, int position, int32_t token, double next, const llm_token_logprob *top,
                           int num_top)
{
    (void)user;
    (void)position;
    (void)token;
    (void)next;
    (void)top;
    (void)num_top;
    return 0;
}

// ---- The table --------------------------------------------------------------------------------------------

static void assert_table_refused(llm_backend_methods table, const char *text)
{
    assert_null(llm_backend_create(&table, NULL, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    if (!strstr(err.message, text)) fail_msg("%s", err.message);
}

static void test_tables_that_cannot_work_are_refused(void **state)
{
    (void)state;
    llm_backend_methods table = scripted_methods;
    table.api_version = LLM_BACKEND_API + 1;
    assert_table_refused(table, "versions 1 to");
    table.api_version = 0;
    assert_table_refused(table, "version 0");
    table = scripted_methods, table.name = NULL;
    assert_table_refused(table, "\"name\"");
    table = scripted_methods, table.load = NULL;
    assert_table_refused(table, "\"load\"");
    table = scripted_methods, table.unload = NULL;
    assert_table_refused(table, "\"unload\"");
    table = scripted_methods, table.generate = NULL;
    assert_table_refused(table, "\"generate\"");
    assert_null(llm_backend_create(NULL, NULL, &err));
}

static void test_a_table_with_the_least_slots_has_the_defaults(void **state)
{
    (void)state;
    llm_backend_methods table = {.api_version = LLM_BACKEND_API,
                                 .name = "least",
                                 .load = scripted_load,
                                 .unload = scripted_unload,
                                 .generate = scripted_generate};
    llm_backend *least = llm_backend_create(&table, &script, &err);
    llm_memory memory;
    llm_engine_info info;
    int32_t token = 1;
    assert_ok(llm_backend_load(least, &spec_a, NULL, NULL, &err));
    assert_ok(llm_backend_set_system_prompt(least, "be kind", &err));
    assert_ok(llm_backend_reset(least, &err));
    assert_ok(llm_backend_memory(least, &memory, &err));
    assert_int_equal(memory.weights_bytes, 0);
    assert_true(memory.resident_bytes > 100000 && memory.peak_resident_bytes >= memory.resident_bytes);
    assert_error(llm_backend_engine_info(least, &info, &err), LLM_UNSUPPORTED_FORMAT, "least");
    assert_error(llm_backend_score(least, &token, 1, 0, ignore_position, NULL, &err), LLM_UNSUPPORTED_FORMAT,
                 "cannot score");
    assert_null(llm_session_create(least, &err));
    assert_int_equal(err.code, LLM_UNSUPPORTED_FORMAT);
    assert_error(llm_session_save(llm_backend_session(least), "file", &err), LLM_UNSUPPORTED_FORMAT, "session_save");
    assert_error(llm_session_load(llm_backend_session(least), "file", &err), LLM_UNSUPPORTED_FORMAT, "session_load");
    assert_null(llm_session_messages_json_copy(llm_backend_session(least), &err));
    assert_int_equal(err.code, LLM_UNSUPPORTED_FORMAT);
    script.hold_generate = true;
    llm_stream *stream = llm_backend_generate(least, "hi", NULL, &err);
    wait_for(script.generates);
    llm_backend_cancel(least);
    assert_int_equal(drain(stream), LLM_CANCELLED);
    llm_stream_free(stream);
    llm_backend_free(least);
    assert_log("load:a generate:hi system:be kind unload ");
}

static void test_null_arguments(void **state)
{
    (void)state;
    int32_t token = 1, bad = -1;
    llm_message nobody = {0}, silent = {.role = "user"}, bytes = {.role = "user", .content = "\xC3"},
                call = {.role = "assistant", .tool_calls_json = "{}"},
                no_json = {.role = "assistant", .tool_calls_json = "["};
    assert_error(llm_backend_load(NULL, &spec_a, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_load(backend, NULL, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    load(&spec_a);
    const struct {
        llm_stream *stream;
        const char *text;
    } cases[] = {
        {llm_backend_generate(NULL, "x", NULL, &err), ""},
        {llm_backend_generate(backend, NULL, NULL, &err), "prompt is NULL"},
        {llm_backend_generate(backend, "\xFF", NULL, &err), "not valid UTF-8"},
        {llm_backend_complete(backend, NULL, NULL, &err), "text is NULL"},
        {llm_backend_complete_tokens(backend, NULL, 1, NULL, &err), "tokens: 1 of them at NULL"},
        {llm_backend_complete_tokens(backend, &token, 0, NULL, &err), "at least one"},
        {llm_backend_complete_tokens(backend, &bad, 1, NULL, &err), "tokens[0] is -1"},
        {llm_backend_generate_messages(backend, NULL, 1, NULL, &err), "at NULL"},
        {llm_backend_generate_messages(backend, &silent, 0, NULL, &err), "0 of them"},
        {llm_backend_generate_messages(backend, &nobody, 1, NULL, &err), "messages[0].role"},
        {llm_backend_generate_messages(backend, &silent, 1, NULL, &err), "neither content nor tool calls"},
        {llm_backend_generate_messages(backend, &bytes, 1, NULL, &err),
         "messages[0].content is not valid UTF-8"},
        {llm_backend_generate_messages(backend, &call, 1, NULL, &err), "must be a JSON array"},
        {llm_backend_generate_messages(backend, &no_json, 1, NULL, &err), "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_null(cases[i].stream);
    assert_error(llm_backend_set_system_prompt(NULL, "", &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_set_system_prompt(backend, "\xFF", &err), LLM_INVALID_ARGUMENT, "UTF-8");
    assert_error(llm_backend_reset(NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_memory(backend, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_engine_info(backend, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_score(NULL, &token, 1, 0, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_backend_score(backend, &token, 1, 0, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "function");
    assert_false(llm_backend_is_loaded(NULL));
    assert_null(llm_backend_current_model_copy(NULL));
    assert_null(llm_backend_system_prompt_copy(NULL));
    llm_backend_unload(NULL);
    llm_backend_cancel(NULL);
    llm_backend_free(NULL);
    // Without an error to fill, everything works the same.
    assert_null(llm_backend_generate(backend, NULL, NULL, NULL));
    assert_int_equal(llm_backend_load(backend, &spec_b, NULL, NULL, NULL), LLM_OK);
    script.load_result = LLM_IO_ERROR;
    assert_int_equal(llm_backend_load(backend, &spec_a, NULL, NULL, NULL), LLM_IO_ERROR);
}

#define assert_refused_request(call, text)                                                                   \
    do {                                                                                                     \
        assert_null(call);                                                                                   \
        assert_int_equal(err.code, LLM_INVALID_ARGUMENT);                                                    \
        if (!strstr(err.message, text)) fail_msg("%s", err.message);                                         \
    } while (0)

static void test_bad_requests_name_what_is_wrong(void **state)
{
    (void)state;
    int32_t bad = -1;
    llm_message silent[2] = {{.role = "user", .content = "x"}, {.role = "user"}};
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.top_p = 7;
    assert_refused_request(llm_backend_generate(backend, NULL, NULL, &err), "the prompt is NULL");
    assert_refused_request(llm_backend_generate(backend, "x", &config, &err), "config.top_p is 7");
    assert_refused_request(llm_backend_complete_tokens(backend, &bad, 1, NULL, &err), "tokens[0] is -1");
    assert_refused_request(llm_backend_generate_messages(backend, silent, 2, NULL, &err), "messages[1]");
}

// ---- Loading ----------------------------------------------------------------------------------------------

static void test_the_same_spec_does_nothing_and_another_unloads_first(void **state)
{
    (void)state;
    llm_model_spec same = spec_a;
    char base[] = "a";
    same.base = base;
    same.id = "a";
    load(&spec_a);
    load(&same);
    assert_log("load:a ");
    load(&spec_b);
    assert_log("load:a unload load:b ");
    llm_model_spec *current = llm_backend_current_model_copy(backend);
    assert_true(llm_model_spec_equal(current, &spec_b));
    llm_free(current);
    llm_backend_unload(backend);
    llm_backend_unload(backend);
    assert_log("load:a unload load:b unload ");
    assert_false(llm_backend_is_loaded(backend));
    assert_null(llm_backend_current_model_copy(backend));
}

static void test_a_failed_load_leaves_no_model_and_a_bad_spec_the_old_one(void **state)
{
    (void)state;
    llm_model_spec bad = spec_b;
    bad.context_length = -1;
    load(&spec_a);
    assert_error(llm_backend_load(backend, &bad, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "spec.context_length");
    assert_true(llm_backend_is_loaded(backend));
    script.load_result = LLM_LOAD_FAILED;
    assert_error(llm_backend_load(backend, &spec_b, NULL, NULL, &err), LLM_LOAD_FAILED,
                 "scripted: load: load failed");
    assert_false(llm_backend_is_loaded(backend));
    assert_null(llm_backend_generate(backend, "x", NULL, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
    script.load_result = LLM_OK;
    load(&spec_b);
    assert_log("load:a unload load:b load:b ");
}

static void *load_b(void *user)
{
    return *(llm_status *)user = llm_backend_load(backend, &spec_b, NULL, NULL, NULL), NULL;
}

static void test_while_a_load_runs(void **state)
{
    (void)state;
    llm_status status = LLM_INTERNAL_ERROR;
    llm_memory memory;
    llm_engine_info info;
    pthread_t thread;
    int32_t token = 1;
    script.hold_load = true;
    pthread_create(&thread, NULL, load_b, &status);
    wait_for(script.loads == 1);
    assert_error(llm_backend_load(backend, &spec_a, NULL, NULL, &err), LLM_LOAD_IN_PROGRESS, "in progress");
    assert_error(llm_backend_load(backend, &spec_b, NULL, NULL, &err), LLM_LOAD_IN_PROGRESS, "in progress");
    assert_null(llm_backend_generate(backend, "x", NULL, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
    assert_non_null(strstr(err.message, "a load is in progress"));
    assert_error(llm_backend_engine_info(backend, &info, &err), LLM_LOAD_IN_PROGRESS, "in progress");
    assert_error(llm_backend_score(backend, &token, 1, 0, ignore_position, NULL, &err), LLM_MODEL_NOT_LOADED,
                 "no model");
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_int_equal(memory.weights_bytes, 0);
    assert_ok(llm_backend_reset(backend, &err));
    assert_false(llm_backend_is_loaded(backend));
    assert_null(llm_backend_current_model_copy(backend));
    script.hold_load = false;
    pthread_join(thread, NULL);
    assert_int_equal(status, LLM_OK);
    assert_ok(llm_backend_engine_info(backend, &info, &err));
    assert_string_equal(info.name, "scripted");
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_int_equal(memory.weights_bytes, 1234);
    assert_log("load:b ");
}

static void test_unload_stops_a_load(void **state)
{
    (void)state;
    for (int deaf = 0; deaf < 2; deaf++) {
        llm_status status = LLM_INTERNAL_ERROR;
        pthread_t thread;
        script.loads = 0;
        script.hold_load = true;
        pthread_create(&thread, NULL, load_b, &status);
        wait_for(script.loads == 1);
        if (deaf) {
            script.deaf = true;
            script.hold_load = false; // it may load after all
        }
        llm_backend_unload(backend);
        pthread_join(thread, NULL);
        if (!deaf) assert_int_equal(status, LLM_CANCELLED);
        assert_false(llm_backend_is_loaded(backend));
    }
}

static int stop_at_once(void *user, const char *what, double fraction)
{
    assert_string_equal(what, "part");
    assert_true(fraction == 0.5);
    return ++*(int *)user;
}

static void test_progress_stops_a_load(void **state)
{
    (void)state;
    int calls = 0;
    assert_error(llm_backend_load(backend, &spec_a, stop_at_once, &calls, &err), LLM_CANCELLED,
                 "loading \"a\" was cancelled");
    assert_int_equal(calls, 1);
    script.deaf = true; // loads all the same: the library undoes it
    assert_error(llm_backend_load(backend, &spec_a, stop_at_once, &calls, &err), LLM_CANCELLED, "cancelled");
    assert_false(llm_backend_is_loaded(backend));
    assert_log("load:a load:a unload ");
}

static llm_status wild_load(void *state, const llm_model_spec *spec, llm_progress_function progress,
                            void *user, llm_error *e)
{
    (void)state;
    (void)spec;
    (void)e;
    progress(user, "a", -3);
    progress(user, "b", 7);
    progress(user, "c", (double)NAN);
    return LLM_OK;
}

static int in_range(void *user, const char *what, double fraction)
{
    (void)user;
    assert_true(fraction == (*what == 'b' ? 1.0 : 0.0));
    return 0;
}

static void test_progress_stays_in_its_range(void **state)
{
    (void)state;
    llm_backend_methods table = scripted_methods;
    table.load = wild_load;
    table.destroy = NULL;
    llm_backend *wild = llm_backend_create(&table, &script, &err);
    assert_ok(llm_backend_load(wild, &spec_a, in_range, NULL, &err));
    script.loaded = true;
    llm_backend_free(wild);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_that_cannot_work_are_refused),
        rule(test_a_table_with_the_least_slots_has_the_defaults),
        rule(test_null_arguments),
        rule(test_bad_requests_name_what_is_wrong),
        rule(test_the_same_spec_does_nothing_and_another_unloads_first),
        rule(test_a_failed_load_leaves_no_model_and_a_bad_spec_the_old_one),
        rule(test_while_a_load_runs),
        rule(test_unload_stops_a_load),
        rule(test_progress_stops_a_load),
        rule(test_progress_stays_in_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
