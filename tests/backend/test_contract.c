// What every backend keeps, as one suite that runs over a table of them. What only some can do is a column.
#include "testing.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct subject {
    const char *name;
    llm_backend *(*create)(llm_error *err);
    const char *base;   // loads
    bool has_weights;   // says how much memory the model takes, and refuses what is no model
    bool ends_never;    // config.ignore_end makes answers of any length
    int context_length; // 0: none
    const char *tool_base; // loads, and obeys "call NAME {…}" and "think WORDS"
} subject;

static llm_backend *create_mlx(llm_error *err)
{
    llm_mlx_options options;
    llm_mlx_options_init(&options);
    options.num_threads = 2;
    options.precision = LLM_PRECISION_EXACT;
    return llm_mlx_backend_create(&options, err);
}

static const subject subjects[] = {
    {.name = "mock", .create = llm_mock_backend_create, .base = "anything", .tool_base = "anything else"},
    {.name = "mlx",
     .create = create_mlx,
     .base = GOLDEN_DIR "/models/chat",
     .has_weights = true,
     .ends_never = true,
     .context_length = 256,
     .tool_base = GOLDEN_DIR "/models/scripted"},
};

static llm_error err;
static llm_chunk chunk;
static const subject *under_test;
static llm_backend *backend;
static llm_model_spec spec;
static llm_generation_config config; // greedy, and for the models that know no end, eight tokens

static int set_up(void **state)
{
    under_test = *state;
    llm_model_spec_init(&spec, under_test->base);
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.ignore_end = under_test->ends_never;
    config.max_tokens = under_test->ends_never ? 8 : 1 << 20;
    backend = under_test->create(&err);
    if (!backend) return print_error("%s: %s\n", under_test->name, err.message), -1;
    if (llm_backend_load(backend, &spec, NULL, NULL, &err) != LLM_OK)
        return print_error("%s: %s\n", under_test->name, err.message), -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    llm_backend_free(backend);
    return 0;
}

// ---- Answers as values ------------------------------------------------------------------------------------

typedef struct call {
    char id[20], name[40], arguments[100], error[200];
} call;

typedef struct result {
    char text[8000], reasoning[200];
    call calls[4];
    int num_calls;
    llm_status status;
    llm_finish_reason reason;
    llm_stats stats;
    int num_tokens;
    int32_t tokens[300];
} result;

