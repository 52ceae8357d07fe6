// Threads that ask, prefetch, cancel, unload, watch memory and free all at once. What is checked: each backend is used by
// one at a time, never without a model, and every stream ends as a stream should. LLMLOCAL_STRESS_SECONDS says how long (5).
#include "testing.h"
#include "client/scripted.h"
#include <stdlib.h>

enum { NUM_THREADS = 5, OPEN_STREAMS = 4, NUM_MODELS = 2 };

typedef struct round_state {
    llm_service *service;
    scripted *scripts; // NULL: other backends
    int created;
    const char *base;
    _Atomic llm_pressure pressure;
    atomic_bool over;       // no more calls on the service
    pthread_barrier_t calm; // all have seen that
    atomic_int bad_streams, warnings;
    atomic_int ends[3]; // ended, cancelled, failed
} round_state;

typedef struct actor {
    round_state *round;
    pthread_t thread;
    uint64_t random;
    llm_stream *open[OPEN_STREAMS];
} actor;

static uint32_t draw(actor *a, uint32_t below)
{
    a->random = a->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(a->random >> 33) % below;
}

// Reads up to `limit` chunks, or to the end when that is negative, and checks how the stream ends.
static void read_some(actor *a, llm_stream *stream, int limit)
{
    llm_chunk chunk = {0};
    llm_error err;
    llm_status status = LLM_OK;
    bool info = false, wrong = false;
    while (limit-- != 0 && (status = llm_stream_next(stream, limit < 0 ? LLM_FOREVER : 1, &chunk, &err)) == LLM_OK) {
        wrong |= info; // nothing comes after the info chunk
        info |= chunk.kind == LLM_CHUNK_INFO;
        if (chunk.kind == LLM_CHUNK_TEXT) wrong |= !chunk.length || chunk.text[chunk.length];
    }
    if (status == LLM_OK || status == LLM_TIMEOUT) return;
    wrong |= status != LLM_END && status != LLM_CANCELLED && status != LLM_CONTEXT_EXCEEDED && status != LLM_LOAD_FAILED;
    wrong |= llm_stream_next(stream, 0, &chunk, &err) != status;
    if (wrong && !atomic_fetch_add(&a->round->bad_streams, 1))
        print_message("a stream ended with \"%s\": %s\n", llm_status_name(status), status == LLM_END ? "" : err.message);
    atomic_fetch_add(&a->round->ends[status == LLM_END ? 0 : status == LLM_CANCELLED ? 1 : 2], 1);
}

// One of three models; they differ by their context.
static const llm_model_spec *draw_spec(actor *a, llm_model_spec *spec)
{
    llm_model_spec_init(spec, a->round->base);
    spec->context_length = 200 + (int)draw(a, 3);
    return spec;
}

static llm_stream *ask(actor *a)
{
    static const llm_message message = {.role = "user", .content = "from a conversation"};
    llm_generation_config config;
    llm_model_spec spec;
    llm_generation_config_init(&config);
    config.no_wait = !draw(a, 4);
    config.max_tokens = 20;
    draw_spec(a, &spec);
    if (!draw(a, 3)) return llm_service_generate_messages(a->round->service, &spec, &message, 1, &config, NULL);
    return llm_service_generate(a->round->service, draw(a, 4) ? &spec : NULL, "a prompt of five words", &config, NULL);
}

static int on_progress(void *user, const char *what, double fraction)
{
    (void)what, (void)fraction;
    actor *a = user;
    return a->round->over || (time(NULL) + (intptr_t)a) % 17 == 0; // called on another thread: no dice
}

static void act_on_stream(actor *a)
{
    llm_stream **slot = &a->open[draw(a, OPEN_STREAMS)];
    if (!*slot) {
        *slot = ask(a);
        if (*slot && !draw(a, 4)) llm_stream_fd(*slot);
        return;
    }
    switch (draw(a, 5)) {
    case 0: llm_stream_cancel(*slot); return;
    case 1: read_some(a, *slot, 3); return;
    case 2: read_some(a, *slot, -1); break;
    default: break;
    }
    llm_stream_free(*slot);
    *slot = NULL;
}

static void act_on_service(actor *a)
{
    llm_service *service = a->round->service;
    llm_model_spec spec;
    llm_memory memory;
    llm_stats stats;
    int count;
    switch (draw(a, 16)) {
    case 0:
    case 1: llm_service_prefetch(service, draw_spec(a, &spec), draw(a, 2) ? on_progress : NULL, a, NULL); break;
    case 2: llm_service_unload(service, draw_spec(a, &spec)); break;
    case 3: llm_service_unload(service, NULL); break;
    case 4:
    case 5: llm_service_cancel(service); break;
    case 6: llm_service_reset(service); break;
    case 7: llm_service_set_system_prompt(service, draw(a, 3) ? "be quick" : NULL, NULL); break;
    case 8: llm_free(llm_service_system_prompt_copy(service)); break;
    case 9: llm_service_memory(service, &memory, NULL); break;
    case 10: llm_free(llm_service_loaded_models_copy(service, &count)); break;
    case 11: llm_service_last_stats(service, &stats); break;
    case 12: llm_service_start_monitoring(service, NULL); break;
    case 13: llm_service_stop_monitoring(service); break;
    case 14: a->round->pressure = (llm_pressure)draw(a, 3); break;
    case 15: llm_service_is_cached(service, draw_spec(a, &spec)); break;
    }
}

