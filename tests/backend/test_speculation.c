// Prompt lookup against a plain search; proposals and when they are made; and answers of tiny models with speculation, which
// must be those without in every particular.
#include "testing.h"
#include "backend/speculation.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>

static llm_error err;

// ---- Lookup

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static int search_plainly(const int32_t *tokens, size_t count, size_t *next)
{
    int best = 0;
    for (size_t place = count - 1; place-- > 0;) {
        int length = 0;
        while (length < LOOKUP_LONGEST && (size_t)length <= place && tokens[place - (size_t)length] == tokens[count - 1 - (size_t)length]) length++;
        if (length >= LOOKUP_SHORTEST && length > best) best = length, *next = place + 1;
    }
    return best;
}

static void test_lookup_finds_the_longest_latest_match(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static int32_t tokens[COUNT];
    lookup l = {0};
    int matches = 0, longest = 0;
    for (size_t count = 0; count < COUNT; count++) {
        // Random tokens, and now and then a copy of what stood before; now and then several at once.
        size_t copy = count > 100 && random_below(20) == 0 ? 1 + random_below(60) : 0, from = count > 100 ? random_below((uint32_t)count - 60) : 0;
        for (tokens[count] = (int32_t)random_below(40); copy > 0 && count + 1 < COUNT; copy--) tokens[count++] = tokens[from++];
        tokens[count] = (int32_t)random_below(40);
        size_t next = 0, expected = 0;
        int length = lookup_find(&l, tokens, count + 1, &next), plainly = search_plainly(tokens, count + 1, &expected);
        assert_int_equal(length, plainly);
        if (length) assert_int_equal(next, expected);
        matches += length > 0;
        longest = length > longest ? length : longest;
    }
    assert_true(matches > 100 && longest > 3);
    lookup_free(&l);
}

// A pair that stands everywhere costs no more than its latest places.
static void test_lookup_in_a_monotonous_text(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    int32_t *tokens = mem_alloc_zero(COUNT, sizeof *tokens);
    lookup l = {0};
    size_t next = 0;
    assert_int_equal(lookup_find(&l, tokens, 2, &next), 0);
    for (size_t count = COUNT / 2; count <= COUNT; count++) {
        assert_int_equal(lookup_find(&l, tokens, count, &next), LOOKUP_LONGEST);
        assert_int_equal(next, count - 1);
    }
    lookup_free(&l);
    mem_free(tokens);
}

static void test_lookup_without_memory(void **state)
{
    (void)state;
    int32_t tokens[5] = {1, 2, 3, 1, 2};
    size_t next;
    for (int after = 0; after < 2; after++) {
        lookup l = {0};
        mem_fail_after(after);
        assert_int_equal(lookup_find(&l, tokens, 5, &next), -1);
        mem_fail_after(-1);
        assert_int_equal(lookup_find(&l, tokens, 5, &next), 2);
        assert_int_equal(next, 2);
        lookup_free(&l);
    }
}

// ---- Proposals

typedef double cost_function(int rows);
static double one_pass(int rows) { return 1e-3 + 1e-9 * rows; } // a second row costs nothing
static double all_rows(int rows) { return 1e-3 * rows; }        // ... as much as another pass
static double usual(int rows) { return rows < 3 ? 1e-3 + 1e-4 * rows : 1e-3 + 2e-4 * rows; }

// Goes on with a text of *tokens tokens that repeats itself, where each proposed token is right with this probability. Returns
// how many passes took proposals, of how many.
static int run(speculation *s, cost_function *cost, double right_share, int passes, int *tokens)
{
    enum { PERIOD = 50 };
    static int32_t history[100000];
    int proposing = 0;
    for (size_t i = 0; i < sizeof history / sizeof *history; i++) history[i] = (int32_t)(i % PERIOD);
    for (int pass = 0; pass < passes; pass++) {
        assert_true(speculation_propose(s, history, (size_t)*tokens, SPECULATION_MOST));
        for (int i = 0; i < s->count; i++) assert_int_equal(s->tokens[i], history[*tokens + i]);
        speculation_timed(s, 1 + s->count, cost(1 + s->count));
        int right = 0;
        while (right < s->count && random_below(1000) < right_share * 1000) right++;
        speculation_judged(s, right);
        proposing += s->count > 0;
        *tokens += 1 + right;
    }
    return proposing;
}