static result read_all(llm_stream *stream)
{
    result r = {0};
    size_t length = 0;
    bool info = false;
    if (!stream) fail_msg("no stream: %s", err.message);
    while ((r.status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {
        assert_false(info);
        if (chunk.kind == LLM_CHUNK_TEXT && length + chunk.length < sizeof r.text) {
            memcpy(r.text + length, chunk.text, chunk.length);
            length += chunk.length;
        }
        if (chunk.kind == LLM_CHUNK_REASONING) strncat(r.reasoning, chunk.text, sizeof r.reasoning - strlen(r.reasoning) - 1);
        if (chunk.kind == LLM_CHUNK_TOOL_CALL && r.num_calls < 4) {
            call *c = &r.calls[r.num_calls++];
            snprintf(c->id, sizeof c->id, "%s", chunk.tool_call_id);
            snprintf(c->name, sizeof c->name, "%s", chunk.tool_name ? chunk.tool_name : "");
            snprintf(c->arguments, sizeof c->arguments, "%s", chunk.text);
            snprintf(c->error, sizeof c->error, "%s", chunk.tool_error ? chunk.tool_error : "");
        }
        if (chunk.kind != LLM_CHUNK_INFO) continue;
        info = true;
        r.reason = chunk.finish_reason;
        r.stats = chunk.stats;
        r.num_tokens = chunk.num_tokens;
        if (chunk.num_tokens > 0 && chunk.num_tokens <= 300)
            memcpy(r.tokens, chunk.tokens, (size_t)chunk.num_tokens * sizeof *r.tokens);
    }
    assert_int_equal(info, r.status == LLM_END || r.status == LLM_CANCELLED);
    llm_stream_free(stream);
    return r;
}

static result ask(const char *prompt)
{
    result r = read_all(llm_backend_generate(backend, prompt, &config, &err));
    if (r.status != LLM_END) fail_msg("%s: %s", prompt, err.message);
    return r;
}

static result complete(const char *text)
{
    result r = read_all(llm_backend_complete(backend, text, &config, &err));
    if (r.status != LLM_END) fail_msg("%s: %s", text, err.message);
    return r;
}

// An answer that has begun and would go on for long: it waits for its reader, or has no end.
static llm_stream *begin_long(void)
{
    static char words[3 << 20];
    llm_generation_config longer = config;
    longer.max_tokens = 1 << 20;
    memset(words, 'w', sizeof words - 1);
    for (size_t i = 4; i < sizeof words - 1; i += 5) words[i] = ' ';
    llm_stream *stream =
        llm_backend_generate(backend, under_test->ends_never ? "Go on." : words, &longer, &err);
    if (!stream) fail_msg("%s", err.message);
    assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    return stream;
}

// The context of a small model may be full before we cancel: then try again, but not for ever.
#define try_until_cancelled(attempt)                                                                         \
    do {                                                                                                     \
        int tries_ = under_test->ends_never ? 100 : 1;                                                       \
        while ((attempt) != LLM_CANCELLED)                                                                   \
            if (!--tries_) fail_msg("the answer was never cancelled");                                       \
    } while (0)

// ---- The rules --------------------------------------------------------------------------------------------

static void test_an_answer_has_text_and_true_numbers(void **state)
{
    (void)state;
    result r = ask("Say a word.");
    assert_true(strlen(r.text) > 0);
    assert_true(r.num_tokens > 0);
    assert_int_equal(r.num_tokens, r.stats.generated_tokens);
    assert_true(r.stats.generated_tokens <= config.max_tokens);
    assert_true(r.stats.prompt_tokens > 0);
    assert_true(r.stats.cached_prompt_tokens <= r.stats.prompt_tokens);
    assert_true(r.stats.first_token_seconds > 0);
    assert_true(r.stats.load_seconds == 0);
    assert_int_equal(r.reason, under_test->ends_never ? LLM_FINISH_LENGTH : LLM_FINISH_STOP);
}

static void test_max_tokens_cuts(void **state)
{
    (void)state;
    config.max_tokens = 2;
    result r = ask("Say three words, please.");
    assert_int_equal(r.stats.generated_tokens, 2);
    assert_int_equal(r.reason, LLM_FINISH_LENGTH);
}

static void test_greedy_answers_repeat(void **state)
{
    (void)state;
    result a = complete("Once upon a time"), b = complete("Once upon a time");
    assert_string_equal(a.text, b.text);
    assert_int_equal(a.num_tokens, b.num_tokens);
    assert_memory_equal(a.tokens, b.tokens, (size_t)a.num_tokens * sizeof *a.tokens);
}

static void test_the_session_goes_on(void **state)
{
    (void)state;
    result first = ask("My name is Ada."), second = ask("What is my name?");
    assert_true(second.stats.prompt_tokens > first.stats.prompt_tokens);
    assert_ok(llm_backend_reset(backend, &err));
    result again = ask("My name is Ada.");
    assert_int_equal(again.stats.prompt_tokens, first.stats.prompt_tokens);
    assert_string_equal(again.text, first.text);
}

static void test_other_requests_leave_the_session_alone(void **state)
{
    (void)state;
    llm_message messages[] = {{.role = "user", .content = "One."},
                              {.role = "assistant", .content = "Two."},
                              {.role = "user", .content = "Three."}};
    int32_t tokens[] = {5, 6, 7};
    ask("My name is Ada.");
    result plain = ask("And now?");
    assert_ok(llm_backend_reset(backend, &err));
    ask("My name is Ada.");
    result whole = read_all(llm_backend_generate_messages(backend, messages, 3, &config, &err));
    assert_int_equal(whole.status, LLM_END);
    complete("Some text.");
    result from_tokens = read_all(llm_backend_complete_tokens(backend, tokens, 3, &config, &err));
    assert_int_equal(from_tokens.status, LLM_END);
    assert_int_equal(from_tokens.stats.prompt_tokens, 3);
    result after = ask("And now?");
    assert_int_equal(after.stats.prompt_tokens, plain.stats.prompt_tokens);
    assert_string_equal(after.text, plain.text);
}

static void test_the_system_prompt_is_seen(void **state)
{
    (void)state;
    result without = ask("Hello.");
    assert_ok(llm_backend_reset(backend, &err));
    assert_ok(llm_backend_set_system_prompt(backend, "You speak like a sailor from long ago, always.", &err));
    result with = ask("Hello.");
    assert_true(with.stats.prompt_tokens > without.stats.prompt_tokens);
    assert_ok(llm_backend_set_system_prompt(backend, NULL, &err));
    assert_ok(llm_backend_reset(backend, &err));
    result again = ask("Hello.");
    assert_int_equal(again.stats.prompt_tokens, without.stats.prompt_tokens);
    assert_string_equal(again.text, without.text);
}

static void test_stop_strings_end_an_answer_and_are_not_part_of_it(void **state)
{
    (void)state;
    char stop[3] = "";
    result whole = complete("Tell me of ships and harbours");
    size_t length = strlen(whole.text), at = length / 2;
    while (at < length && ((whole.text[at] & 0x80) || (whole.text[at + 1] & 0x80))) at++; // plain ASCII only
    if (at + 2 > length) skip(); // the tiny model speaks no ASCII today
    memcpy(stop, whole.text + at, 2);
    const char *stops[] = {"\x01never", stop};
    config.stop = stops;
    config.num_stop = 2;
    result cut = complete("Tell me of ships and harbours");
    const char *expected_end = strstr(whole.text, stop);
    assert_int_equal(strlen(cut.text), expected_end - whole.text);
    assert_memory_equal(cut.text, whole.text, strlen(cut.text));
    assert_int_equal(cut.reason, LLM_FINISH_STOP);
}

static llm_status cancel_one(void)
{
    llm_stream *stream = begin_long();
    llm_stream_cancel(stream);
    result r = read_all(stream);
    if (r.status == LLM_CANCELLED) assert_int_equal(r.reason, LLM_FINISH_CANCELLED);
    if (r.status != LLM_CANCELLED) llm_backend_reset(backend, &err); // it joined the transcript
    return r.status;
}

static void test_a_cancelled_turn_is_rolled_back(void **state)
{
    (void)state;
    result plain = ask("Hello.");
    assert_ok(llm_backend_reset(backend, &err));
    try_until_cancelled(cancel_one());
    result after = ask("Hello.");
    assert_int_equal(after.stats.prompt_tokens, plain.stats.prompt_tokens);
    assert_string_equal(after.text, plain.text);
}

static llm_status cancel_backend(void)
{
    llm_stream *stream = begin_long();
    llm_backend_cancel(backend);
    llm_status status = read_all(stream).status;
    if (status != LLM_CANCELLED) llm_backend_reset(backend, &err);
    return status;
}

static void test_the_backend_cancels_what_runs(void **state)
{
    (void)state;
    try_until_cancelled(cancel_backend());
    ask("Hello.");
}

static llm_status unload_and_load(void)
{
    llm_stream *stream = begin_long();
    llm_backend_unload(backend);
    assert_false(llm_backend_is_loaded(backend));
    llm_status status = read_all(stream).status;
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    return status;
}

static void test_unload_ends_answers_and_a_new_load_begins_afresh(void **state)
{
    (void)state;
    result first = ask("Hello.");
    try_until_cancelled(unload_and_load());
    result again = ask("Hello.");
    assert_int_equal(again.stats.prompt_tokens, first.stats.prompt_tokens);
    assert_string_equal(again.text, first.text);
}

static llm_status free_and_create(void)
{
    llm_stream *stream = begin_long();
    llm_backend_free(backend);
    llm_status status = read_all(stream).status;
    backend = under_test->create(&err);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    return status;
}

static void test_streams_outlive_their_backend(void **state)
{
    (void)state;
    try_until_cancelled(free_and_create());
}

static void test_loading(void **state)
{
    (void)state;
    llm_model_spec other = spec;
    other.display_name = "the same by another name";
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err)); // nothing
    assert_ok(llm_backend_load(backend, &other, NULL, NULL, &err));
    llm_model_spec *current = llm_backend_current_model_copy(backend);
    assert_true(llm_model_spec_equal(current, &other));
    llm_free(current);
    llm_backend_unload(backend);
    assert_null(llm_backend_generate(backend, "Hello.", &config, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
}

static int stop_now(void *user, const char *what, double fraction)
{
    assert_non_null(what);
    assert_true(fraction >= 0 && fraction <= 1);
    return ++*(int *)user;
}

static void test_a_load_can_be_stopped(void **state)
{
    (void)state;
    int calls = 0;
    llm_backend_unload(backend);
    assert_error(llm_backend_load(backend, &spec, stop_now, &calls, &err), LLM_CANCELLED, "");
    assert_true(calls > 0);
    assert_false(llm_backend_is_loaded(backend));
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
}

static void test_what_is_no_model_is_refused(void **state)
{
    (void)state;
    llm_model_spec missing;
    llm_model_spec_init(&missing, "/nowhere/at/all");
    if (!under_test->has_weights) return;
    assert_error(llm_backend_load(backend, &missing, NULL, NULL, &err), LLM_LOAD_FAILED, "/nowhere/at/all");
    assert_false(llm_backend_is_loaded(backend));
}

static void test_memory(void **state)
{
    (void)state;
    llm_memory memory;
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_true(memory.resident_bytes > 0 && memory.peak_resident_bytes >= memory.resident_bytes);
    assert_int_equal(memory.weights_bytes > 0, under_test->has_weights);
}

static void test_the_context_has_an_end(void **state)
{
    (void)state;
    static char words[6000];
    if (!under_test->context_length) return;
    for (size_t i = 0; i + 1 < sizeof words; i++) words[i] = i % 3 == 2 ? ' ' : 'x';
    result r = read_all(llm_backend_complete(backend, words, &config, &err));
    assert_int_equal(r.status, LLM_CONTEXT_EXCEEDED);
    assert_int_equal(err.available, under_test->context_length);
    assert_true(err.required > err.available);
    int32_t wrong = 1 << 20;
    r = read_all(llm_backend_complete_tokens(backend, &wrong, 1, &config, &err));
    assert_int_equal(r.status, LLM_INVALID_ARGUMENT);
    ask("Hello."); // as if nothing had been
}

// ---- Sessions ----------------------------------------------------------------------------------------------

static llm_session *create_session(void)
{
    llm_session *session = llm_session_create(backend, &err);
    if (!session) fail_msg("%s", err.message);
    return session;
}

static result ask_in(llm_session *session, const char *prompt)
{
    result r = read_all(llm_session_generate(session, prompt, &config, &err));
    if (r.status != LLM_END) fail_msg("%s: %s", prompt, err.message);
    return r;
}

static void assert_same_answer(const result *a, const result *b)
{
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->num_tokens, b->num_tokens);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->num_tokens * sizeof *a->tokens);
    assert_int_equal(a->stats.prompt_tokens, b->stats.prompt_tokens);
}