static void *actor_main(void *user)
{
    actor *a = user;
    while (!atomic_load(&a->round->over)) {
        if (draw(a, 3)) act_on_stream(a);
        else act_on_service(a);
    }
    pthread_barrier_wait(&a->round->calm);
    // The service is being freed now; what is open ends by itself, or is freed by us first.
    for (int i = 0; i < OPEN_STREAMS; i++) {
        if (a->open[i] && draw(a, 2)) read_some(a, a->open[i], -1);
        llm_stream_free(a->open[i]);
    }
    return NULL;
}

// Opens and closes the gates, so that loads and answers take their time now and then.
static void shake(round_state *round, actor *dice, int steps)
{
    for (int i = 0; i <= steps; i++) {
        for (int k = 0; round->scripts && k < NUM_MODELS; k++) {
            scripted *script = &round->scripts[k];
            atomic_store(&script->hold_load, i < steps && !draw(dice, 3));
            atomic_store(&script->hold_generate, i < steps && !draw(dice, 3));
            atomic_store(&script->load_result, draw(dice, 5) ? LLM_OK : LLM_LOAD_FAILED);
        }
        nanosleep(&(struct timespec){0, (long)draw(dice, 3000000)}, NULL);
    }
}

static llm_backend *create_backend(void *user, llm_error *err)
{
    round_state *round = user;
    if (!round->scripts) return llm_mock_backend_create(err);
    return llm_backend_create(&scripted_methods, &round->scripts[round->created++], err);
}

static llm_pressure say_pressure(void *user) { return ((round_state *)user)->pressure; }

static void on_pressure(void *user, llm_pressure pressure, int models_unloaded)
{
    (void)pressure, (void)models_unloaded;
    atomic_fetch_add(&((round_state *)user)->warnings, 1);
}

static llm_service *create_service(round_state *round, bool real)
{
    llm_error err;
    llm_mlx_options mlx = {.size = sizeof mlx, .num_threads = 2};
    llm_service_options options;
    llm_service_options_init(&options);
    options.max_models = NUM_MODELS;
    options.mlx = &mlx;
    if (!real) options.create_backend = create_backend;
    options.create_backend_user = round;
    options.pressure = say_pressure;
    options.pressure_user = round;
    options.pressure_interval_ms = 1;
    options.on_pressure = on_pressure;
    options.on_pressure_user = round;
    llm_service *service = llm_service_create(&options, &err);
    if (!service) fail_msg("%s", err.message);
    return service;
}

static void run_round(uint64_t seed, round_state *round)
{
    actor actors[NUM_THREADS] = {0}, dice = {.random = seed * 77};
    atomic_store(&round->over, false);
    round->pressure = LLM_PRESSURE_NONE;
    pthread_barrier_init(&round->calm, NULL, NUM_THREADS + 1);
    for (int i = 0; i < NUM_THREADS; i++) {
        actors[i].round = round;
        actors[i].random = seed * 1000 + (uint64_t)i;
        assert_int_equal(pthread_create(&actors[i].thread, NULL, actor_main, &actors[i]), 0);
    }
    shake(round, &dice, 60);
    atomic_store(&round->over, true);
    pthread_barrier_wait(&round->calm);
    llm_service_free(round->service);
    for (int i = 0; i < NUM_THREADS; i++) pthread_join(actors[i].thread, NULL);
    pthread_barrier_destroy(&round->calm);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void test_threads_race(void **state)
{
    (void)state;
    static scripted scripts[NUM_MODELS];
    round_state round = {.base = GOLDEN_DIR "/models/chat"};
    const char *text = getenv("LLMLOCAL_STRESS_SECONDS");
    int rounds = 0, loads = 0;
    for (int i = 0; i < NUM_MODELS; i++) pthread_mutex_init(&scripts[i].lock, NULL);
    for (double end = seconds() + (text ? atof(text) : 5); seconds() < end; rounds++) {
        round.scripts = rounds % 3 == 0 ? scripts : NULL;
        round.created = 0;
        round.service = create_service(&round, rounds % 3 == 2);
        run_round((uint64_t)rounds + 1, &round);
        for (int i = 0; i < NUM_MODELS; i++) scripts[i].log[0] = 0;
    }
    for (int i = 0; i < NUM_MODELS; i++) {
        loads += scripts[i].loads;
        assert_int_equal(scripts[i].overlaps, 0);
        assert_int_equal(scripts[i].misuses, 0);
        assert_int_equal(scripts[i].destroyed, (rounds + 2) / 3);
        pthread_mutex_destroy(&scripts[i].lock);
    }
    print_message("%d rounds: %d loads of the scripted ones; %d answers ended, %d cancelled, %d failed; %d warnings\n", rounds, loads,
                  round.ends[0], round.ends[1], round.ends[2], round.warnings);
    assert_int_equal(round.bad_streams, 0);
    assert_true(round.ends[0] > 0 && round.ends[1] > 0 && loads > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_race)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
