// Chats on the MLX backend with the tiny golden chat model: MLX's own greedy answers, and a session that gives what
// the same conversation gives from scratch while it reads only what is new.
#include "testing.h"
#include "base/json.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>

static llm_error err;
static llm_backend *backend;
static llm_generation_config config;

typedef struct answer {
    char text[4000];
    int32_t tokens[300];
    int num_tokens, num_logprobs;
    double logprob_sum;
    llm_finish_reason reason;
    llm_stats stats;
    llm_status status;
} answer;

static answer read_answer(llm_stream *stream)
{
    answer a = {0};
    llm_chunk chunk;
    size_t length = 0;
    if (!stream) fail_msg("no stream: %s", err.message);
    while ((a.status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {
        if (chunk.kind == LLM_CHUNK_TEXT) {
            assert_true(length + chunk.length < sizeof a.text);
            memcpy(a.text + length, chunk.text, chunk.length);
            length += chunk.length;
        } else if (chunk.kind == LLM_CHUNK_LOGPROBS) {
            a.num_logprobs++;
            a.logprob_sum += (double)chunk.logprobs[0].logprob;
            for (int i = 1; i < chunk.num_logprobs; i++) assert_true(chunk.logprobs[i].logprob <= 0);
        } else {
            a.reason = chunk.finish_reason;
            a.stats = chunk.stats;
            a.num_tokens = chunk.num_tokens;
            memcpy(a.tokens, chunk.tokens, (size_t)chunk.num_tokens * sizeof *a.tokens);
        }
    }
    llm_stream_free(stream);
    return a;
}

static int set_up(void **state)
{
    (void)state;
    llm_mlx_options options;
    llm_model_spec spec;
    llm_mlx_options_init(&options);
    options.precision = LLM_PRECISION_EXACT;
    llm_model_spec_init(&spec, GOLDEN_DIR "/models/chat");
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = 12;
    config.ignore_end = true;
    backend = llm_mlx_backend_create(&options, &err);
    return backend && llm_backend_load(backend, &spec, NULL, NULL, &err) == LLM_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    llm_backend_free(backend);
    return 0;
}

static void test_greedy_answers_are_mlxs(void **state)
{
    (void)state;
    yyjson_doc *doc;
    assert_ok(json_read_file(GOLDEN_DIR "/models/chat/expected.json", 1 << 20, &doc, &err));
    size_t i, count;
    yyjson_val *test;
    config.max_tokens = 32;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, count, test)
    {
        yyjson_val *message = yyjson_arr_get_first(yyjson_obj_get(test, "messages"));
        assert_ok(llm_backend_reset(backend, &err));
        answer a = read_answer(llm_backend_generate(backend, yyjson_get_str(yyjson_obj_get(message, "content")), &config, &err));
        assert_int_equal(a.status, LLM_END);
        assert_int_equal(a.reason, LLM_FINISH_LENGTH);
        assert_int_equal(a.num_tokens, 32);
        assert_int_equal(a.stats.prompt_tokens, yyjson_arr_size(yyjson_obj_get(test, "ids")));
        for (int t = 0; t < 32; t++)
            assert_int_equal(a.tokens[t], yyjson_get_int(yyjson_arr_get(yyjson_obj_get(test, "greedy"), (size_t)t)));
    }
    assert_true(count >= 3);
    json_free(doc);
}

static void test_the_end_token_ends_the_answer(void **state)
{
    (void)state;
    config.ignore_end = false;
    config.max_tokens = 100;
    answer a = read_answer(llm_backend_generate(backend, "Say a word.", &config, &err));
    assert_int_equal(a.reason, LLM_FINISH_STOP);
    assert_int_equal(a.stats.generated_tokens, 15); // MLX's answer has its end token there
    assert_int_equal(a.num_tokens, 15);
}

// The same conversation, all of it read: a token that begins no prompt drives out what the latest one has left.
static answer read_from_scratch(const llm_message *messages, int count)
{
    int32_t other = 300;
    llm_generation_config one = config;
    one.max_tokens = 1;
    read_answer(llm_backend_complete_tokens(backend, &other, 1, &one, &err));
    answer a = read_answer(llm_backend_generate_messages(backend, messages, count, &config, &err));
    assert_int_equal(a.status, LLM_END);
    assert_int_equal(a.stats.cached_prompt_tokens, 0);
    return a;
}

// Turn by turn in the session, and at once from the messages: the same answer; only new tokens are read.
static void test_a_session_answers_as_the_whole_conversation_would(void **state)
{
    (void)state;
    const char *prompts[] = {"Say a word.", "Who says what?", "Again."};
    llm_message messages[8];
    answer turns[3];
    int count = 0;
    assert_ok(llm_backend_set_system_prompt(backend, "You are brief.", &err));
    messages[count++] = (llm_message){.role = "system", .content = "You are brief."};
    for (int turn = 0; turn < 3; turn++) {
        turns[turn] = read_answer(llm_backend_generate(backend, prompts[turn], &config, &err));
        messages[count++] = (llm_message){.role = "user", .content = prompts[turn]};
        answer fresh = read_from_scratch(messages, count);
        assert_int_equal(turns[turn].status, LLM_END);
        assert_string_equal(turns[turn].text, fresh.text);
        assert_int_equal(turns[turn].stats.prompt_tokens, fresh.stats.prompt_tokens);
        if (turn > 0) assert_true(turns[turn].stats.cached_prompt_tokens >= turns[turn - 1].stats.prompt_tokens);
        messages[count++] = (llm_message){.role = "assistant", .content = turns[turn].text};
    }
    // Another system prompt changes the beginning: everything is read again, and the answer is right.
    assert_ok(llm_backend_set_system_prompt(backend, "You are long.", &err));
    answer changed = read_answer(llm_backend_generate(backend, "Say a word.", &config, &err));
    messages[0].content = "You are long.";
    messages[count++] = (llm_message){.role = "user", .content = "Say a word."};
    answer fresh = read_from_scratch(messages, count);
    assert_string_equal(changed.text, fresh.text);
    assert_true(changed.stats.cached_prompt_tokens < turns[2].stats.prompt_tokens);
}

// Whole histories, sent again and again: only what is new is read, and edits are seen.
static void test_histories_that_begin_alike_are_read_once(void **state)
{
    (void)state;
    llm_message messages[4] = {{.role = "user", .content = "Say a word."}};
    answer first = read_from_scratch(messages, 1);
    answer again = read_answer(llm_backend_generate_messages(backend, messages, 1, &config, &err));
    assert_string_equal(again.text, first.text);
    assert_int_equal(again.stats.cached_prompt_tokens, first.stats.prompt_tokens - 1);
    messages[1] = (llm_message){.role = "assistant", .content = first.text};
    messages[2] = (llm_message){.role = "user", .content = "Who says what?"};
    answer second = read_answer(llm_backend_generate_messages(backend, messages, 3, &config, &err));
    assert_true(second.stats.cached_prompt_tokens >= first.stats.prompt_tokens);
    answer scratch = read_from_scratch(messages, 3);
    assert_string_equal(second.text, scratch.text);
    messages[2].content = "Who sees what?"; // the latest message edited
    answer edited = read_answer(llm_backend_generate_messages(backend, messages, 3, &config, &err));
    assert_true(edited.stats.cached_prompt_tokens >= first.stats.prompt_tokens);
    assert_true(edited.stats.cached_prompt_tokens < second.stats.prompt_tokens - 1);
    scratch = read_from_scratch(messages, 3);
    assert_string_equal(edited.text, scratch.text);
    messages[0].content = "Tell a word."; // the first one edited
    edited = read_answer(llm_backend_generate_messages(backend, messages, 3, &config, &err));
    assert_true(edited.stats.cached_prompt_tokens < first.stats.prompt_tokens - 1);
    scratch = read_from_scratch(messages, 3);
    assert_string_equal(edited.text, scratch.text);
    // The chat neither lends nor borrows.
    answer chat = read_answer(llm_backend_generate(backend, "Tell a word.", &config, &err));
    assert_int_equal(chat.stats.cached_prompt_tokens, 0);
}

static void test_a_cancelled_turn_leaves_no_trace(void **state)
{
    (void)state;
    answer first = read_answer(llm_backend_generate(backend, "Say a word.", &config, &err));
    llm_generation_config endless = config;
    endless.max_tokens = 100000;
    llm_stream *stream = llm_backend_generate(backend, "Who says what?", &endless, &err);
    llm_chunk chunk;
    assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    llm_stream_cancel(stream);
    answer cancelled = read_answer(stream);
    // A model of 256 tokens may have come to its end before it heard.
    if (cancelled.status == LLM_CANCELLED) {
        assert_int_equal(cancelled.reason, LLM_FINISH_CANCELLED);
        llm_message messages[] = {{.role = "user", .content = "Say a word."}, {.role = "assistant", .content = first.text},
                                  {.role = "user", .content = "Again."}};
        answer next = read_answer(llm_backend_generate(backend, "Again.", &config, &err));
        answer fresh = read_from_scratch(messages, 3);
        assert_string_equal(next.text, fresh.text);
        assert_true(next.stats.cached_prompt_tokens > 0);
    }
}

static void test_too_long_prompts_name_both_numbers(void **state)
{
    (void)state;
    char prompt[3000];
    memset(prompt, 'x', sizeof prompt - 1);
    prompt[sizeof prompt - 1] = 0;
    answer a = read_answer(llm_backend_generate(backend, prompt, &config, &err));
    assert_int_equal(a.status, LLM_CONTEXT_EXCEEDED);
    assert_int_equal(err.available, 256);
    assert_true(err.required > 256);
    assert_non_null(strstr(err.message, "256"));
    assert_int_equal(read_answer(llm_backend_generate(backend, "Say a word.", &config, &err)).status, LLM_END);
}

static void test_stop_strings_seeds_and_log_probabilities(void **state)
{
    (void)state;
    answer plain = read_answer(llm_backend_complete(backend, "Say", &config, &err));
    char stop[2] = {plain.text[strlen(plain.text) - 1], 0};
    const char *stops[] = {stop};
    if ((unsigned char)stop[0] < 0x80) {
        config.stop = stops;
        config.num_stop = 1;
        answer stopped = read_answer(llm_backend_complete(backend, "Say", &config, &err));
        assert_int_equal(stopped.reason, LLM_FINISH_STOP);
        assert_memory_equal(stopped.text, plain.text, strlen(stopped.text));
        assert_null(strchr(stopped.text, stop[0]));
        config.num_stop = 0;
    }
    config.temperature = 1.5f;
    config.top_p = 1;
    config.seed = 42;
    config.logprobs = 5;
    answer a = read_answer(llm_backend_complete(backend, "Say", &config, &err));
    answer b = read_answer(llm_backend_complete(backend, "Say", &config, &err));
    config.seed = 43;
    answer c = read_answer(llm_backend_complete(backend, "Say", &config, &err));
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    assert_int_equal(a.num_logprobs, a.stats.generated_tokens);
    assert_true(a.logprob_sum < 0);
}

static void test_options_and_requests_that_cannot_be_are_refused(void **state)
{
    (void)state;
    llm_mlx_options options;
    llm_mlx_options_init(&options);
    options.engine = "abacus";
    assert_null(llm_mlx_backend_create(&options, &err));
    assert_int_equal(err.code, LLM_UNSUPPORTED_FORMAT);
    llm_mlx_options_init(&options);
    options.num_threads = -1;
    assert_null(llm_mlx_backend_create(&options, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    config.template_json = "[1]";
    assert_null(llm_backend_generate(backend, "x", &config, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    llm_engine_info engines[4];
    assert_true(llm_engines(engines, 4) >= 1);
    assert_string_equal(engines[0].name, "cpu");
    assert_true(engines[0].available);
    assert_ok(llm_backend_engine_info(backend, engines, &err));
    llm_memory memory;
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_true(memory.weights_bytes > 0 && memory.resident_bytes > 0);
}

static void test_template_arguments_may_nest_deeply(void **state)
{
    (void)state;
    llm_model_spec spec;
    enum { DEPTH = 200000 };
    llm_model_spec_init(&spec, GOLDEN_DIR "/models/chat");
    llm_tokenizer *tokenizer = llm_tokenizer_create(&spec, &err);
    assert_non_null(tokenizer);
    const char *begin = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"d\":";
    char *json = mem_alloc_zero(strlen(begin) + 2 * DEPTH + 2, 1);
    strcpy(json, begin);
    memset(json + strlen(begin), '[', DEPTH);
    memset(json + strlen(begin) + DEPTH, ']', DEPTH);
    json[strlen(begin) + 2 * DEPTH] = '}';
    char *text = llm_tokenizer_render_copy(tokenizer, json, &err);
    if (!text) assert_int_equal(err.code, LLM_TEMPLATE_ERROR); // refused, or not looked at; no crash
    llm_free(text);
    text = llm_tokenizer_render_copy(tokenizer, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", &err);
    assert_non_null(strstr(text, "assistant\n"));
    llm_free(text);
    assert_null(llm_tokenizer_render_copy(tokenizer, "{}", &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
    mem_free(json);
    llm_tokenizer_free(tokenizer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_greedy_answers_are_mlxs),
        TEST(test_the_end_token_ends_the_answer),
        TEST(test_a_session_answers_as_the_whole_conversation_would),
        TEST(test_histories_that_begin_alike_are_read_once),
        TEST(test_a_cancelled_turn_leaves_no_trace),
        TEST(test_too_long_prompts_name_both_numbers),
        TEST(test_stop_strings_seeds_and_log_probabilities),
        TEST(test_template_arguments_may_nest_deeply),
        TEST(test_options_and_requests_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