static void assert_transcript(llm_session *session, const char *inside, const char *outside)
{
    char *json = llm_session_messages_json_copy(session, &err);
    if (!json) fail_msg("%s", err.message);
    assert_true(json[0] == '[' && json[strlen(json) - 1] == ']');
    if (inside && !strstr(json, inside)) fail_msg("no \"%s\" in %s", inside, json);
    if (outside && strstr(json, outside)) fail_msg("\"%s\" in %s", outside, json);
    llm_free(json);
}

static void test_sessions_do_not_see_each_other(void **state)
{
    (void)state;
    assert_ok(llm_backend_set_system_prompt(backend, "You are kind.", &err));
    result alone[2] = {ask("My name is Ada."), ask("And now?")};
    assert_ok(llm_backend_reset(backend, &err));
    llm_session *one = create_session(), *two = create_session();
    assert_ok(llm_session_set_system_prompt(one, "You are kind.", &err));
    assert_null(llm_session_system_prompt_copy(two));
    result first = ask_in(one, "My name is Ada.");
    ask_in(two, "The harbour is full of ships.");
    ask("It rains.");
    result second = ask_in(one, "And now?");
    assert_same_answer(&first, &alone[0]);
    assert_same_answer(&second, &alone[1]);
    assert_int_equal(second.stats.cached_prompt_tokens, alone[1].stats.cached_prompt_tokens);
    assert_transcript(one, "My name is Ada.", "harbour");
    assert_transcript(two, "harbour", "Ada");
    assert_transcript(llm_backend_session(backend), "It rains.", "Ada");
    assert_ok(llm_session_reset(two, &err));
    assert_transcript(two, NULL, "role");
    assert_transcript(one, "And now?", "harbour");
    llm_session_free(two);
    llm_session_free(one);
    assert_transcript(llm_backend_session(backend), "It rains.", NULL);
}