static void test_proposals_are_made_where_they_pay(void **state)
{
    (void)state;
    enum { PASSES = 1000, MOST = 7 };
    const struct {
        cost_function *cost;
        double right;
        int fewest, most; // passes with proposals
    } cases[] = {
        {one_pass, 1, PASSES - 2, PASSES},
        {usual, 1, PASSES - 2, PASSES},
        {usual, 0.8, PASSES * 9 / 10, PASSES},
        {usual, 0, 1, PASSES / 10},
        {usual, 0.02, 1, PASSES / 10},
        {all_rows, 1, 0, PASSES / 50}, // it has to try that once
        {all_rows, 0.5, 0, PASSES / 50},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        speculation s;
        int tokens = 150;
        speculation_begin(&s, MOST);
        int proposing = run(&s, cases[i].cost, cases[i].right, PASSES, &tokens);
        if (proposing < cases[i].fewest || proposing > cases[i].most) fail_msg("case %zu: %d passes had proposals", i, proposing);
        if (cases[i].cost == one_pass && tokens < PASSES * MOST) fail_msg("case %zu: %d tokens", i, tokens);
        if (cases[i].right == 0) { // what has not paid is tried again when it does
            int later = run(&s, cases[i].cost, 1, PASSES, &tokens);
            if (later < PASSES / 2) fail_msg("case %zu: only %d passes had proposals later", i, later);
        }
        speculation_free(&s);
    }
}

static void test_proposals_fit_their_limits(void **state)
{
    (void)state;
    int32_t history[] = {1, 2, 3, 4, 5, 1, 2, 3};
    speculation s;
    speculation_begin(&s, 1000);
    assert_int_equal(s.most, SPECULATION_MOST);
    assert_true(speculation_propose(&s, history, 8, 10));
    assert_int_equal(s.count, 0); // a pass has not been timed
    for (int rows = 1; rows <= 11; rows++) speculation_timed(&s, rows, 1e-3);
    assert_true(speculation_propose(&s, history, 8, 10));
    assert_int_equal(s.count, 10);
    for (int i = 0; i < 10; i++) assert_int_equal(s.tokens[i], (i + 3) % 5 + 1); // round and round
    for (int room = 0; room >= -1; room--) {
        assert_true(speculation_propose(&s, history, 8, room));
        assert_int_equal(s.count, 0);
    }
    speculation_free(&s);
    speculation_begin(&s, 0);
    speculation_timed(&s, 1, 1e-3);
    assert_true(speculation_propose(&s, history, 8, 10));
    assert_int_equal(s.count, 0);
    speculation_free(&s);
}

// ---- Answers

typedef struct answer {
    char text[8000];              // of all kinds; it may have NULs
    size_t length;
    int32_t tokens[1000];
    llm_token_logprob logprobs[8000];
    int num_tokens, num_logprobs;
    llm_status status;
    llm_finish_reason reason;
    llm_stats stats;
} answer;

static llm_backend *backend;
static llm_generation_config config;
static long proposed, accepted;

static const char *models[] = {"chat", "scripted", NULL};

static void load_directory(const char *directory, llm_precision precision)
{
    llm_mlx_options options;
    llm_model_spec spec;
    llm_mlx_options_init(&options);
    options.precision = precision;
    options.num_threads = 1; // tiny models answer sooner so
    llm_model_spec_init(&spec, directory);
    backend = llm_mlx_backend_create(&options, &err);
    if (!backend) fail_msg("%s", err.message);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
}

static void load(const char *model, llm_precision precision)
{
    char directory[1000];
    snprintf(directory, sizeof directory, "%s/models/%s", GOLDEN_DIR, model);
    load_directory(directory, precision);
}

