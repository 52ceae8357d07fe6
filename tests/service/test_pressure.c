// When memory counts as short, what the service does then, and what fits: by figures and files that the tests write.
#include "testing.h"
#include "client/scripted.h"
#include "fake_system.h"
#include "service/pressure.h"

static llm_error err;

// ---- What counts as pressure ------------------------------------------------------------------------------

enum { SECOND = 1000000000 };

static void put_available(const char *root, int percent)
{
    char text[200];
    snprintf(text, sizeof text, "MemTotal: 10000000 kB\nMemAvailable: %d00000 kB\n", percent);
    put(root, "proc/meminfo", text);
}

static void test_what_is_left(void **state)
{
    const char *root = *state;
    pressure_watch watch = {0};
    assert_int_equal(pressure_look(&watch, root, 0), LLM_PRESSURE_NONE); // nothing known
    static const struct {
        int percent;
        llm_pressure pressure;
    } rows[] = {{50, LLM_PRESSURE_NONE}, {6, LLM_PRESSURE_NONE}, {4, LLM_PRESSURE_WARNING}, {1, LLM_PRESSURE_CRITICAL}, {20, LLM_PRESSURE_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_available(root, rows[i].percent);
        assert_int_equal(pressure_look(&watch, root, (int64_t)i * SECOND), rows[i].pressure);
    }
    // A small group on a large machine.
    put_version2(root, "/g");
    put(root, "sys/fs/cgroup/g/memory.max", "1000000000\n");
    put(root, "sys/fs/cgroup/g/memory.current", "970000000\n");
    assert_int_equal(pressure_look(&watch, root, 10 * (int64_t)SECOND), LLM_PRESSURE_WARNING);
    put(root, "sys/fs/cgroup/g/memory.stat", "inactive_file 900000000\n");
    assert_int_equal(pressure_look(&watch, root, 11 * (int64_t)SECOND), LLM_PRESSURE_NONE);
}

static void test_stalls_since_the_last_look(void **state)
{
    const char *root = *state;
    static const struct {
        unsigned long long total_us;
        double seconds;
        llm_pressure pressure;
    } rows[] = {
        {900000000, 1, LLM_PRESSURE_NONE}, // the first look
        {900000000, 1, LLM_PRESSURE_NONE},
        {900100000, 1, LLM_PRESSURE_NONE}, // 10 %
        {900300000, 1, LLM_PRESSURE_WARNING}, // 20 %
        {900900000, 1, LLM_PRESSURE_CRITICAL},
        {901000000, 0.5, LLM_PRESSURE_WARNING},
        {901300000, 4, LLM_PRESSURE_NONE},
        {0, 1, LLM_PRESSURE_NONE}, // counters began anew
        {900000, 0, LLM_PRESSURE_NONE},
    };
    pressure_watch watch = {0};
    double now = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_stall(root, "proc/pressure/memory", 0, rows[i].total_us);
        now += rows[i].seconds;
        llm_pressure pressure = pressure_look(&watch, root, (int64_t)(now * SECOND));
        if (pressure != rows[i].pressure) fail_msg("row %zu: %d", i, (int)pressure);
    }
}

static void test_events_of_control_groups(void **state)
{
    const char *root = *state;
    static const struct {
        const char *events;
        llm_pressure pressure;
    } rows[] = {
        {"high 5\nmax 5\noom 5\n", LLM_PRESSURE_NONE}, // before our time
        {"high 5\nmax 500\noom 5\n", LLM_PRESSURE_NONE},
        {"high 6\nmax 500\noom 5\n", LLM_PRESSURE_WARNING},
        {"high 6\nmax 500\noom 5\n", LLM_PRESSURE_NONE},
        {"high 7\nmax 500\noom 6\n", LLM_PRESSURE_CRITICAL},
    };
    pressure_watch watch = {0};
    put_version2(root, "/g");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put(root, "sys/fs/cgroup/g/memory.events", rows[i].events);
        llm_pressure pressure = pressure_look(&watch, root, (int64_t)i * SECOND);
        if (pressure != rows[i].pressure) fail_msg("row %zu: %d", i, (int)pressure);
    }
}

// ---- What the service does --------------------------------------------------------------------------------

typedef struct world {
    llm_service *service;
    scripted scripts[2];
    int created;
    _Atomic llm_pressure pressure;
    atomic_int looks, calls, unloaded;
    _Atomic llm_pressure told;
    llm_system_memory figures;
} world;

static llm_backend *create_scripted(void *user, llm_error *failure)
{
    world *w = user;
    return llm_backend_create(&scripted_methods, &w->scripts[w->created++], failure);
}