static void test_the_backends_own_session(void **state)
{
    (void)state;
    llm_session *own = llm_backend_session(backend);
    assert_non_null(own);
    assert_ok(llm_session_set_system_prompt(own, "You are kind.", &err));
    char *prompt = llm_backend_system_prompt_copy(backend);
    assert_string_equal(prompt, "You are kind.");
    llm_free(prompt);
    result first = ask("Hello."), second = ask_in(own, "And now?");
    assert_ok(llm_session_reset(own, &err));
    result again = ask_in(own, "Hello."), next = ask("And now?");
    assert_same_answer(&first, &again);
    assert_same_answer(&second, &next);
    llm_session_free(own); // is not ours to free: nothing happens
    ask("Hello.");
}

static void test_a_transcript_waits_for_its_turns(void **state)
{
    (void)state;
    llm_stream *stream = llm_backend_generate(backend, "My name is Ada.", &config, &err);
    assert_transcript(llm_backend_session(backend), "\"role\":\"user\",\"content\":\"My name is Ada.\"", NULL);
    assert_transcript(llm_backend_session(backend), "\"role\":\"assistant\"", "system");
    llm_stream_free(stream);
    llm_backend_unload(backend);
    assert_transcript(llm_backend_session(backend), NULL, "role");
}

static const char *session_path(void)
{
    static char path[200];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/llmlocal-session-%s-%d", folder ? folder : "/tmp", under_test->name, (int)getpid());
    return path;
}

static void check_save_and_load(void)
{
    llm_session *one = create_session(), *other = create_session();
    assert_ok(llm_session_set_system_prompt(one, "You are kind.", &err));
    ask_in(one, "My name is Ada.");
    result before = ask_in(one, "The harbour is full of ships.");
    assert_ok(llm_session_save(one, session_path(), &err));
    result expected = ask_in(one, "And now?");
    ask_in(other, "What was here goes away.");
    for (int i = 0; i < 2; i++) { // into another session, and back into the one that has gone on
        llm_session *into = i ? one : other;
        assert_ok(llm_session_load(into, session_path(), &err));
        assert_transcript(into, "ships", i ? "now" : "away");
        char *prompt = llm_session_system_prompt_copy(into);
        assert_string_equal(prompt, "You are kind.");
        llm_free(prompt);
        result restored = ask_in(into, "And now?");
        assert_same_answer(&restored, &expected);
        assert_int_equal(restored.stats.cached_prompt_tokens, expected.stats.cached_prompt_tokens);
        assert_true(restored.stats.cached_prompt_tokens >= before.stats.prompt_tokens);
    }
    llm_session_free(other);
    llm_session_free(one);
    remove(session_path());
}

