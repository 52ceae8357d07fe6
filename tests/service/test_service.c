// The rules of llm_service, on scripted backends: when it loads, where, what waits for what, what ends what.
#include "testing.h"
#include "client/scripted.h"
#include "base/mem.h"
#include <poll.h>
#include <stdlib.h>

enum { MAX_SLOTS = 3 };

static llm_error err;
static llm_chunk chunk;
static llm_model_spec spec_a, spec_b, spec_c;
static scripted scripts[MAX_SLOTS];
static int num_created;
static llm_service *service;
static llm_generation_config no_wait;

static llm_backend *create_scripted(void *user, llm_error *failure)
{
    scripted *s = &((scripted *)user)[num_created];
    llm_backend *backend = llm_backend_create(&scripted_methods, s, failure);
    if (backend) num_created++;
    return backend;
}

static int open_service(int max_models)
{
    llm_service_options options;
    num_created = 0;
    memset(scripts, 0, sizeof scripts);
    for (int i = 0; i < MAX_SLOTS; i++) pthread_mutex_init(&scripts[i].lock, NULL);
    llm_model_spec_init(&spec_a, "a");
    llm_model_spec_init(&spec_b, "b");
    llm_model_spec_init(&spec_c, "c");
    llm_generation_config_init(&no_wait);
    no_wait.no_wait = true;
    llm_service_options_init(&options);
    options.max_models = max_models;
    options.create_backend = create_scripted;
    options.create_backend_user = scripts;
    service = llm_service_create(&options, &err);
    return service ? 0 : -1;
}

static int one_model(void **state) { return (void)state, open_service(1); }
static int two_models(void **state) { return (void)state, open_service(2); }

static int tear_down(void **state)
{
    (void)state;
    llm_service_free(service);
    service = NULL;
    for (int i = 0; i < num_created; i++) {
        if (scripts[i].overlaps || scripts[i].misuses || scripts[i].destroyed != 1)
            return print_error("backend %d: %d overlaps, %d misuses, freed %d times\n", i, scripts[i].overlaps,
                               scripts[i].misuses, scripts[i].destroyed), -1;
        pthread_mutex_destroy(&scripts[i].lock);
    }
    return 0;
}

static llm_stream *generate(const llm_model_spec *spec, const char *prompt)
{
    llm_stream *stream = llm_service_generate(service, spec, prompt, NULL, &err);
    if (!stream) fail_msg("%s: %s", prompt, err.message);
    return stream;
}

// Reads to the end and frees; the last info chunk stays in `chunk`.
static llm_status finish(llm_stream *stream)
{
    llm_status status;
    llm_chunk next;
    chunk = (llm_chunk){0};
    while ((status = llm_stream_next(stream, LLM_FOREVER, &next, &err)) == LLM_OK)
        if (next.kind == LLM_CHUNK_INFO) chunk = next;
    chunk.tokens = NULL;
    llm_stream_free(stream);
    return status;
}

static void answer(const llm_model_spec *spec, const char *prompt)
{
    if (finish(generate(spec, prompt)) != LLM_END) fail_msg("%s: %s", prompt, err.message);
}

static void expect_log(int i, const char *expected)
{
    pthread_mutex_lock(&scripts[i].lock);
    if (strcmp(scripts[i].log, expected)) fail_msg("backend %d: %s\n  not %s", i, scripts[i].log, expected);
    pthread_mutex_unlock(&scripts[i].lock);
}

// The bases of what is loaded, the latest used first.
static void expect_loaded(const char *expected)
{
    char text[100] = "";
    int count = -1;
    llm_model_spec **specs = llm_service_loaded_models_copy(service, &count);
    for (int i = 0; i < count; i++) strcat(text, specs[i]->base);
    llm_free(specs);
    assert_string_equal(text, expected);
}

static void wait_for_text(llm_stream *stream)
{
    struct pollfd wanted = {.fd = llm_stream_fd(stream), .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, 10000), 1);
}

static void pause_a_little(void) { nanosleep(&(struct timespec){0, 20000000}, NULL); }

// ---- Creating ---------------------------------------------------------------------------------------------

static llm_backend *create_nothing(void *user, llm_error *failure)
{
    if (user) error_set(failure, LLM_UNSUPPORTED_FORMAT, "no such engine");
    return NULL;
}

