// Tools and reasoning in the MLX backend beyond the contract: a model whose tokens follow a script (tools/make_scripted_model.py),
// and a real one if it is there.
#include "testing.h"
#include "files.h"
#include <stdio.h>

#define ADD "call add {\"a\":1,\"b\":2}"

static llm_error err;
static llm_chunk chunk;
static llm_backend *backend;
static llm_generation_config config;

static const llm_tool tools[] = {{"add", "Adds.",
                                  "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},"
                                  "\"required\":[\"a\",\"b\"]}"}};

static void load(const char *directory)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, directory);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
}

static int set_up(void **state)
{
    (void)state;
    backend = llm_mlx_backend_create(NULL, &err);
    if (!backend) return -1;
    load(golden("models/scripted"));
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.tools = tools;
    config.num_tools = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    llm_backend_free(backend);
    return 0;
}

// The chunks as one text: <reasoning> text [name arguments] [!error], and how it ended.
typedef struct answer {
    char text[4000], id[8][16];
    int num_calls;
    llm_status status;
    llm_finish_reason reason;
    llm_stats stats;
} answer;

static answer read_all(llm_stream *stream)
{
    answer a = {0};
    llm_chunk_kind last = LLM_CHUNK_TEXT;
    if (!stream) fail_msg("no stream: %s", err.message);
    while ((a.status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {
        size_t n = strlen(a.text), room = sizeof a.text - n;
        if (chunk.kind == LLM_CHUNK_REASONING) snprintf(a.text + n, room, "%s%s", last == chunk.kind ? "" : "~", chunk.text);
        if (chunk.kind == LLM_CHUNK_TEXT) snprintf(a.text + n, room, "%s%s", last == LLM_CHUNK_REASONING ? "~" : "", chunk.text);
        if (chunk.kind == LLM_CHUNK_TOOL_CALL) {
            snprintf(a.text + n, room, "[%s %s]", chunk.tool_name ? chunk.tool_name : "?", chunk.tool_error ? chunk.tool_error : chunk.text);
            snprintf(a.id[a.num_calls++ % 8], sizeof a.id[0], "%s", chunk.tool_call_id);
        }
        last = chunk.kind;
        if (chunk.kind != LLM_CHUNK_INFO) continue;
        a.reason = chunk.finish_reason;
        a.stats = chunk.stats;
    }
    llm_stream_free(stream);
    return a;
}

static answer ask(const char *prompt) { return read_all(llm_backend_generate(backend, prompt, &config, &err)); }

static char *answer_tool(void *user, const char *name, const char *arguments, llm_error *why)
{
    (void)name;
    (void)arguments;
    (void)why;
    return user ? llm_string_copy(user) : NULL;
}

// The tool says this; NULL: it fails without a word.
static void dispatch(const char *result)
{
    config.dispatch = answer_tool;
    config.dispatch_user = (void *)(uintptr_t)result;
}

static void test_what_the_reader_sees(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Hi.", "Hello there."},
        {ADD, "~I will add them.~Let me see.[add {\"a\":1,\"b\":2}]"},
        {"two calls", "One and two:[add {\"a\":1,\"b\":1}][add {\"a\":2,\"b\":2}]That is all."},
        {"call without end", "[? incomplete: the answer ended inside the call]"},
        {"think without end", "~on and on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer a = ask(cases[i][0]);
        assert_int_equal(a.status, LLM_END);
        assert_string_equal(a.text, cases[i][1]);
        assert_int_equal(a.reason, a.num_calls ? LLM_FINISH_TOOL_CALL : LLM_FINISH_STOP);
    }
}

// Without tools the tags of calls are nothing special, and the special tokens among them no text.
static void test_without_tools_there_are_no_calls(void **state)
{
    (void)state;
    config.num_tools = 0;
    answer a = ask("two calls");
    assert_int_equal(a.num_calls, 0);
    assert_int_equal(a.reason, LLM_FINISH_STOP);
    assert_non_null(strstr(a.text, "<tool_call>\n{\"name\": \"add\""));
}

static void test_results_of_several_calls(void **state)
{
    (void)state;
    answer a = ask("two calls");
    llm_tool_result results[2] = {{a.id[1], "4"}, {a.id[0], "3"}};
    assert_string_not_equal(a.id[0], a.id[1]);
    answer half = read_all(llm_backend_continue(backend, results, 1, &config, &err));
    assert_int_equal(half.status, LLM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "has no result"));
    llm_tool_result twice[2] = {{a.id[0], "3"}, {a.id[0], "3"}};
    assert_int_equal(read_all(llm_backend_continue(backend, twice, 2, &config, &err)).status, LLM_INVALID_ARGUMENT);
    answer b = read_all(llm_backend_continue(backend, results, 2, &config, &err));
    assert_int_equal(b.status, LLM_END);
    assert_string_equal(b.text, "The sum is 3.");
}

static void test_a_model_mends_a_rejected_call(void **state)
{
    (void)state;
    dispatch("3");
    answer a = ask("call nope {}");
    assert_string_equal(a.text, "[nope unknown tool: \"nope\"][add {\"a\":5,\"b\":5}]The sum is 3.");
    assert_int_equal(a.reason, LLM_FINISH_STOP);
    llm_backend_reset(backend, NULL);
    dispatch(NULL);
    a = ask(ADD); // the tool fails without a word
    assert_non_null(strstr(a.text, "[add {\"a\":1,\"b\":2}]"));
    assert_int_equal(a.status, LLM_END);
}

static char *break_down(void *user, const char *name, const char *arguments, llm_error *why)
{
    (void)user;
    (void)name;
    (void)arguments;
    snprintf(why->message, sizeof why->message, "it broke");
    return NULL;
}

static void test_the_model_is_told_how_a_tool_failed(void **state)
{
    (void)state;
    config.dispatch = break_down;
    answer a = ask(ADD);
    assert_non_null(strstr(a.text, "It did not work."));
}

static void test_rounds_are_bounded(void **state)
{
    (void)state;
    dispatch("again"); // at which the model calls again
    answer a = ask(ADD);
    assert_int_equal(a.status, LLM_END);
    assert_int_equal(a.num_calls, 17);
    assert_int_equal(a.reason, LLM_FINISH_TOOL_CALL); // the last call is the caller's
    llm_tool_result last = {a.id[16 % 8], "3"};
    dispatch("3");
    a = read_all(llm_backend_continue(backend, &last, 1, &config, &err));
    assert_string_equal(a.text, "The sum is 3.");
}

static void test_max_tokens_counts_all_passes(void **state)
{
    (void)state;
    dispatch("again");
    config.max_tokens = 20;
    answer a = ask(ADD);
    assert_int_equal(a.stats.generated_tokens, 20);
    assert_int_equal(a.reason, LLM_FINISH_LENGTH);
}

static void test_stats_add_up(void **state)
{
    (void)state;
    answer first = ask(ADD);
    llm_tool_result result = {first.id[0], "3"};
    answer second = read_all(llm_backend_continue(backend, &result, 1, &config, &err));
    llm_backend_reset(backend, NULL);
    dispatch("3");
    answer whole = ask(ADD);
    assert_int_equal(whole.stats.generated_tokens, first.stats.generated_tokens + second.stats.generated_tokens);
    assert_int_equal(whole.stats.prompt_tokens, first.stats.prompt_tokens + second.stats.prompt_tokens);
    assert_true(whole.stats.cached_prompt_tokens >= first.stats.prompt_tokens - 40); // the second pass reads what is new
}

static void test_the_same_seed_gives_the_same_ids(void **state)
{
    (void)state;
    config.seed = 5;
    answer a = ask(ADD), other = ask(ADD);
    llm_backend_reset(backend, NULL);
    answer b = ask(ADD);
    assert_string_equal(a.id[0], b.id[0]);
    assert_string_not_equal(a.id[0], other.id[0]); // the prompt is longer
}

static void test_templates_that_know_no_tools_refuse(void **state)
{
    (void)state;
    load(golden("models/chat"));
    answer a = ask("Hi.");
    assert_int_equal(a.status, LLM_UNSUPPORTED_FORMAT);
    assert_non_null(strstr(err.message, "does not know tools"));
    assert_non_null(strstr(err.message, "models/chat"));
    config.num_tools = 0;
    config.max_tokens = 4;
    assert_int_equal(ask("Hi.").status, LLM_END);
}

static void test_messages_that_are_no_calls(void **state)
{
    (void)state;
    llm_message messages[] = {{.role = "user", .content = "Hi."}, {.role = "assistant", .tool_calls_json = "[{\"id\":\"x\"}]"}};
    answer a = read_all(llm_backend_generate_messages(backend, messages, 2, &config, &err));
    assert_int_equal(a.status, LLM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "has no name"));
    messages[1].tool_calls_json = "[{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}]"; // the short form, arguments as text
    a = read_all(llm_backend_generate_messages(backend, messages, 2, &config, &err));
    assert_int_equal(a.status, LLM_END);
}