static void test_a_saved_session_goes_on_as_if_nothing_had_been(void **state)
{
    (void)state;
    check_save_and_load();
    config.temperature = 1.5f;
    config.seed = 7;
    check_save_and_load();
}

static void test_sessions_survive_a_new_backend(void **state)
{
    (void)state;
    ask("My name is Ada.");
    assert_ok(llm_session_save(llm_backend_session(backend), session_path(), &err));
    result expected = ask("And now?");
    llm_backend_free(backend);
    backend = under_test->create(&err);
    assert_error(llm_session_load(llm_backend_session(backend), session_path(), &err), LLM_MODEL_NOT_LOADED, "no model");
    assert_error(llm_session_save(llm_backend_session(backend), session_path(), &err), LLM_MODEL_NOT_LOADED, "no model");
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    assert_ok(llm_session_load(llm_backend_session(backend), session_path(), &err));
    result restored = ask("And now?");
    assert_same_answer(&restored, &expected);
    assert_int_equal(restored.stats.cached_prompt_tokens, expected.stats.cached_prompt_tokens);
    remove(session_path());
}

static void test_files_that_are_no_sessions_are_refused(void **state)
{
    (void)state;
    llm_session *own = llm_backend_session(backend);
    result first = ask("My name is Ada."), second = ask("And now?");
    assert_ok(llm_backend_reset(backend, &err));
    result again = ask("My name is Ada.");
    assert_same_answer(&first, &again);
    FILE *file = fopen(session_path(), "w");
    fputs("neither JSON nor safetensors", file);
    fclose(file);
    llm_status status = llm_session_load(own, session_path(), &err);
    assert_true(status == LLM_UNSUPPORTED_FORMAT || status == LLM_LOAD_FAILED);
    assert_non_null(strstr(err.message, session_path()));
    assert_error(llm_session_load(own, "/nowhere/at/all", &err), LLM_IO_ERROR, "/nowhere/at/all");
    assert_error(llm_session_save(own, "/nowhere/at/all", &err), LLM_IO_ERROR, "/nowhere/at/all");
    assert_error(llm_session_load(own, NULL, &err), LLM_INVALID_ARGUMENT, "path");
    assert_error(llm_session_save(NULL, session_path(), &err), LLM_INVALID_ARGUMENT, "NULL");
    result next = ask("And now?"); // as if nothing had been
    assert_same_answer(&next, &second);
    remove(session_path());
}

static llm_status free_running_session(void)
{
    llm_session *one = create_session(), *two = create_session();
    static char words[3 << 20];
    llm_generation_config longer = config;
    longer.max_tokens = 1 << 20;
    memset(words, 'w', sizeof words - 1);
    for (size_t i = 4; i < sizeof words - 1; i += 5) words[i] = ' ';
    llm_stream *runs = llm_session_generate(one, under_test->ends_never ? "Go on." : words, &longer, &err);
    assert_ok(llm_stream_next(runs, LLM_FOREVER, &chunk, &err));
    llm_stream *next = llm_session_generate(two, "Hello.", &config, &err);
    llm_stream *waits = llm_session_generate(one, "Hello.", &config, &err);
    llm_session_free(one);
    llm_status status = read_all(runs).status;
    if (status == LLM_CANCELLED) assert_int_equal(read_all(waits).status, LLM_CANCELLED);
    else llm_stream_free(waits); // it came to its end before it heard
    assert_int_equal(read_all(next).status, LLM_END);
    llm_session_free(two);
    return status;
}

static void test_a_session_may_be_freed_while_it_answers(void **state)
{
    (void)state;
    try_until_cancelled(free_running_session());
    ask("Hello.");
}