static void test_options_are_checked(void **state)
{
    (void)state;
    llm_service_options options;
    llm_service_options_init(&options);
    options.max_models = 0;
    assert_null(llm_service_create(&options, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "max_models is 0");
    options.max_models = 65;
    assert_null(llm_service_create(&options, &err));
    options.max_models = 2;
    options.create_backend = create_nothing;
    assert_null(llm_service_create(&options, &err));
    assert_error(err.code, LLM_INTERNAL_ERROR, "create_backend");
    options.create_backend_user = &options;
    assert_null(llm_service_create(&options, &err));
    assert_error(err.code, LLM_UNSUPPORTED_FORMAT, "no such engine");
    llm_mlx_options mlx;
    llm_mlx_options_init(&mlx);
    mlx.engine = "abacus";
    llm_service_options_init(&options);
    options.mlx = &mlx;
    assert_null(llm_service_create(&options, &err));
    assert_error(err.code, LLM_UNSUPPORTED_FORMAT, "abacus");
    llm_service_free(NULL);
}

static void test_null_arguments(void **state)
{
    (void)state;
    llm_memory memory;
    llm_stats stats;
    int count = 1;
    assert_null(llm_service_generate(NULL, &spec_a, "x", NULL, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "service is NULL");
    assert_null(llm_service_generate(service, &spec_a, NULL, NULL, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "prompt is NULL");
    assert_null(llm_service_generate_messages(service, &spec_a, NULL, 0, NULL, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "messages");
    llm_model_spec empty;
    llm_model_spec_init(&empty, NULL);
    assert_null(llm_service_generate(service, &empty, "x", NULL, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "spec.base");
    assert_null(llm_service_generate(service, NULL, "x", NULL, &err));
    assert_error(err.code, LLM_MODEL_NOT_LOADED, "no model was named");
    assert_error(llm_service_prefetch(service, NULL, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "spec is NULL");
    assert_error(llm_service_prefetch(NULL, &spec_a, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "service is NULL");
    assert_error(llm_service_memory(service, NULL, &err), LLM_INVALID_ARGUMENT, "memory is NULL");
    assert_error(llm_service_memory(NULL, &memory, &err), LLM_INVALID_ARGUMENT, "service is NULL");
    assert_error(llm_service_set_system_prompt(NULL, "x", &err), LLM_INVALID_ARGUMENT, "service is NULL");
    assert_error(llm_service_set_system_prompt(service, "\xff", &err), LLM_INVALID_ARGUMENT, "UTF-8");
    assert_null(llm_service_loaded_models_copy(NULL, &count));
    assert_int_equal(count, 0);
    assert_false(llm_service_is_cached(NULL, &spec_a));
    assert_false(llm_service_last_stats(NULL, &stats));
    assert_false(llm_service_last_stats(service, &stats));
    llm_service_unload(NULL, NULL);
    llm_service_cancel(NULL);
    llm_service_reset(NULL);
    expect_log(0, "");
}

// ---- Loading and switching --------------------------------------------------------------------------------

static void test_a_request_loads_what_it_needs(void **state)
{
    (void)state;
    expect_loaded("");
    answer(&spec_a, "1");
    assert_true(chunk.stats.load_seconds > 0);
    expect_loaded("a");
    answer(&spec_a, "2");
    assert_true(chunk.stats.load_seconds <= 0);
    answer(NULL, "3"); // the latest one
    expect_log(0, "load:a generate:1 generate:2 generate:3 ");
    answer(&spec_b, "4");
    expect_log(0, "load:a generate:1 generate:2 generate:3 unload load:b generate:4 ");
    expect_loaded("b");
    llm_service_unload(service, NULL);
    expect_loaded("");
    answer(NULL, "5");
    expect_loaded("b");
}

static void test_one_model_at_a_time_is_loaded_anew(void **state)
{
    (void)state;
    answer(&spec_a, "1");
    answer(&spec_b, "2");
    answer(&spec_a, "3");
    expect_log(0, "load:a generate:1 unload load:b generate:2 unload load:a generate:3 ");
}

static void test_two_models_stay(void **state)
{
    (void)state;
    assert_int_equal(num_created, 2);
    answer(&spec_a, "1");
    answer(&spec_b, "2");
    answer(&spec_a, "3");
    assert_true(chunk.stats.load_seconds <= 0);
    expect_log(0, "load:a generate:1 generate:3 ");
    expect_log(1, "load:b generate:2 ");
    expect_loaded("ab");
    answer(&spec_c, "4"); // in the place of b, which was used longest ago
    expect_log(0, "load:a generate:1 generate:3 ");
    expect_log(1, "load:b generate:2 unload load:c generate:4 ");
    expect_loaded("ca");
    answer(&spec_a, "5");
    answer(&spec_b, "6"); // in the place of c
    expect_loaded("ba");
}

static void test_equal_specs_are_the_same_model(void **state)
{
    (void)state;
    char name[] = "a";
    llm_model_spec other;
    llm_model_spec_init(&other, name);
    other.revision = "main";
    answer(&spec_a, "1");
    answer(&other, "2");
    other.context_length = 100;
    answer(&other, "3");
    expect_log(0, "load:a generate:1 generate:2 ");
    expect_log(1, "load:a generate:3 ");
}

static void test_models_answer_side_by_side(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1");
    wait_for(scripts[0].generates == 1);
    answer(&spec_b, "2"); // does not wait for a
    llm_stream *three = generate(&spec_a, "3");
    pause_a_little();
    assert_int_equal(scripts[0].generates, 1); // but this one does
    answer(&spec_c, "4");                      // nothing is taken from a: b goes
    expect_loaded("ca");
    scripts[0].hold_generate = false;
    assert_int_equal(finish(one), LLM_END);
    assert_int_equal(finish(three), LLM_END);
    expect_log(0, "load:a generate:1 generate:3 ");
    expect_log(1, "load:b generate:2 unload load:c generate:4 ");
}

static void test_another_model_waits_for_the_answer_that_runs(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1");
    wait_for(scripts[0].generates == 1);
    assert_null(llm_service_generate(service, &spec_b, "x", &no_wait, &err));
    assert_error(err.code, LLM_BUSY, "busy");
    assert_null(llm_service_generate(service, &spec_a, "x", &no_wait, &err));
    assert_int_equal(err.code, LLM_BUSY);
    llm_stream *two = generate(&spec_b, "2"), *three = generate(&spec_a, "3"), *four = generate(&spec_b, "4");
    assert_int_equal(llm_stream_next(two, 20, &chunk, &err), LLM_TIMEOUT);
    expect_log(0, "load:a generate:1 ");
    scripts[0].hold_generate = false;
    assert_int_equal(finish(one), LLM_END); // was not cancelled
    assert_int_equal(finish(four), LLM_END);
    assert_int_equal(finish(three), LLM_END);
    assert_int_equal(finish(two), LLM_END);
    // Nothing overtakes what has to wait for a place.
    expect_log(0, "load:a generate:1 unload load:b generate:2 unload load:a generate:3 unload load:b generate:4 ");
    assert_int_equal(finish(llm_service_generate(service, &spec_a, "x", &no_wait, &err)), LLM_END);
}

static void test_an_answer_that_waits_can_be_cancelled_and_loads_nothing(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1"), *two = generate(&spec_b, "2"), *three = generate(&spec_c, "3");
    wait_for(scripts[0].generates == 1);
    llm_stream_cancel(two);
    assert_int_equal(finish(two), LLM_CANCELLED);
    llm_stream_free(three);
    scripts[0].hold_generate = false;
    assert_int_equal(finish(one), LLM_END);
    answer(&spec_a, "4");
    expect_log(0, "load:a generate:1 generate:4 ");
}

static void test_a_cancel_during_the_load(void **state)
{
    (void)state;
    scripts[0].hold_load = true;
    llm_stream *one = generate(&spec_a, "1"), *two = generate(&spec_a, "2");
    wait_for(scripts[0].loads == 1);
    llm_stream_cancel(one);
    assert_int_equal(finish(one), LLM_CANCELLED);
    assert_int_equal(chunk.kind, LLM_CHUNK_INFO);
    assert_int_equal(chunk.finish_reason, LLM_FINISH_CANCELLED);
    assert_true(chunk.stats.load_seconds > 0);
    scripts[0].hold_load = false;
    assert_int_equal(finish(two), LLM_END);
    expect_log(0, "load:a load:a generate:2 ");
}

static void test_a_failed_load_ends_the_stream_and_frees_the_place(void **state)
{
    (void)state;
    answer(&spec_a, "1");
    scripts[0].load_result = LLM_LOAD_FAILED;
    assert_error(finish(generate(&spec_b, "2")), LLM_LOAD_FAILED, "load failed");
    assert_int_equal(chunk.kind, LLM_CHUNK_TEXT); // no info chunk came
    expect_loaded("");
    scripts[0].load_result = LLM_OK;
    answer(&spec_a, "3");
    expect_log(0, "load:a generate:1 unload load:b load:a generate:3 ");
}

static void test_a_failed_answer_leaves_the_model(void **state)
{
    (void)state;
    scripts[0].generate_result = LLM_TEMPLATE_ERROR;
    assert_error(finish(generate(&spec_a, "1")), LLM_TEMPLATE_ERROR, "template error");
    scripts[0].generate_result = LLM_OK;
    answer(&spec_a, "2");
    expect_log(0, "load:a generate:1 generate:2 ");
}

static void test_idle_models_make_room(void **state)
{
    (void)state;
    answer(&spec_a, "1");
    scripts[1].load_result = LLM_INSUFFICIENT_MEMORY;
    assert_error(finish(generate(&spec_b, "2")), LLM_INSUFFICIENT_MEMORY, "insufficient memory");
    expect_log(0, "load:a generate:1 unload ");
    expect_log(1, "load:b load:b "); // once more when a was gone
    expect_loaded("");
    scripts[1].load_result = LLM_OK;
    answer(&spec_b, "3");
}

static void test_a_busy_model_does_not_make_room(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1");
    wait_for(scripts[0].generates == 1);
    scripts[1].load_result = LLM_INSUFFICIENT_MEMORY;
    assert_int_equal(finish(generate(&spec_b, "2")), LLM_INSUFFICIENT_MEMORY);
    scripts[0].hold_generate = false;
    assert_int_equal(finish(one), LLM_END);
    expect_log(0, "load:a generate:1 ");
    expect_log(1, "load:b ");
}

// ---- Prefetching ------------------------------------------------------------------------------------------

static int note_progress(void *user, const char *what, double fraction)
{
    atomic_int *calls = user;
    assert_string_equal(what, "part");
    assert_true(fraction >= 0.5 && fraction <= 0.5);
    return atomic_fetch_add(calls, 1) == -1;
}

static void test_prefetch_loads_with_progress(void **state)
{
    (void)state;
    atomic_int calls = 0;
    assert_ok(llm_service_prefetch(service, &spec_a, note_progress, &calls, &err));
    assert_int_equal(calls, 1);
    expect_loaded("a");
    assert_ok(llm_service_prefetch(service, &spec_a, note_progress, &calls, &err));
    assert_int_equal(calls, 1); // there already
    answer(&spec_a, "1");
    assert_true(chunk.stats.load_seconds <= 0);
    scripts[0].hold_generate = true;
    llm_stream *two = generate(&spec_a, "2");
    wait_for(scripts[0].generates == 2);
    assert_ok(llm_service_prefetch(service, &spec_a, NULL, NULL, &err)); // does not wait for the answer
    scripts[0].hold_generate = false;
    assert_int_equal(finish(two), LLM_END);
    calls = -1; // stops
    assert_error(llm_service_prefetch(service, &spec_b, note_progress, &calls, &err), LLM_CANCELLED, "cancelled");
    expect_loaded("");
    scripts[0].load_result = LLM_IO_ERROR;
    assert_error(llm_service_prefetch(service, &spec_b, NULL, NULL, &err), LLM_IO_ERROR, "load");
    expect_log(0, "load:a generate:1 generate:2 unload load:b load:b ");
}

static atomic_int prefetches_done;

static void *prefetch_thread(void *user)
{
    void *status = (void *)(uintptr_t)llm_service_prefetch(service, user, NULL, NULL, NULL);
    atomic_fetch_add(&prefetches_done, 1);
    return status;
}

static void test_prefetching_can_be_stopped(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        pthread_t thread;
        void *status;
        scripts[0].loads = scripts[0].generates = 0;
        scripts[0].hold_load = how < 3;
        scripts[0].hold_generate = true;
        llm_stream *one = how == 3 ? generate(&spec_b, "1") : NULL;
        if (one) wait_for(scripts[0].generates == 1);
        prefetches_done = 0;
        pthread_create(&thread, NULL, prefetch_thread, &spec_a);
        if (how < 3) wait_for(scripts[0].loads == 1);
        if (how == 0) llm_service_cancel(service);
        else if (how == 1) llm_service_unload(service, &spec_a);
        else if (how == 2) llm_service_unload(service, NULL);
        else // it waits for the answer of b, or is about to
            for (; !prefetches_done; scripted_pause()) llm_service_unload(service, &spec_a);
        pthread_join(thread, &status);
        assert_int_equal((uintptr_t)status, LLM_CANCELLED);
        scripts[0].hold_load = scripts[0].hold_generate = false;
        if (one) assert_int_equal(finish(one), LLM_END);
    }
}

// ---- Unloading and cancelling -----------------------------------------------------------------------------

static void test_unload_ends_the_requests_for_a_model(void **state)
{
    (void)state;
    scripts[0].hold_generate = scripts[1].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1"), *two = generate(&spec_b, "2");
    wait_for(scripts[0].generates == 1 && scripts[1].generates == 1);
    llm_stream *three = generate(&spec_a, "3"), *four = generate(&spec_b, "4");
    wait_for_text(one);
    llm_service_unload(service, &spec_a);
    expect_loaded("b");
    assert_ok(llm_stream_next(one, 0, &chunk, &err)); // what was written is there
    assert_string_equal(chunk.text, "1");
    assert_int_equal(finish(one), LLM_CANCELLED);
    assert_int_equal(finish(three), LLM_CANCELLED);
    llm_service_unload(service, &spec_c); // is not there
    scripts[1].hold_generate = false;
    assert_int_equal(finish(two), LLM_END);
    assert_int_equal(finish(four), LLM_END);
    scripts[0].hold_generate = false;
    answer(&spec_a, "5"); // and the next request loads again
    expect_log(0, "load:a generate:1 unload load:a generate:5 ");
    expect_log(1, "load:b generate:2 generate:4 ");
}

static void test_unload_ends_everything(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    scripts[1].hold_load = true;
    llm_stream *streams[] = {generate(&spec_a, "1"), generate(&spec_b, "2"), generate(&spec_c, "3"), generate(&spec_a, "4")};
    wait_for(scripts[0].generates == 1 && scripts[1].loads == 1);
    llm_service_unload(service, NULL);
    expect_loaded("");
    for (int i = 0; i < 4; i++) assert_int_equal(finish(streams[i]), LLM_CANCELLED);
    expect_log(0, "load:a generate:1 unload ");
    expect_log(1, "load:b ");
}

static void test_unload_frees_an_answer_that_nobody_reads(void **state)
{
    (void)state;
    static char words[3 << 20];
    memset(words, 'w', sizeof words - 1);
    llm_stream *one = generate(&spec_a, words), *two = generate(&spec_a, words);
    wait_for(scripts[0].generates == 1);
    pause_a_little();
    llm_service_unload(service, NULL);
    llm_stream_free(one);
    llm_stream_free(two);
}

static void test_cancel_takes_what_runs(void **state)
{
    (void)state;
    llm_service_cancel(service); // nothing runs
    scripts[0].hold_generate = scripts[1].hold_load = true;
    llm_stream *one = generate(&spec_a, "1"), *two = generate(&spec_b, "2");
    wait_for(scripts[0].generates == 1 && scripts[1].loads == 1);
    llm_stream *three = generate(&spec_a, "3");
    llm_service_cancel(service);
    assert_int_equal(finish(one), LLM_CANCELLED);
    assert_int_equal(finish(two), LLM_CANCELLED);
    scripts[0].hold_generate = false;
    assert_int_equal(finish(three), LLM_END);
    assert_int_equal(scripts[0].cancels, 1);
}

static void test_streams_outlive_the_service(void **state)
{
    (void)state;
    scripts[0].hold_generate = true;
    llm_stream *one = generate(&spec_a, "1"), *two = generate(&spec_a, "2"), *three = generate(&spec_b, "3");
    wait_for_text(one);
    llm_service_free(service);
    service = NULL;
    assert_ok(llm_stream_next(one, 0, &chunk, &err));
    assert_string_equal(chunk.text, "1");
    assert_int_equal(finish(one), LLM_CANCELLED);
    assert_int_equal(finish(two), LLM_CANCELLED);
    assert_int_equal(finish(three), LLM_CANCELLED);
}

// ---- The session ------------------------------------------------------------------------------------------

static void test_the_system_prompt_is_every_models(void **state)
{
    (void)state;
    assert_null(llm_service_system_prompt_copy(service));
    answer(&spec_a, "1");
    assert_ok(llm_service_set_system_prompt(service, "S", &err));
    char *copy = llm_service_system_prompt_copy(service);
    assert_string_equal(copy, "S");
    llm_free(copy);
    answer(&spec_a, "2");
    answer(&spec_b, "3");
    scripts[0].hold_generate = true;
    llm_stream *four = generate(&spec_a, "4"), *five = generate(&spec_a, "5");
    wait_for(scripts[0].generates == 3);
    assert_ok(llm_service_set_system_prompt(service, NULL, &err)); // five was made before
    llm_stream *six = generate(&spec_a, "6");
    scripts[0].hold_generate = false;
    assert_int_equal(finish(six), LLM_END);
    assert_int_equal(finish(five), LLM_END);
    assert_int_equal(finish(four), LLM_END);
    expect_log(0, "load:a generate:1 prompt:S generate:2 system:S generate:4 system:S generate:5 system:S "
                  "prompt:- generate:6 ");
    expect_log(1, "load:b prompt:S generate:3 system:S ");
    scripts[0].prompt_result = LLM_TEMPLATE_ERROR;
    assert_ok(llm_service_set_system_prompt(service, "T", &err));
    assert_error(finish(generate(&spec_a, "7")), LLM_TEMPLATE_ERROR, "set_system_prompt");
}

static void test_reset_is_for_later_requests(void **state)
{
    (void)state;
    llm_message message = {.role = "user", .content = "m"};
    answer(&spec_a, "1");
    answer(&spec_b, "2");
    scripts[0].hold_generate = true;
    llm_stream *three = generate(&spec_a, "3"), *four = generate(&spec_a, "4");
    wait_for(scripts[0].generates == 2);
    llm_service_reset(service);
    llm_stream *apart = llm_service_generate_messages(service, &spec_a, &message, 1, NULL, &err);
    llm_stream *five = generate(&spec_a, "5"), *six = generate(&spec_a, "6");
    scripts[0].hold_generate = false;
    llm_stream *all[] = {three, four, apart, five, six};
    for (int i = 0; i < 5; i++) assert_int_equal(finish(all[i]), LLM_END);
    expect_log(0, "load:a generate:1 generate:3 generate:4 generate:m reset generate:5 generate:6 ");
    scripts[1].reset_result = LLM_IO_ERROR;
    assert_error(finish(generate(&spec_b, "7")), LLM_IO_ERROR, "reset");
    scripts[1].reset_result = LLM_OK;
    answer(&spec_b, "8"); // tries again
    answer(&spec_c, "9"); // a model that comes new has nothing to forget
    expect_log(1, "load:b generate:2 reset reset generate:8 ");
}

// ---- Figures ----------------------------------------------------------------------------------------------

static void test_figures(void **state)
{
    (void)state;
    llm_memory memory;
    llm_stats stats;
    assert_ok(llm_service_memory(service, &memory, &err));
    assert_int_equal(memory.weights_bytes, 0);
    assert_true(memory.resident_bytes > 0);
    answer(&spec_a, "1");
    answer(&spec_b, "2");
    assert_ok(llm_service_memory(service, &memory, &err));
    assert_int_equal(memory.weights_bytes, 2 * 1234);
    assert_true(llm_service_last_stats(service, &stats));
    assert_true(stats.load_seconds > 0 && stats.first_token_seconds >= stats.load_seconds);
    assert_memory_equal(&stats, &chunk.stats, sizeof stats);
    answer(&spec_b, "3");
    assert_true(llm_service_last_stats(service, &stats));
    assert_true(stats.load_seconds <= 0 && stats.first_token_seconds > 0);
}

// ---- Memory runs out --------------------------------------------------------------------------------------

static llm_backend *create_mock(void *user, llm_error *failure)
{
    (void)user;
    return llm_mock_backend_create(failure);
}

// Everything an application does once, with `n` allocations granted; true when nothing failed.
static bool run_with_allocations(long n)
{
    llm_service_options options;
    llm_service_options_init(&options);
    options.max_models = 2;
    options.create_backend = create_mock;
    llm_status status = LLM_OUT_OF_MEMORY;
    llm_stream *stream = NULL;
    err = (llm_error){0};
    mem_fail_after(n);
    llm_service *fresh = llm_service_create(&options, &err);
    if (fresh) status = llm_service_prefetch(fresh, &spec_a, NULL, NULL, &err);
    if (fresh && status == LLM_OK) status = llm_service_set_system_prompt(fresh, "be short", &err);
    if (fresh && status == LLM_OK) stream = llm_service_generate(fresh, &spec_b, "one two three", NULL, &err);
    bool complete = false;
    while (stream && (status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {}
    complete = status == LLM_END;
    mem_fail_after(-1);
    if (!complete && (err.code != LLM_OUT_OF_MEMORY || !err.message[0]))
        fail_msg("after %ld allocations: %s: %s", n, llm_status_name(err.code), err.message);
    llm_stream_free(stream);
    llm_service_free(fresh);
    return complete;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    long n = 0;
    while (!run_with_allocations(n)) n++;
    assert_true(n > 12);
}

static void test_results_of_tools_continue_the_session(void **state)
{
    (void)state;
    llm_service_options options;
    llm_generation_config config;
    llm_model_spec spec;
    llm_tool tool = {"now", NULL, NULL};
    char id[20] = "";
    llm_service_options_init(&options);
    options.create_backend = create_mock;
    llm_generation_config_init(&config);
    llm_model_spec_init(&spec, "a");
    config.tools = &tool;
    config.num_tools = 1;
    llm_service *mocks = llm_service_create(&options, &err);
    assert_ok(llm_service_set_system_prompt(mocks, "Be short.", &err));
    llm_stream *stream = llm_service_generate(mocks, &spec, "call now {}", &config, &err);
    assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_TOOL_CALL);
    snprintf(id, sizeof id, "%s", chunk.tool_call_id);
    assert_int_equal(finish(stream), LLM_END);
    assert_int_equal(chunk.finish_reason, LLM_FINISH_TOOL_CALL);
    llm_tool_result wrong = {"other", "noon"}, right = {id, "noon"};
    assert_int_equal(finish(llm_service_continue(mocks, NULL, &wrong, 1, &config, &err)), LLM_INVALID_ARGUMENT);
    stream = llm_service_continue(mocks, NULL, &right, 1, &config, &err);
    assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_TEXT);
    assert_int_equal(finish(stream), LLM_END);
    llm_service_free(mocks);
}

#define rule1(test) cmocka_unit_test_setup_teardown(test, one_model, tear_down)
#define rule2(test) cmocka_unit_test_setup_teardown(test, two_models, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_checked),
        rule1(test_null_arguments),
        rule1(test_a_request_loads_what_it_needs),
        rule1(test_one_model_at_a_time_is_loaded_anew),
        rule2(test_two_models_stay),
        rule2(test_equal_specs_are_the_same_model),
        rule2(test_models_answer_side_by_side),
        rule1(test_another_model_waits_for_the_answer_that_runs),
        rule1(test_an_answer_that_waits_can_be_cancelled_and_loads_nothing),
        rule1(test_a_cancel_during_the_load),
        rule1(test_a_failed_load_ends_the_stream_and_frees_the_place),
        rule1(test_a_failed_answer_leaves_the_model),
        rule2(test_idle_models_make_room),
        rule2(test_a_busy_model_does_not_make_room),
        rule1(test_prefetch_loads_with_progress),
        rule1(test_prefetching_can_be_stopped),
        rule2(test_unload_ends_the_requests_for_a_model),
        rule2(test_unload_ends_everything),
        rule1(test_unload_frees_an_answer_that_nobody_reads),
        rule2(test_cancel_takes_what_runs),
        rule1(test_streams_outlive_the_service),
        rule2(test_the_system_prompt_is_every_models),
        rule2(test_reset_is_for_later_requests),
        rule2(test_figures),
        cmocka_unit_test(test_results_of_tools_continue_the_session),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
