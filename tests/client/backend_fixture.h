// What the tests of llm_backend over the scripted table share: one backend for each test, and its short
// forms.
#ifndef TESTS_BACKEND_FIXTURE_H
#define TESTS_BACKEND_FIXTURE_H
#include "client/scripted.h"

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

static inline llm_stream *generate(const char *prompt)
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

#define assert_log(expected) assert_string_equal(script.log, expected)
#define rule(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