static void test_sessions_are_empty_after_an_unload(void **state)
{
    (void)state;
    llm_session *session = create_session();
    assert_ok(llm_session_set_system_prompt(session, "You are kind.", &err));
    result first = ask_in(session, "My name is Ada.");
    llm_backend_unload(backend);
    assert_null(llm_session_generate(session, "And now?", &config, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
    assert_transcript(session, NULL, "role");
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    result again = ask_in(session, "My name is Ada.");
    assert_same_answer(&again, &first);
    assert_int_equal(again.stats.cached_prompt_tokens, 0);
    llm_session_free(session);
}

static void test_a_session_may_outlive_its_backend(void **state)
{
    (void)state;
    llm_session *session = create_session();
    ask_in(session, "My name is Ada.");
    llm_backend_free(backend);
    backend = NULL;
    assert_null(llm_session_generate(session, "And now?", &config, &err));
    assert_int_equal(err.code, LLM_MODEL_NOT_LOADED);
    assert_ok(llm_session_set_system_prompt(session, "You are kind.", &err));
    assert_ok(llm_session_reset(session, &err));
    assert_transcript(session, NULL, "role");
    assert_error(llm_session_save(session, session_path(), &err), LLM_MODEL_NOT_LOADED, "freed");
    llm_session_free(session);
}

// All that is done with sessions, with `n` allocations granted from the creation of one on; true when nothing failed.
static bool run_sessions_with_allocations(long n)
{
    llm_stream *stream = NULL;
    char *json = NULL;
    err = (llm_error){0};
    remove(session_path());
    mem_fail_after(n);
    llm_session *session = llm_session_create(backend, &err);
    llm_status status = session ? llm_session_set_system_prompt(session, "Be short.", &err) : err.code;
    if (status == LLM_OK && !(stream = llm_session_generate(session, "Hello.", &config, &err))) status = err.code;
    while (stream && (status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {}
    if (status == LLM_END) status = llm_session_save(session, session_path(), &err);
    if (status == LLM_OK) status = llm_session_load(session, session_path(), &err);
    if (status == LLM_OK && !(json = llm_session_messages_json_copy(session, &err))) status = err.code;
    mem_fail_after(-1);
    if (status != LLM_OK && (err.code != LLM_OUT_OF_MEMORY || !err.message[0]))
        fail_msg("after %ld allocations: %s: %s", n, llm_status_name(err.code), err.message);
    if (status == LLM_OK) assert_non_null(strstr(json, "Hello."));
    llm_free(json);
    llm_stream_free(stream);
    llm_session_free(session);
    return status == LLM_OK;
}

static void test_every_allocation_of_sessions_may_fail(void **state)
{
    (void)state;
    long n = 0;
    result before = ask("My name is Ada.");
    while (!run_sessions_with_allocations(n)) n++;
    assert_true(n > 8);
    remove(session_path());
    assert_ok(llm_backend_reset(backend, &err));
    result after = ask("My name is Ada.");
    assert_same_answer(&before, &after);
}

static int count_chunks(void *user, const llm_chunk *c)
{
    return (void)c, ++*(int *)user, 0;
}

static void test_pushing_instead_of_pulling(void **state)
{
    (void)state;
    int count = 0;
    llm_stream *stream = llm_backend_generate(backend, "Hello.", &config, &err);
    assert_ok(llm_stream_consume(stream, count_chunks, &count, &err));
    assert_true(count >= 2);
    llm_stream_free(stream);
}

// ---- Tools and reasoning ----------------------------------------------------------------------------------

#define ADD "call add {\"a\":1,\"b\":2}"

typedef struct tool_run {
    int calls;
    _Atomic(llm_stream *) cancelled; // from inside the tool, once it is known
    bool cancels, fails;
} tool_run;

static char *run_tool(void *user, const char *name, const char *arguments, llm_error *why)
{
    tool_run *run = user;
    run->calls++;
    assert_string_equal(name, "add");
    assert_non_null(strchr(arguments, '{'));
    while (run->cancels && !run->cancelled) usleep(100);
    if (run->cancels) llm_stream_cancel(run->cancelled);
    if (run->fails) return why->code = LLM_IO_ERROR, snprintf(why->message, sizeof why->message, "it broke"), NULL;
    return llm_string_copy("3");
}

static void use_tools(void)
{
    static const llm_tool tools[] = {
        {"add", "Adds.", "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},"
                         "\"required\":[\"a\",\"b\"]}"},
        {"now", NULL, NULL}};
    spec.base = spec.id = under_test->tool_base;
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    config.ignore_end = false;
    config.max_tokens = 1000;
    config.tools = tools;
    config.num_tools = 2;
}

static result go_on(const char *id, const char *content)
{
    llm_tool_result given = {id, content};
    return read_all(llm_backend_continue(backend, id ? &given : NULL, id ? 1 : 0, &config, &err));
}

static void test_a_call_ends_the_answer_and_its_result_continues_it(void **state)
{
    (void)state;
    use_tools();
    result first = ask(ADD);
    assert_int_equal(first.reason, LLM_FINISH_TOOL_CALL);
    assert_int_equal(first.num_calls, 1);
    assert_string_equal(first.calls[0].name, "add");
    assert_string_equal(first.calls[0].arguments, "{\"a\":1,\"b\":2}");
    assert_string_equal(first.calls[0].error, "");
    assert_int_equal(strlen(first.calls[0].id), 9);
    result second = go_on(first.calls[0].id, "3");
    assert_int_equal(second.status, LLM_END);
    assert_int_equal(second.reason, LLM_FINISH_STOP);
    assert_non_null(strchr(second.text, '3'));
    assert_true(second.stats.prompt_tokens > first.stats.prompt_tokens);
    assert_true(second.stats.cached_prompt_tokens > 0);
    assert_int_equal(second.num_tokens, second.stats.generated_tokens);
    result third = ask("Hello.");
    assert_true(third.stats.prompt_tokens > second.stats.prompt_tokens);
}

static void test_only_the_right_results_continue(void **state)
{
    (void)state;
    use_tools();
    ask("Hello.");
    assert_int_equal(go_on(NULL, NULL).status, LLM_INVALID_ARGUMENT);
    result first = ask(ADD);
    assert_int_equal(go_on(NULL, NULL).status, LLM_INVALID_ARGUMENT);
    assert_int_equal(go_on("another id", "3").status, LLM_INVALID_ARGUMENT);
    assert_null(llm_backend_continue(backend, &(llm_tool_result){first.calls[0].id, NULL}, 1, &config, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    assert_int_equal(go_on(first.calls[0].id, "3").status, LLM_END);
    assert_int_equal(go_on(first.calls[0].id, "3").status, LLM_INVALID_ARGUMENT);
}

static void test_rejected_calls_say_why(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"call nope {}", "unknown tool: \"nope\""},
                                           {"call add {\"a\":1}", "bad arguments: the call lacks \"b\""},
                                           {"call add {oops", "malformed: "}};
    use_tools();
    for (int i = 0; i < 3; i++) {
        result r = ask(cases[i][0]);
        assert_int_equal(r.num_calls, 1);
        assert_non_null(strstr(r.calls[0].error, cases[i][1]));
        assert_int_equal(r.reason, LLM_FINISH_TOOL_CALL);
        result next = go_on(NULL, NULL); // the backend tells the model by itself
        assert_int_equal(next.status, LLM_END);
    }
}

static void test_dispatch_runs_tools_and_the_answer_goes_on(void **state)
{
    (void)state;
    tool_run run = {0};
    use_tools();
    result alone = ask(ADD);
    assert_ok(llm_backend_reset(backend, &err));
    config.dispatch = run_tool;
    config.dispatch_user = &run;
    result r = ask(ADD);
    assert_int_equal(run.calls, 1);
    assert_int_equal(r.num_calls, 1);
    assert_int_equal(r.reason, LLM_FINISH_STOP);
    assert_non_null(strchr(r.text, '3'));
    assert_true(r.stats.generated_tokens > alone.stats.generated_tokens);
    assert_int_equal(r.num_tokens, r.stats.generated_tokens);
    run.fails = true;
    r = ask(ADD); // the model is told, and answers
    assert_int_equal(run.calls, 2);
    assert_true(strlen(r.text) > 0);
    r = ask("call add {\"a\":1}");
    assert_int_equal(run.calls, 2);
    assert_non_null(strstr(r.calls[0].error, "bad arguments"));
    assert_true(strlen(r.text) > 0);
}

static void test_a_turn_that_is_cancelled_in_a_tool_is_rolled_back_whole(void **state)
{
    (void)state;
    tool_run run = {.cancels = true};
    use_tools();
    result plain = ask("Hello.");
    assert_ok(llm_backend_reset(backend, &err));
    config.dispatch = run_tool;
    config.dispatch_user = &run;
    ask("Hello.");
    llm_stream *stream = llm_backend_generate(backend, ADD, &config, &err);
    assert_non_null(stream);
    run.cancelled = stream;
    assert_int_equal(read_all(stream).status, LLM_CANCELLED);
    assert_int_equal(run.calls, 1);
    result after = ask("Hello.");
    assert_ok(llm_backend_reset(backend, &err));
    config.dispatch = NULL;
    ask("Hello.");
    result expected = ask("Hello.");
    assert_true(expected.stats.prompt_tokens > plain.stats.prompt_tokens);
    assert_int_equal(after.stats.prompt_tokens, expected.stats.prompt_tokens);
    assert_string_equal(after.text, expected.text);
}

static void test_tools_in_messages(void **state)
{
    (void)state;
    use_tools();
    llm_message messages[] = {
        {.role = "user", .content = ADD},
        {.role = "assistant", .tool_calls_json = "[{\"id\":\"abcdefghi\",\"type\":\"function\",\"function\":{\"name\":\"add\","
                                                 "\"arguments\":{\"a\":1,\"b\":2}}}]"},
        {.role = "tool", .content = "3", .tool_call_id = "abcdefghi", .name = "add"}};
    result call = read_all(llm_backend_generate_messages(backend, messages, 1, &config, &err));
    assert_int_equal(call.num_calls, 1);
    assert_int_equal(call.reason, LLM_FINISH_TOOL_CALL);
    result answer = read_all(llm_backend_generate_messages(backend, messages, 3, &config, &err));
    assert_int_equal(answer.reason, LLM_FINISH_STOP);
    assert_non_null(strchr(answer.text, '3'));
    assert_int_equal(go_on(call.calls[0].id, "3").status, LLM_INVALID_ARGUMENT); // the session knows nothing of it
    assert_null(llm_backend_complete(backend, "text", &config, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
}

static void test_reasoning_is_apart_from_the_answer(void **state)
{
    (void)state;
    use_tools();
    config.num_tools = 0;
    result r = ask("think of ships");
    assert_string_equal(r.reasoning, "of ships");
    assert_true(strlen(r.text) > 0);
    assert_null(strstr(r.text, "<"));
    const char *stops[] = {"of"};
    config.stop = stops;
    config.num_stop = 1;
    r = ask("think of ships"); // a stop string ends text, not reasoning
    assert_string_equal(r.reasoning, "of ships");
}

// Everything an application does once, with `n` allocations granted; true when nothing failed.
static bool run_with_allocations(const char *prompt, long n)
{
    bool complete = false;
    llm_stream *stream = NULL;
    llm_status status = LLM_OUT_OF_MEMORY;
    err = (llm_error){0};
    mem_fail_after(n);
    llm_backend *fresh = under_test->create(&err);
    if (fresh) status = llm_backend_load(fresh, &spec, NULL, NULL, &err);
    if (fresh && status == LLM_OK) status = llm_backend_set_system_prompt(fresh, "Be short.", &err);
    if (fresh && status == LLM_OK) stream = llm_backend_generate(fresh, prompt, &config, &err);
    while (stream && (status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {}
    complete = status == LLM_END;
    mem_fail_after(-1);
    if (!complete && (err.code != LLM_OUT_OF_MEMORY || !err.message[0]))
        fail_msg("after %ld allocations: %s: %s", n, llm_status_name(err.code), err.message);
    llm_stream_free(stream);
    llm_backend_free(fresh);
    return complete;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    long n = 0;
    while (!run_with_allocations("Hello.", n)) n++;
    assert_true(n > 8);
}

static void test_every_allocation_of_a_tool_call_may_fail(void **state)
{
    (void)state;
    long n = 0;
    tool_run run = {0};
    use_tools();
    config.dispatch = run_tool;
    config.dispatch_user = &run;
    while (!run_with_allocations(ADD, n)) n++;
    assert_true(n > 8 && run.calls > 0);
}

#define rule(test)                                                                                           \
    {                                                                                                        \
#test, test, set_up, tear_down, NULL                                                                 \
    }

int main(void)
{
    const struct CMUnitTest rules[] = {
        rule(test_an_answer_has_text_and_true_numbers),
        rule(test_max_tokens_cuts),
        rule(test_greedy_answers_repeat),
        rule(test_the_session_goes_on),
        rule(test_other_requests_leave_the_session_alone),
        rule(test_the_system_prompt_is_seen),
        rule(test_stop_strings_end_an_answer_and_are_not_part_of_it),
        rule(test_a_cancelled_turn_is_rolled_back),
        rule(test_the_backend_cancels_what_runs),
        rule(test_unload_ends_answers_and_a_new_load_begins_afresh),
        rule(test_streams_outlive_their_backend),
        rule(test_loading),
        rule(test_a_load_can_be_stopped),
        rule(test_what_is_no_model_is_refused),
        rule(test_memory),
        rule(test_the_context_has_an_end),
        rule(test_pushing_instead_of_pulling),
        rule(test_a_call_ends_the_answer_and_its_result_continues_it),
        rule(test_only_the_right_results_continue),
        rule(test_rejected_calls_say_why),
        rule(test_dispatch_runs_tools_and_the_answer_goes_on),
        rule(test_a_turn_that_is_cancelled_in_a_tool_is_rolled_back_whole),
        rule(test_tools_in_messages),
        rule(test_reasoning_is_apart_from_the_answer),
        rule(test_every_allocation_may_fail),
        rule(test_every_allocation_of_a_tool_call_may_fail),
        rule(test_sessions_do_not_see_each_other),
        rule(test_the_backends_own_session),
        rule(test_a_transcript_waits_for_its_turns),
        rule(test_a_saved_session_goes_on_as_if_nothing_had_been),
        rule(test_sessions_survive_a_new_backend),
        rule(test_files_that_are_no_sessions_are_refused),
        rule(test_a_session_may_be_freed_while_it_answers),
        rule(test_sessions_are_empty_after_an_unload),
        rule(test_a_session_may_outlive_its_backend),
        rule(test_every_allocation_of_sessions_may_fail),
    };
    int failures = 0;
    for (size_t s = 0; s < sizeof subjects / sizeof *subjects; s++) {
        struct CMUnitTest tests[sizeof rules / sizeof *rules];
        char names[sizeof rules / sizeof *rules][120];
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
            tests[i] = rules[i];
            snprintf(names[i], sizeof names[i], "%s: %s", subjects[s].name, rules[i].name);
            tests[i].name = names[i];
            tests[i].initial_state = (void *)(uintptr_t)&subjects[s];
        }
        failures += cmocka_run_group_tests_name(subjects[s].name, tests, NULL, NULL);
    }
    return failures;
}
