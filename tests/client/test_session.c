// The rules of llm_session over a scripted backend: when states are made, emptied and freed, and in which order.
#include "testing.h"
#include "base/mem.h"
#include "client/scripted.h"

static llm_error err;
static llm_chunk chunk;
static scripted script;
static llm_backend *backend;
static llm_model_spec spec_a, spec_b;
static int num_states, num_created;

static llm_status note(void *state, const char *what, const int *session, const char *detail)
{
    char text[100];
    scripted_enter(state, true);
    snprintf(text, sizeof text, "%d%s%s", *session, detail ? "," : "", detail ? detail : "");
    scripted_note(state, what, text);
    return scripted_leave(state, LLM_OK);
}

static llm_status create_state(void *state, void **session, llm_error *e)
{
    int *number = mem_alloc(sizeof *number);
    if (!number) return error_no_memory(e, "a state");
    *number = ++num_created;
    num_states++;
    *session = number;
    return note(state, "create", number, NULL);
}

static void free_state(void *state, void *session)
{
    note(state, "free", session, NULL);
    num_states--;
    mem_free(session);
}

static llm_status reset_state(void *state, void *session, llm_error *e)
{
    (void)e;
    note(state, "empty", session, NULL);
    return atomic_load(&((scripted *)state)->reset_result);
}

static llm_status save_state(void *state, void *session, const char *system_prompt, const char *path, llm_error *e)
{
    (void)e;
    note(state, "save", session, system_prompt ? system_prompt : "-");
    return strcmp(path, "full") ? LLM_OK : LLM_IO_ERROR;
}

static llm_status load_state(void *state, void *session, const char *path, char **system_prompt, llm_error *e)
{
    (void)e;
    note(state, "restore", session, path);
    if (!strcmp(path, "missing")) return LLM_IO_ERROR;
    *system_prompt = llm_string_copy(path);
    return LLM_OK;
}

static char *messages_of(void *state, void *session, llm_error *e)
{
    note(state, "messages", session, NULL);
    (void)e;
    return llm_string_copy("[1]");
}

static llm_status generate_in(void *state, const llm_request *request, llm_stream_writer *writer, llm_error *e)
{
    const int *session = request->session;
    char number[12];
    snprintf(number, sizeof number, "%d", session ? *session : 0);
    scripted_note(state, "in", number);
    return scripted_generate(state, request, writer, e);
}

static llm_backend_methods with_sessions(void)
{
    llm_backend_methods table = scripted_methods;
    table.generate = generate_in;
    table.session_create = create_state;
    table.session_free = free_state;
    table.session_reset = reset_state;
    table.session_save = save_state;
    table.session_load = load_state;
    table.session_messages_json = messages_of;
    return table;
}

static int set_up_table(const llm_backend_methods *table)
{
    memset(&script, 0, sizeof script);
    pthread_mutex_init(&script.lock, NULL);
    num_states = num_created = 0;
    llm_model_spec_init(&spec_a, "a");
    llm_model_spec_init(&spec_b, "b");
    backend = llm_backend_create(table, &script, &err);
    return backend && llm_backend_load(backend, &spec_a, NULL, NULL, &err) == LLM_OK ? 0 : -1;
}

static int set_up(void **state)
{
    llm_backend_methods table = with_sessions(); // is copied
    (void)state;
    return set_up_table(&table);
}

static int tear_down(void **state)
{
    (void)state;
    script.hold_load = script.hold_generate = script.hold_score = false;
    llm_backend_free(backend);
    if (num_states) return print_error("%d states are left\n", num_states), -1;
    if (script.overlaps || script.misuses)
        return print_error("%d overlaps, %d misuses\n", script.overlaps, script.misuses), -1;
    return 0;
}

static llm_session *create(void)
{
    llm_session *session = llm_session_create(backend, &err);
    if (!session) fail_msg("%s", err.message);
    return session;
}

static llm_stream *generate(llm_session *session, const char *prompt)
{
    llm_stream *stream = llm_session_generate(session, prompt, NULL, &err);
    if (!stream) fail_msg("generate: %s", err.message);
    return stream;
}