static llm_pressure say_pressure(void *user)
{
    world *w = user;
    atomic_fetch_add(&w->looks, 1);
    return w->pressure;
}

static void note_pressure(void *user, llm_pressure pressure, int models_unloaded)
{
    world *w = user;
    w->told = pressure;
    atomic_fetch_add(&w->unloaded, models_unloaded);
    atomic_fetch_add(&w->calls, 1);
}

static llm_status say_figures(void *user, llm_system_memory *memory, llm_error *failure)
{
    world *w = user;
    if (!w->figures.total_bytes) return error_set(failure, LLM_IO_ERROR, "the oracle is silent");
    *memory = w->figures;
    return LLM_OK;
}

static llm_service *create_service(world *w, bool scripted_backends)
{
    llm_service_options options;
    llm_mlx_options mlx;
    llm_mlx_options_init(&mlx);
    mlx.num_threads = 1;
    mlx.memory = say_figures;
    mlx.memory_user = w;
    llm_service_options_init(&options);
    options.mlx = &mlx;
    options.max_models = 2;
    if (scripted_backends) options.create_backend = create_scripted;
    options.create_backend_user = w;
    options.pressure = say_pressure;
    options.pressure_user = w;
    options.pressure_interval_ms = 2;
    options.on_pressure = note_pressure;
    options.on_pressure_user = w;
    llm_service *service = llm_service_create(&options, &err);
    if (!service) fail_msg("%s", err.message);
    return service;
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    for (int i = 0; i < 2; i++) pthread_mutex_init(&w->scripts[i].lock, NULL);
    w->service = create_service(w, true);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    llm_service_free(w->service);
    int wrong = 0;
    for (int i = 0; i < 2; i++) wrong += w->scripts[i].overlaps + w->scripts[i].misuses;
    free(w);
    return wrong;
}

static llm_stream *generate(world *w, const char *base, const char *prompt)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, base);
    llm_stream *stream = llm_service_generate(w->service, &spec, prompt, NULL, &err);
    if (!stream) fail_msg("%s", err.message);
    return stream;
}

static llm_status finish(llm_stream *stream)
{
    llm_status status;
    while ((status = llm_stream_next(stream, LLM_FOREVER, NULL, &err)) == LLM_OK) {}
    llm_stream_free(stream);
    return status;
}

static int count_loaded(world *w)
{
    int count;
    llm_free(llm_service_loaded_models_copy(w->service, &count));
    return count;
}

static void test_a_warning_unloads_even_in_mid_answer(void **state)
{
    world *w = *state;
    llm_chunk chunk;
    w->scripts[0].hold_generate = true;
    w->scripts[1].hold_load = true;
    assert_ok(llm_service_start_monitoring(w->service, &err));
    assert_ok(llm_service_start_monitoring(w->service, &err)); // twice is once
    llm_stream *one = generate(w, "a", "1"), *two = generate(w, "b", "2"), *three = generate(w, "c", "3");
    assert_ok(llm_stream_next(one, LLM_FOREVER, &chunk, &err));
    wait_for(w->scripts[1].loads == 1 && w->looks > 3);
    assert_int_equal(w->calls, 0);
    w->pressure = LLM_PRESSURE_WARNING;
    assert_int_equal(finish(one), LLM_CANCELLED);
    assert_int_equal(finish(two), LLM_CANCELLED);
    assert_int_equal(finish(three), LLM_CANCELLED);
    wait_for(w->calls == 1);
    assert_int_equal(w->told, LLM_PRESSURE_WARNING);
    assert_int_equal(w->unloaded, 1);
    assert_int_equal(count_loaded(w), 0);
    // The next request loads again, although memory is still short: a warning is given once.
    w->scripts[0].hold_generate = w->scripts[1].hold_load = false;
    int looks = w->looks;
    assert_int_equal(finish(generate(w, "a", "4")), LLM_END);
    wait_for(w->looks > looks + 3);
    assert_int_equal(count_loaded(w), 1);
    w->pressure = LLM_PRESSURE_CRITICAL; // worse than before
    wait_for(w->calls == 2);
    assert_int_equal(w->told, LLM_PRESSURE_CRITICAL);
    assert_int_equal(count_loaded(w), 0);
    w->pressure = LLM_PRESSURE_WARNING; // better
    looks = w->looks;
    wait_for(w->looks > looks + 3);
    assert_int_equal(w->calls, 2);
    w->pressure = LLM_PRESSURE_NONE;
    looks = w->looks;
    wait_for(w->looks > looks + 3);
    w->pressure = LLM_PRESSURE_WARNING; // another one
    wait_for(w->calls == 3);
}

