// Engines that are opened at run time: what is missing, damaged, or of another version is an error that says so.
#include "testing.h"
#include "engine/plugin.h"
#include "files.h"
#include <stdlib.h>

static llm_error err;

static void test_missing_plugins_are_named(void **state)
{
    (void)state;
    const engine_methods *methods = (const engine_methods *)&err;
    setenv("LLMLOCAL_PLUGIN_PATH", "/nowhere::/nor-here", 1);
    assert_error(plugin_open("abacus", &methods, &err), LLM_UNSUPPORTED_FORMAT, "libllmlocal-abacus");
    assert_non_null(strstr(err.message, "LLMLOCAL_PLUGIN_PATH"));
    assert_null(methods);
}

static void test_files_that_are_no_plugins_are_refused(void **state)
{
    const char *folder = *state;
    const engine_methods *methods;
    write_bytes(path_in(folder, FAKE_PLUGIN_FILE), "#!/bin/sh\n", 10);
    setenv("LLMLOCAL_PLUGIN_PATH", folder, 1);
    assert_error(plugin_open("mlx", &methods, &err), LLM_UNSUPPORTED_FORMAT, "cannot be opened");
}

static void test_plugins_of_another_version_are_refused(void **state)
{
    (void)state;
    const engine_methods *methods;
    engine *device;
    setenv("LLMLOCAL_PLUGIN_PATH", "/nowhere:" FAKE_PLUGIN_DIR, 1);
    assert_error(plugin_open("mlx", &methods, &err), LLM_UNSUPPORTED_FORMAT, "9.9.9");
    assert_non_null(strstr(err.message, LLM_VERSION));
    // The engine says the same, and stays out of the way of others.
    assert_error(engine_open("mlx", &(engine_options){0}, &device, &err), LLM_UNSUPPORTED_FORMAT, "9.9.9");
    assert_null(device);
    assert_ok(engine_open("auto", &(engine_options){.num_threads = 1}, &device, &err));
    engine_close(device);
}

static void test_both_engines_are_listed(void **state)
{
    (void)state;
    const char *names[4];
    assert_int_equal(engine_names(names, 4), 2);
    assert_string_equal(names[0], "cpu");
    assert_string_equal(names[1], "mlx");
    llm_engine_info infos[4];
    setenv("LLMLOCAL_PLUGIN_PATH", FAKE_PLUGIN_DIR, 1);
    assert_int_equal(llm_engines(infos, 4), 2);
    assert_true(infos[0].available && !infos[1].available);
    assert_non_null(strstr(infos[1].reason, "9.9.9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_plugins_are_named),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_plugins_are_refused, make_folder, remove_folder),
        cmocka_unit_test(test_plugins_of_another_version_are_refused),
        cmocka_unit_test(test_both_engines_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