static llm_status drain(llm_stream *stream)
{
    llm_status status;
    while ((status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {}
    return status;
}

static void answer_all(llm_session *session, const char *prompt)
{
    llm_stream *stream = generate(session, prompt);
    assert_int_equal(drain(stream), LLM_END);
    llm_stream_free(stream);
}

#define assert_log(expected) assert_string_equal(script.log, expected)

static void test_states_come_at_the_first_use_and_go_before_the_model(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create(), *unused = create();
    assert_log("load:a ");
    answer_all(one, "x");
    answer_all(llm_backend_session(backend), "y");
    answer_all(one, "z");
    assert_log("load:a create:1 in:1 generate:x create:2 in:2 generate:y in:1 generate:z ");
    answer_all(two, "w");
    script.log[0] = 0;
    llm_session_free(one); // at once: nobody uses the model
    llm_session_free(unused);
    assert_log("free:1 ");
    assert_ok(llm_backend_load(backend, &spec_b, NULL, NULL, &err));
    assert_string_equal(strstr(script.log, "unload"), "unload load:b ");
    assert_int_equal(num_states, 0);
    script.log[0] = 0;
    answer_all(two, "v");
    assert_log("create:4 in:4 generate:v ");
    llm_session_free(two);
}

static void test_other_requests_have_no_session(void **state)
{
    (void)state;
    llm_stream *stream = llm_backend_complete(backend, "text", NULL, &err);
    assert_int_equal(drain(stream), LLM_END);
    llm_stream_free(stream);
    assert_log("load:a in:0 generate:text ");
}

static void test_requests_of_all_sessions_run_in_one_order(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    script.hold_generate = true;
    llm_stream *streams[] = {generate(one, "a"), generate(two, "b"), generate(one, "c"), generate(two, "d")};
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.no_wait = true;
    assert_null(llm_session_generate(two, "e", &config, &err));
    assert_int_equal(err.code, LLM_BUSY);
    script.hold_generate = false;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(drain(streams[i]), LLM_END);
        llm_stream_free(streams[i]);
    }
    assert_log("load:a create:1 in:1 generate:a create:2 in:2 generate:b in:1 generate:c in:2 generate:d ");
    llm_session_free(one);
    llm_session_free(two);
}

static void test_a_reset_is_its_sessions_own(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    answer_all(one, "a");
    answer_all(two, "b");
    script.log[0] = 0;
    assert_ok(llm_session_reset(one, &err));
    script.hold_generate = true;
    llm_stream *c = generate(two, "c");
    wait_for(script.generates == 3);
    assert_ok(llm_session_reset(two, &err)); // comes when it is asked next
    llm_stream *d = generate(one, "d"), *e = generate(two, "e");
    script.hold_generate = false;
    assert_int_equal(drain(e), LLM_END);
    assert_log("empty:1 in:2 generate:c in:1 generate:d empty:2 in:2 generate:e ");
    llm_stream_free(c);
    llm_stream_free(d);
    llm_stream_free(e);
    script.reset_result = LLM_IO_ERROR;
    assert_error(llm_session_reset(one, &err), LLM_IO_ERROR, "session_reset");
    llm_session_free(one);
    llm_session_free(two);
}

static void test_system_prompts_are_their_sessions_own(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    assert_ok(llm_session_set_system_prompt(one, "S", &err));
    assert_ok(llm_backend_set_system_prompt(backend, "T", &err));
    answer_all(one, "a");
    answer_all(two, "b");
    answer_all(llm_backend_session(backend), "c");
    assert_log("load:a create:1 in:1 generate:a system:S create:2 in:2 generate:b create:3 in:3 generate:c system:T ");
    assert_int_equal(script.prompts, 0); // requests say it
    llm_session_free(one);
    llm_session_free(two);
}

static void test_freeing_cancels_what_runs_and_what_waits(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    script.hold_generate = true;
    llm_stream *a = generate(one, "a"), *b = generate(two, "b"), *c = generate(one, "c"), *d = generate(two, "d");
    wait_for(script.generates == 1);
    llm_session_free(one);
    assert_int_equal(drain(a), LLM_CANCELLED);
    assert_int_equal(drain(c), LLM_CANCELLED);
    wait_for(script.generates == 2);
    llm_session *third = create(); // takes the place in the lists
    llm_session_free(third);
    script.hold_generate = false;
    assert_int_equal(drain(b), LLM_END);
    assert_int_equal(drain(d), LLM_END);
    assert_int_equal(num_states, 1);
    assert_non_null(strstr(script.log, "generate:a free:1 create:2 in:2 generate:b in:2 generate:d "));
    llm_stream_free(a);
    llm_stream_free(b);
    llm_stream_free(c);
    llm_stream_free(d);
    llm_session_free(two);
}

static void test_freeing_a_session_does_not_wait_for_others(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    answer_all(one, "a");
    script.hold_generate = script.deaf = true;
    llm_stream *b = generate(two, "b");
    wait_for(script.generates == 2);
    llm_session_free(one); // returns, although the model is in use
    assert_int_equal(num_states, 2);
    script.hold_generate = script.deaf = false;
    assert_int_equal(drain(b), LLM_END);
    assert_int_equal(num_states, 1); // freed before anyone saw the end
    llm_stream_free(b);
    llm_session_free(two);
}

static void test_saving_and_loading_take_their_turns(void **state)
{
    (void)state;
    llm_session *one = create();
    assert_ok(llm_session_set_system_prompt(one, "S", &err));
    llm_stream *a = generate(one, "a");
    assert_ok(llm_session_save(one, "file", &err));
    assert_log("load:a create:1 in:1 generate:a system:S save:1,S ");
    assert_ok(llm_session_load(one, "file", &err));
    char *prompt = llm_session_system_prompt_copy(one);
    assert_string_equal(prompt, "file");
    llm_free(prompt);
    script.log[0] = 0;
    assert_error(llm_session_save(one, "full", &err), LLM_IO_ERROR, "session_save");
    assert_error(llm_session_load(one, "missing", &err), LLM_IO_ERROR, "session_load");
    prompt = llm_session_system_prompt_copy(one);
    assert_string_equal(prompt, "file");
    llm_free(prompt);
    char *json = llm_session_messages_json_copy(one, &err);
    assert_string_equal(json, "[1]");
    llm_free(json);
    assert_log("save:1,file restore:1,missing messages:1 ");
    llm_stream_free(a);
    llm_session_free(one);
}

typedef struct saving {
    llm_session *session;
    llm_status status;
    atomic_bool done;
} saving;

static void *save_in_thread(void *user)
{
    saving *s = user;
    s->status = llm_session_save(s->session, "file", NULL);
    atomic_store(&s->done, true);
    return NULL;
}

static void test_unload_cancels_a_save_that_waits(void **state)
{
    (void)state;
    saving s = {.session = create()};
    pthread_t thread;
    script.hold_generate = true;
    llm_stream *a = generate(s.session, "a");
    wait_for(script.generates == 1);
    pthread_create(&thread, NULL, save_in_thread, &s);
    struct timespec moment = {0, 20000000};
    nanosleep(&moment, NULL);
    assert_false(atomic_load(&s.done));
    llm_backend_unload(backend);
    pthread_join(thread, NULL);
    assert_true(s.status == LLM_CANCELLED || s.status == LLM_MODEL_NOT_LOADED);
    assert_null(strstr(script.log, "save"));
    assert_int_equal(drain(a), LLM_CANCELLED);
    llm_stream_free(a);
    llm_session_free(s.session);
}

static void test_sessions_may_be_freed_during_a_load_and_after_the_backend(void **state)
{
    (void)state;
    llm_session *one = create(), *two = create();
    answer_all(one, "a");
    answer_all(two, "b");
    llm_backend_unload(backend);
    llm_session_free(one); // no model
    assert_int_equal(num_states, 0);
    llm_backend_free(backend);
    assert_int_equal(script.destroyed, 1);
    backend = NULL;
    assert_null(llm_session_generate(two, "c", NULL, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
    assert_error(llm_session_load(two, "file", &err), LLM_MODEL_NOT_LOADED, "freed");
    llm_session_free(two);
}

static void test_a_reset_slot_is_not_needed(void **state)
{
    (void)state;
    llm_backend_free(backend);
    llm_backend_methods table = with_sessions();
    table.session_reset = NULL;
    assert_int_equal(set_up_table(&table), 0);
    llm_session *own = llm_backend_session(backend);
    answer_all(own, "a");
    assert_ok(llm_session_reset(own, &err));
    answer_all(own, "b");
    assert_log("load:a create:1 in:1 generate:a free:1 create:2 in:2 generate:b ");
    table.session_free = NULL;
    assert_null(llm_backend_create(&table, NULL, &err));
    assert_non_null(strstr(err.message, "\"session_free\""));
}

// A table built against version 1 ends before the session slots: what lies behind it is not looked at.
static void test_tables_of_version_1_have_one_session(void **state)
{
    (void)state;
    llm_backend_free(backend);
    llm_backend_methods table = with_sessions();
    table.api_version = 1;
    table.generate = scripted_generate;
    assert_int_equal(set_up_table(&table), 0);
    assert_null(llm_session_create(backend, &err));
    assert_int_equal(err.code, LLM_UNSUPPORTED_FORMAT);
    assert_error(llm_session_save(llm_backend_session(backend), "file", &err), LLM_UNSUPPORTED_FORMAT, "scripted");
    answer_all(llm_backend_session(backend), "a");
    assert_ok(llm_session_reset(llm_backend_session(backend), &err));
    assert_log("load:a generate:a reset ");
}

static void test_null_arguments(void **state)
{
    (void)state;
    assert_null(llm_session_create(NULL, &err));
    assert_null(llm_backend_session(NULL));
    assert_null(llm_session_generate(NULL, "x", NULL, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    assert_error(llm_session_reset(NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_session_set_system_prompt(NULL, "x", &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_session_save(NULL, "x", &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_session_load(NULL, "x", &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_null(llm_session_messages_json_copy(NULL, &err));
    assert_null(llm_session_system_prompt_copy(NULL));
    assert_int_equal(llm_session_save(llm_backend_session(backend), "full", NULL), LLM_IO_ERROR);
    assert_int_equal(llm_session_save(llm_backend_session(backend), "", NULL), LLM_INVALID_ARGUMENT);
    llm_session_free(NULL);
}

#define rule(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rule(test_states_come_at_the_first_use_and_go_before_the_model),
        rule(test_other_requests_have_no_session),
        rule(test_requests_of_all_sessions_run_in_one_order),
        rule(test_a_reset_is_its_sessions_own),
        rule(test_system_prompts_are_their_sessions_own),
        rule(test_freeing_cancels_what_runs_and_what_waits),
        rule(test_freeing_a_session_does_not_wait_for_others),
        rule(test_saving_and_loading_take_their_turns),
        rule(test_unload_cancels_a_save_that_waits),
        rule(test_sessions_may_be_freed_during_a_load_and_after_the_backend),
        rule(test_a_reset_slot_is_not_needed),
        rule(test_tables_of_version_1_have_one_session),
        rule(test_null_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