static void test_nothing_is_watched_before_the_start_and_after_the_stop(void **state)
{
    world *w = *state;
    w->pressure = LLM_PRESSURE_CRITICAL;
    assert_int_equal(finish(generate(w, "a", "1")), LLM_END);
    assert_int_equal(w->looks, 0);
    llm_service_stop_monitoring(w->service);
    assert_ok(llm_service_start_monitoring(w->service, &err));
    wait_for(w->calls == 1);
    llm_service_stop_monitoring(w->service);
    llm_service_stop_monitoring(w->service);
    int looks = w->looks;
    scripted_pause();
    assert_int_equal(w->looks, looks);
    assert_int_equal(finish(generate(w, "a", "2")), LLM_END);
    assert_ok(llm_service_start_monitoring(w->service, &err)); // begins anew
    wait_for(w->calls == 2);
    assert_int_equal(count_loaded(w), 0);
    assert_error(llm_service_start_monitoring(NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    llm_service_stop_monitoring(NULL);
}

static void test_the_service_ends_while_it_watches(void **state)
{
    world *w = *state;
    assert_ok(llm_service_start_monitoring(w->service, &err));
    llm_stream *one = generate(w, "a", "1");
    llm_service_free(w->service);
    w->service = NULL;
    finish(one);
}

static void test_the_machines_own_pressure(void **state)
{
    (void)state;
    llm_service_options options;
    llm_service_options_init(&options);
    options.pressure_interval_ms = 0;
    assert_null(llm_service_create(&options, &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "pressure_interval_ms");
    options.pressure_interval_ms = 1;
    llm_service *service = llm_service_create(&options, &err);
    assert_ok(llm_service_start_monitoring(service, &err));
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    llm_service_free(service);
}

// ---- What fits --------------------------------------------------------------------------------------------

static void test_four_fifths_of_the_memory(void **state)
{
    (void)state;
    world w = {0};
    llm_model_spec spec;
    llm_memory_estimate estimate;
    int tokens;
    w.service = create_service(&w, false);
    llm_model_spec_init(&spec, golden("models/chat"));
    assert_error(llm_service_check_memory(w.service, &spec, NULL, &err), LLM_IO_ERROR, "the oracle is silent");
    w.figures.total_bytes = GIB; // nothing of it is available now, which does not matter
    assert_ok(llm_service_check_memory(w.service, &spec, &estimate, &err));
    assert_int_equal(estimate.context_length, 256);
    assert_ok(llm_service_recommended_context(w.service, &spec, &tokens, &err));
    assert_int_equal(tokens, 256);
    w.figures.total_bytes = (estimate.total_bytes + 100) / 80 * 100 + 100;
    assert_ok(llm_service_check_memory(w.service, &spec, &estimate, &err));
    w.figures.total_bytes = estimate.total_bytes / 80 * 100 - 100;
    assert_error(llm_service_check_memory(w.service, &spec, &estimate, &err), LLM_INSUFFICIENT_MEMORY, "256 tokens");
    assert_int_equal(err.required, estimate.total_bytes);
    assert_int_equal(err.available, w.figures.total_bytes / 100 * 80);
    spec.estimated_memory = 1000;
    assert_ok(llm_service_check_memory(w.service, &spec, NULL, &err));
    w.figures.total_bytes = 1000;
    assert_error(llm_service_recommended_context(w.service, &spec, &tokens, &err), LLM_INSUFFICIENT_MEMORY, "context of 1 tokens");
    assert_int_equal(tokens, 0);
    // The loads of the service see the same figures.
    spec.estimated_memory = 0;
    llm_stream *stream = llm_service_generate(w.service, &spec, "x", NULL, &err);
    assert_error(finish(stream), LLM_INSUFFICIENT_MEMORY, "available");
    assert_error(llm_service_check_memory(NULL, &spec, NULL, &err), LLM_INVALID_ARGUMENT, "service is NULL");
    assert_error(llm_service_check_memory(w.service, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "spec is NULL");
    assert_error(llm_service_recommended_context(w.service, &spec, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    llm_service_free(w.service);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
#define in_world(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(test_what_is_left),
        in_folder(test_stalls_since_the_last_look),
        in_folder(test_events_of_control_groups),
        in_world(test_a_warning_unloads_even_in_mid_answer),
        in_world(test_nothing_is_watched_before_the_start_and_after_the_stop),
        in_world(test_the_service_ends_while_it_watches),
        cmocka_unit_test(test_the_machines_own_pressure),
        cmocka_unit_test(test_four_fifths_of_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
