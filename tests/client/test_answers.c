// The rules of llm_backend over a scripted table of methods: answers, the session, and scoring.
#include "client/backend_fixture.h"

static void answer_all(const char *prompt)
{
    llm_stream *stream = generate(prompt);
    assert_int_equal(drain(stream), LLM_END);
    llm_stream_free(stream);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
