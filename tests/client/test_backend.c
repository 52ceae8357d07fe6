// The rules of llm_backend over a scripted table of methods.
#include "testing.h"
#include "base/mem.h"
#include "client/scripted.h"
#include <math.h>

static llm_error err;
static llm_chunk chunk;
static scripted script;
static llm_backend *backend;
static llm_model_spec spec_a, spec_b;

static int set_up(void **state)
{
    (void)state;
    memset(&script, 0, sizeof script);
    pthread_mutex_init(&script.lock, NULL);
    llm_model_spec_init(&spec_a, "a");
    llm_model_spec_init(&spec_b, "b");
    backend = llm_backend_create(&scripted_methods, &script, &err);
    return backend ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    script.hold_load = script.hold_generate = script.hold_score = false;
    llm_backend_free(backend);
    if (backend && script.destroyed != 1) return print_error("destroyed %d times\n", script.destroyed), -1;
    if (script.overlaps || script.misuses)
        return print_error("%d overlaps, %d misuses\n", script.overlaps, script.misuses), -1;
    return 0;
}

static void load(const llm_model_spec *spec)
{
    assert_ok(llm_backend_load(backend, spec, NULL, NULL, &err));
}

static llm_stream *generate(const char *prompt)
{
    llm_stream *stream = llm_backend_generate(backend, prompt, NULL, &err);
    if (!stream) fail_msg("generate: %s", err.message);
    return stream;
}