static void test_tools_from_json(void **state)
{
    (void)state;
    int count;
    llm_tool *read = llm_tools_from_json_copy("[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\": \"object\"}}},{\"name\":\"g\"}]", &count, &err);
    assert_non_null(read);
    assert_int_equal(count, 2);
    assert_string_equal(read[0].name, "f");
    assert_string_equal(read[0].description, "d");
    assert_string_equal(read[0].parameters, "{\"type\":\"object\"}");
    assert_string_equal(read[1].name, "g");
    assert_null(read[1].description);
    assert_null(read[1].parameters);
    llm_free(read);
    static const char *const wrong[][2] = {{"{}", "array"}, {"[", "not valid JSON"}, {"[{}]", "tool 1 has no name"}, {"[{\"name\":\"f\",\"parameters\":[]}]", "\"f\""}};
    for (int i = 0; i < 4; i++) {
        assert_null(llm_tools_from_json_copy(wrong[i][0], &count, &err));
        assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, wrong[i][1]));
    }
    read = llm_tools_from_json_copy("[]", &count, &err);
    assert_non_null(read);
    assert_int_equal(count, 0);
    llm_free(read);
}

static void test_the_default_model_refuses_tools(void **state)
{
    (void)state;
    const char *models = getenv("LLMLOCAL_TEST_MODELS");
    const char *directory = path_in(models ? models : "/nowhere", "smollm2-4bit");
    if (!file_exists(directory)) {
        print_message("SKIPPED: LLMLOCAL_TEST_MODELS has no smollm2-4bit\n");
        skip();
    }
    load(directory);
    assert_int_equal(ask("Hi.").status, LLM_UNSUPPORTED_FORMAT);
    config.num_tools = 0;
    config.max_tokens = 16;
    answer a = ask("Say hello.");
    assert_int_equal(a.status, LLM_END);
    assert_null(strchr(a.text, '~')); // it does not reason
}

#define rule(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rule(test_what_the_reader_sees),
        rule(test_without_tools_there_are_no_calls),
        rule(test_results_of_several_calls),
        rule(test_a_model_mends_a_rejected_call),
        rule(test_the_model_is_told_how_a_tool_failed),
        rule(test_rounds_are_bounded),
        rule(test_max_tokens_counts_all_passes),
        rule(test_stats_add_up),
        rule(test_the_same_seed_gives_the_same_ids),
        rule(test_templates_that_know_no_tools_refuse),
        rule(test_messages_that_are_no_calls),
        rule(test_tools_from_json),
        rule(test_the_default_model_refuses_tools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