static void add_text(answer *a, const char *text, size_t length)
{
    assert_true(a->length + length < sizeof a->text);
    memcpy(a->text + a->length, text, length);
    a->length += length;
}

static void add_call(answer *a, const llm_chunk *call)
{
    char text[1000];
    int length = snprintf(text, sizeof text, "[%s %s %s]", call->tool_name ? call->tool_name : "?", call->tool_error ? call->tool_error : "", call->text);
    add_text(a, text, (size_t)length);
}

static void read_all(llm_stream *stream, answer *a)
{
    memset(a, 0, sizeof *a);
    llm_chunk chunk;
    if (!stream) fail_msg("no stream: %s", err.message);
    while ((a->status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {
        if (chunk.kind == LLM_CHUNK_TEXT || chunk.kind == LLM_CHUNK_REASONING) add_text(a, chunk.text, chunk.length);
        if (chunk.kind == LLM_CHUNK_TOOL_CALL) add_call(a, &chunk);
        for (int i = 0; i < chunk.num_logprobs; i++) a->logprobs[a->num_logprobs++ % 8000] = chunk.logprobs[i];
        if (chunk.kind != LLM_CHUNK_INFO) continue;
        a->stats = chunk.stats;
        a->reason = chunk.finish_reason;
        a->num_tokens = chunk.num_tokens;
        assert_true(chunk.num_tokens <= 1000);
        if (chunk.num_tokens) memcpy(a->tokens, chunk.tokens, (size_t)chunk.num_tokens * sizeof *a->tokens);
    }
    llm_stream_free(stream);
    proposed += a->stats.proposed_tokens;
    accepted += a->stats.accepted_tokens;
    assert_true(a->stats.accepted_tokens <= a->stats.proposed_tokens && a->stats.accepted_tokens <= a->stats.generated_tokens);
}

static void assert_same(const char *what, const answer *with, const answer *without)
{
    if (with->length != without->length || memcmp(with->text, without->text, with->length) != 0) fail_msg("%s: \"%s\" instead of \"%s\"", what, with->text, without->text);
    assert_int_equal(with->status, without->status);
    assert_int_equal(with->reason, without->reason);
    assert_int_equal(with->num_tokens, without->num_tokens);
    assert_memory_equal(with->tokens, without->tokens, sizeof with->tokens);
    assert_int_equal(with->num_logprobs, without->num_logprobs);
    if (memcmp(with->logprobs, without->logprobs, sizeof with->logprobs) != 0) fail_msg("%s: log-probabilities differ", what);
    assert_int_equal(with->stats.prompt_tokens, without->stats.prompt_tokens);
    assert_int_equal(with->stats.cached_prompt_tokens, without->stats.cached_prompt_tokens);
    assert_int_equal(with->stats.generated_tokens, without->stats.generated_tokens);
}

// Two turns of a chat, so that the second one shows what the first has left in the sequence, and plain text.
static void compare_answers(const char *what)
{
    static const char *const prompts[] = {"Say a word. Say a word. Say a", "Again. Again. Again. Who says what?"};
    static const int numbers[] = {1, 3, 32};
    static answer expected[3], actual;
    for (int n = -1; n < 3; n++) {
        llm_session *session = llm_session_create(backend, &err);
        int32_t other = 300; // drives out what the latest request has left
        llm_generation_config one = config;
        one.max_tokens = 1;
        one.num_tools = 0;
        read_all(llm_backend_complete_tokens(backend, &other, 1, &one, &err), &actual);
        config.speculate = n < 0 ? 0 : numbers[n];
        for (int turn = 0; turn < 3; turn++) {
            llm_generation_config plain = config;
            plain.num_tools = 0;
            llm_stream *stream = turn < 2 ? llm_session_generate(session, prompts[turn], &config, &err)
                                          : llm_backend_complete(backend, "la la la la la la", &plain, &err);
            read_all(stream, n < 0 ? &expected[turn] : &actual);
            if (n >= 0) assert_same(what, &actual, &expected[turn]);
            else assert_int_equal(expected[turn].stats.proposed_tokens, 0);
        }
        llm_session_free(session);
    }
}

static const llm_tool tools[] = {{"add", "Adds.", "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}}}"}};

static void greedy(void) { config.temperature = 0; }
static void greedy_to_the_end(void) { config.temperature = 0, config.ignore_end = false; }
static void sampled(void) { config.temperature = 0.8f, config.seed = 7; }
static void sampled_wildly(void) { config.temperature = 1.5f, config.top_p = 1, config.seed = 8; }
static void filtered(void) { config.temperature = 1, config.top_k = 5, config.min_p = 0.05f, config.seed = 9; }
static void penalised(void) { config.temperature = 0, config.repetition_penalty = 1.3f, config.penalty_window = 20; }
static void penalised_and_sampled(void) { sampled(), config.presence_penalty = 0.5f, config.frequency_penalty = 0.2f; }
static void with_logprobs(void) { config.temperature = 0, config.logprobs = 4; }
static void sampled_with_logprobs(void) { sampled(), config.logprobs = 2; }
static void with_tools(void) { greedy_to_the_end(), config.tools = tools, config.num_tools = 1; }
static void short_ones(void) { config.temperature = 0, config.max_tokens = 13; }
static void single_ones(void) { config.temperature = 0, config.max_tokens = 1; }

static void stopped(void)
{
    static const char *const stops[] = {"e ", "la", "th"};
    config.temperature = 0, config.stop = stops, config.num_stop = 3;
}

static void biased(void)
{
    static const llm_logit_bias bias[] = {{70, 2}, {75, -1}};
    config.temperature = 0, config.logit_bias = bias, config.num_logit_bias = 2;
}

static const struct setting {
    const char *name;
    void (*set)(void);
} settings[] = {
    {"greedy", greedy}, {"greedy, to the end", greedy_to_the_end}, {"sampled", sampled}, {"sampled wildly", sampled_wildly},
    {"filtered", filtered}, {"penalised", penalised}, {"penalised and sampled", penalised_and_sampled},
    {"log-probabilities", with_logprobs}, {"sampled, log-probabilities", sampled_with_logprobs}, {"tools", with_tools},
    {"short", short_ones}, {"one token", single_ones}, {"stopped", stopped}, {"biased", biased},
};

static void default_settings(void)
{
    llm_generation_config_init(&config);
    config.ignore_end = true;
    config.max_tokens = 150; // the second turn fills the context
}

static void compare_all(llm_precision precision)
{
    for (int m = 0; models[m]; m++) {
        load(models[m], precision);
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
            char what[100];
            default_settings();
            settings[i].set();
            snprintf(what, sizeof what, "%s, %s", models[m], settings[i].name);
            compare_answers(what);
        }
        llm_backend_free(backend);
    }
}

static void test_answers_are_those_without(void **state)
{
    (void)state;
    proposed = accepted = 0;
    compare_all(LLM_PRECISION_FAST);
    compare_all(LLM_PRECISION_EXACT);
    print_message("%ld tokens proposed, %ld of them accepted\n", proposed, accepted);
    assert_true(accepted > 1000 && proposed > accepted);
}

// Wherever a cancellation comes, the next turn is what it would have been. Exact precision: in fast precision it matters
// which tokens of the prompt are read anew.
static void test_cancelled_answers_leave_no_trace(void **state)
{
    (void)state;
    static answer expected, actual;
    int cancelled = 0;
    load("chat", LLM_PRECISION_EXACT);
    default_settings();
    greedy();
    proposed = 0;
    for (int i = -1; i < 60; i++) {
        config.speculate = 0;
        config.max_tokens = 20;
        assert_ok(llm_backend_reset(backend, &err));
        read_all(llm_backend_generate(backend, "Say a word.", &config, &err), &actual);
        config.max_tokens = 200;
        if (i >= 0) {
            llm_chunk chunk;
            config.speculate = 7;
            llm_stream *stream = llm_backend_generate(backend, "Again. Again. Again.", &config, &err);
            for (int chunks = 0; stream && chunks <= i; chunks++) llm_stream_next(stream, LLM_FOREVER, &chunk, &err);
            llm_stream_cancel(stream);
            read_all(stream, &actual);
            if (actual.status != LLM_CANCELLED) continue; // it had ended
            cancelled++;
        }
        config.speculate = i < 0 ? 0 : 7;
        config.max_tokens = 60;
        read_all(llm_backend_generate(backend, "Who says what?", &config, &err), i < 0 ? &expected : &actual);
        if (i >= 0) assert_memory_equal(actual.tokens, expected.tokens, sizeof actual.tokens);
    }
    print_message("%d answers were cancelled\n", cancelled);
    assert_true(cancelled > 0 && proposed > 0);
    llm_backend_free(backend);
}

// Longer than Gemma's windows, so that they drop blocks; the copy goes on in it.
static const char *long_prompt(void)
{
    static char text[6000];
    text[0] = 0;
    for (int copy = 0; copy < 2; copy++)
        for (int i = 0; i < (copy ? 6 : 40); i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "    if (name[%d] != expected[%d]) return %s;\n", i, i, i % 3 ? "false" : "error(name)");
    return text;
}

static void test_real_models_answer_as_without(void **state)
{
    (void)state;
    static const char *const names[] = {"smollm2-4bit", "gemma3-4bit"};
    static answer expected, actual;
    const char *folder = getenv("LLMLOCAL_TEST_MODELS");
    for (int m = 0; m < 2; m++) {
        char directory[1000];
        snprintf(directory, sizeof directory, "%s/%s", folder ? folder : "", names[m]);
        if (!folder || !*folder || !file_is_directory(directory)) {
            print_message("SKIPPED: no model %s (LLMLOCAL_TEST_MODELS=%s); `make test` provides it\n", names[m], folder ? folder : "");
            continue;
        }
        load_directory(directory, LLM_PRECISION_FAST);
        for (int i = 0; i < 3; i++) {
            default_settings();
            if (i == 1) sampled();
            else config.temperature = 0;
            config.logprobs = 3;
            proposed = accepted = 0;
            for (int n = 0; n <= 7; n += 7) {
                int32_t other = 300;
                llm_generation_config one = config;
                one.max_tokens = 1;
                config.speculate = n;
                read_all(llm_backend_complete_tokens(backend, &other, 1, &one, &err), &actual);
                read_all(llm_backend_complete(backend, i < 2 ? long_prompt() : "Once upon a time", &config, &err), n ? &actual : &expected);
            }
            assert_same(names[m], &actual, &expected);
            print_message("%s: %ld tokens proposed, %ld of them accepted\n", names[m], proposed, accepted);
            if (i == 0) assert_true(accepted > 20);
        }
        llm_backend_free(backend);
    }
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    llm_generation_config_init(&config);
    assert_int_equal(config.speculate, 0);
    config.speculate = 32;
    assert_ok(llm_generation_config_check(&config, &err));
    config.speculate = 33;
    assert_error(llm_generation_config_check(&config, &err), LLM_INVALID_ARGUMENT, "config.speculate is 33");
    config.speculate = -1;
    assert_error(llm_generation_config_check(&config, &err), LLM_INVALID_ARGUMENT, "config.speculate is -1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_finds_the_longest_latest_match),
        cmocka_unit_test(test_lookup_in_a_monotonous_text),
        cmocka_unit_test(test_lookup_without_memory),
        cmocka_unit_test(test_proposals_are_made_where_they_pay),
        cmocka_unit_test(test_proposals_fit_their_limits),
        cmocka_unit_test(test_answers_are_those_without),
        cmocka_unit_test(test_cancelled_answers_leave_no_trace),
        cmocka_unit_test(test_real_models_answer_as_without),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