// Reads to the end; returns what ended it.
static llm_status drain(llm_stream *stream)
{
    llm_status status;
    while ((status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {}
    return status;
}

static void answer_all(const char *prompt)
{
    llm_stream *stream = generate(prompt);
    assert_int_equal(drain(stream), LLM_END);
    llm_stream_free(stream);
}

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

#define assert_log(expected) assert_string_equal(script.log, expected)

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

// ---- Answers ----------------------------------------------------------------------------------------------

static void test_requests_run_in_order_one_at_a_time(void **state)
{
    (void)state;
    llm_message message = {.role = "user", .content = "three"};
    int32_t token = 5;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *streams[] = {generate("one"), llm_backend_complete(backend, "two", NULL, &err),
                             llm_backend_generate_messages(backend, &message, 1, NULL, &err),
                             llm_backend_complete_tokens(backend, &token, 1, NULL, &err)};
    wait_for(script.generates == 1);
    script.hold_generate = false;
    for (int i = 3; i >= 0; i--) assert_int_equal(drain(streams[i]), LLM_END);
    for (int i = 0; i < 4; i++) llm_stream_free(streams[i]);
    assert_log("load:a generate:one generate:two generate:three generate:tokens ");
}

static void test_no_wait(void **state)
{
    (void)state;
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.no_wait = true;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *first = llm_backend_generate(backend, "one", &config, &err);
    assert_non_null(first);
    assert_null(llm_backend_generate(backend, "two", &config, &err));
    assert_int_equal(err.code, LLM_BUSY);
    script.hold_generate = false;
    // Whoever has seen the end of an answer is not told that it is busy.
    for (int i = 0; i < 500; i++) {
        assert_int_equal(drain(first), LLM_END);
        llm_stream *next = llm_backend_generate(backend, "next", &config, &err);
        if (!next) fail_msg("round %d: %s", i, err.message);
        llm_stream_free(first);
        first = next;
    }
    llm_stream_free(first);
}

static void test_cancel_takes_the_answer_that_runs(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("one"), *two = generate("two");
    wait_for(script.generates == 1);
    llm_backend_cancel(backend);
    assert_int_equal(drain(one), LLM_CANCELLED);
    assert_int_equal(chunk.kind, LLM_CHUNK_INFO);
    assert_int_equal(script.cancels, 1);
    wait_for(script.generates == 2); // the other one runs
    script.hold_generate = false;
    assert_int_equal(drain(two), LLM_END);
    llm_stream_free(one);
    llm_stream_free(two);
    llm_backend_cancel(backend); // nothing runs
    assert_int_equal(script.cancels, 1);
}

static void test_an_answer_that_waits_can_be_cancelled_or_freed_at_once(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("one"), *two = generate("two"), *three = generate("three"),
               *four = generate("four");
    wait_for(script.generates == 1);
    llm_stream_cancel(two);
    assert_int_equal(drain(two), LLM_CANCELLED);
    llm_stream_free(three); // does not wait for the first
    script.hold_generate = false;
    assert_int_equal(drain(four), LLM_END);
    llm_stream_free(one);
    llm_stream_free(two);
    llm_stream_free(four);
    assert_log("load:a generate:one generate:four ");
}

static void test_unload_cancels_everything_and_waits(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("one"), *two = generate("two");
    wait_for(script.generates == 1);
    llm_backend_unload(backend);
    assert_log("load:a generate:one unload ");
    llm_stream *streams[] = {one, two};
    for (int i = 0; i < 2; i++) {
        while (llm_stream_next(streams[i], 0, &chunk, &err) == LLM_OK) {} // it has all ended: no waiting
        assert_error(llm_stream_next(streams[i], 0, &chunk, &err), LLM_CANCELLED, "cancelled");
        llm_stream_free(streams[i]);
    }
    assert_int_equal(script.cancels, 1);
}

static void test_loading_another_model_cancels_answers_of_the_old_one(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("one");
    wait_for(script.generates == 1);
    load(&spec_b);
    assert_int_equal(drain(one), LLM_CANCELLED);
    assert_log("load:a generate:one unload load:b ");
    script.hold_generate = false;
    answer_all("new");
    llm_stream_free(one);
}

static void test_streams_outlive_their_backend(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("one"), *two = generate("two");
    wait_for(script.generates == 1);
    llm_backend_free(backend);
    backend = NULL;
    assert_int_equal(script.destroyed, 1);
    assert_ok(llm_stream_next(one, 0, &chunk, &err));
    assert_string_equal(chunk.text, "one"); // what was written is there
    assert_int_equal(drain(one), LLM_CANCELLED);
    assert_int_equal(drain(two), LLM_CANCELLED);
    llm_stream_cancel(one);
    llm_stream_free(one);
    llm_stream_free(two);
}

static void test_errors_of_generate_end_the_stream(void **state)
{
    (void)state;
    load(&spec_a);
    script.generate_result = LLM_TEMPLATE_ERROR;
    llm_stream *stream = generate("x");
    assert_error(drain(stream), LLM_TEMPLATE_ERROR, "template error");
    assert_int_equal(chunk.kind, LLM_CHUNK_TEXT); // and no info
    llm_stream_free(stream);
    script.generate_result = LLM_OK;
    answer_all("y");
}

// ---- The session ------------------------------------------------------------------------------------------

static void test_the_system_prompt_is_kept(void **state)
{
    (void)state;
    assert_null(llm_backend_system_prompt_copy(backend));
    assert_ok(llm_backend_set_system_prompt(backend, "S", &err));
    load(&spec_a);
    answer_all("1");
    load(&spec_b);
    answer_all("2");
    answer_all("3");
    assert_ok(llm_backend_set_system_prompt(backend, NULL, &err));
    answer_all("4");
    assert_log(
        "load:a prompt:S generate:1 system:S unload load:b prompt:S generate:2 system:S generate:3 system:S "
        "prompt:- generate:4 ");
    assert_ok(llm_backend_set_system_prompt(backend, "T", &err));
    char *copy = llm_backend_system_prompt_copy(backend);
    assert_string_equal(copy, "T");
    llm_free(copy);
    script.prompt_result = LLM_TEMPLATE_ERROR;
    assert_error(llm_backend_set_system_prompt(backend, "U", &err), LLM_TEMPLATE_ERROR, "set_system_prompt");
    copy = llm_backend_system_prompt_copy(backend);
    assert_string_equal(copy, "T"); // as before
    llm_free(copy);
}

static void test_a_prompt_set_during_an_answer_is_for_later_ones(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    llm_stream *one = generate("1"), *two = generate("2");
    wait_for(script.generates == 1);
    assert_ok(llm_backend_set_system_prompt(backend, "S", &err));
    llm_stream *three = generate("3"), *four = llm_backend_complete(backend, "4", NULL, &err);
    script.hold_generate = false;
    assert_int_equal(drain(four), LLM_END);
    assert_log("load:a generate:1 generate:2 prompt:S generate:3 system:S generate:4 ");
    llm_stream_free(one);
    llm_stream_free(two);
    llm_stream_free(three);
    llm_stream_free(four);
}

static void test_reset_comes_in_its_order(void **state)
{
    (void)state;
    assert_ok(llm_backend_reset(backend, &err)); // no model: nothing to forget
    load(&spec_a);
    assert_ok(llm_backend_reset(backend, &err));
    script.hold_generate = true;
    llm_stream *one = generate("1"), *two = generate("2");
    wait_for(script.generates == 1);
    assert_ok(llm_backend_reset(backend, &err));
    llm_stream *three = generate("3"), *four = generate("4");
    llm_stream_cancel(three); // the reset counts all the same
    script.hold_generate = false;
    assert_int_equal(drain(four), LLM_END);
    assert_log("load:a reset generate:1 generate:2 reset generate:4 ");
    llm_stream *streams[] = {one, two, three, four};
    for (int i = 0; i < 4; i++) llm_stream_free(streams[i]);
    script.reset_result = LLM_IO_ERROR;
    assert_error(llm_backend_reset(backend, &err), LLM_IO_ERROR, "reset");
}

static void test_a_reset_that_fails_later_fails_the_next_answer(void **state)
{
    (void)state;
    load(&spec_a);
    script.hold_generate = true;
    script.reset_result = LLM_IO_ERROR;
    llm_stream *one = generate("1");
    wait_for(script.generates == 1);
    assert_ok(llm_backend_reset(backend, &err));
    llm_stream *two = generate("2");
    script.hold_generate = false;
    assert_error(drain(two), LLM_IO_ERROR, "reset");
    llm_stream_free(one);
    llm_stream_free(two);
}

// ---- Scoring ----------------------------------------------------------------------------------------------

typedef struct scoring {
    llm_status status;
    atomic_int positions;
    int stop_after; // 0: never
} scoring;

static int count_position(void *user, int position, int32_t token, double next, const llm_token_logprob *top,
                          int num_top)
{
    scoring *s = user;
    (void)position;
    (void)token;
    (void)next;
    (void)top;
    (void)num_top;
    return atomic_fetch_add(&s->positions, 1) + 1 == s->stop_after;
}

static void *score_thread(void *user)
{
    static const int32_t tokens[] = {1, 2, 3};
    scoring *s = user;
    s->status = llm_backend_score(backend, tokens, 3, 0, count_position, s, NULL);
    return NULL;
}

static void test_scoring_takes_its_turn(void **state)
{
    (void)state;
    scoring s = {0};
    pthread_t thread;
    load(&spec_a);
    score_thread(&s);
    assert_int_equal(s.status, LLM_OK);
    assert_int_equal(s.positions, 3);
    s = (scoring){.stop_after = 2};
    score_thread(&s);
    assert_int_equal(s.status, LLM_CANCELLED);
    script.log[0] = 0;

    script.hold_generate = script.hold_score = true;
    llm_stream *one = generate("1");
    wait_for(script.generates == 1);
    s = (scoring){0};
    pthread_create(&thread, NULL, score_thread, &s);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    llm_stream *two = generate("2");
    assert_int_equal(script.scores, 2);
    script.hold_generate = false;
    wait_for(script.scores == 3);
    llm_backend_cancel(backend); // the scoring
    pthread_join(thread, NULL);
    assert_int_equal(s.status, LLM_CANCELLED);
    assert_int_equal(drain(two), LLM_END);
    assert_log("generate:1 score generate:2 ");
    llm_stream_free(one);
    llm_stream_free(two);
}

static void test_unload_stops_scoring_that_runs_or_waits(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        scoring s = {0};
        pthread_t thread;
        llm_stream *one = NULL;
        load(&spec_a);
        script.scores = script.generates = 0;
        script.hold_score = script.hold_generate = true;
        if (waits) {
            one = generate("1");
            wait_for(script.generates == 1);
        }
        pthread_create(&thread, NULL, score_thread, &s);
        if (waits)
            nanosleep(&(struct timespec){0, 20000000}, NULL);
        else
            wait_for(script.scores == 1);
        llm_backend_unload(backend);
        pthread_join(thread, NULL);
        assert_true(s.status == LLM_CANCELLED || (waits && s.status == LLM_MODEL_NOT_LOADED));
        assert_int_equal(script.scores, waits ? 0 : 1);
        llm_stream_free(one);
    }
}

// ---- Memory runs out --------------------------------------------------------------------------------------

// Everything an application does once, with `n` allocations granted; true when nothing failed.
static bool run_with_allocations(long n)
{
    bool complete = false;
    llm_stream *stream = NULL;
    llm_status status = LLM_OUT_OF_MEMORY;
    err = (llm_error){0};
    mem_fail_after(n);
    llm_backend *mock = llm_mock_backend_create(&err);
    if (mock) status = llm_backend_load(mock, &spec_a, NULL, NULL, &err);
    if (mock && status == LLM_OK) status = llm_backend_set_system_prompt(mock, "be short", &err);
    if (mock && status == LLM_OK) stream = llm_backend_generate(mock, "one two three", NULL, &err);
    if (stream) status = drain(stream), complete = status == LLM_END;
    mem_fail_after(-1);
    if (!complete && (err.code != LLM_OUT_OF_MEMORY || !err.message[0]))
        fail_msg("after %ld allocations: %s: %s", n, llm_status_name(err.code), err.message);
    llm_stream_free(stream);
    llm_backend_free(mock);
    return complete;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    long n = 0;
    while (!run_with_allocations(n)) n++;
    assert_true(n > 8);
}

#define rule(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

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
        rule(test_requests_run_in_order_one_at_a_time),
        rule(test_no_wait),
        rule(test_cancel_takes_the_answer_that_runs),
        rule(test_an_answer_that_waits_can_be_cancelled_or_freed_at_once),
        rule(test_unload_cancels_everything_and_waits),
        rule(test_loading_another_model_cancels_answers_of_the_old_one),
        rule(test_streams_outlive_their_backend),
        rule(test_errors_of_generate_end_the_stream),
        rule(test_the_system_prompt_is_kept),
        rule(test_a_prompt_set_during_an_answer_is_for_later_ones),
        rule(test_reset_comes_in_its_order),
        rule(test_a_reset_that_fails_later_fails_the_next_answer),
        rule(test_scoring_takes_its_turn),
        rule(test_unload_stops_scoring_that_runs_or_waits),
        rule(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
