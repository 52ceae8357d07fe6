// What tests of the MLX engine alone share.
#ifndef TESTS_ENGINE_MLX_CASE_H
#define TESTS_ENGINE_MLX_CASE_H
#include "testing.h"
#include "engine/opened_case.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static const engine_options exact = {.precision = PRECISION_EXACT, .cache_limit = 20 << 20, .num_threads = 2};

// Tests are skipped where the plugin is not there, unless this build has made it.
static inline int need_mlx(void **state)
{
    engine *device;
    *state = NULL;
    if (engine_open("mlx", &exact, &device, &err) == LLM_OK) {
        engine_close(device);
        *state = &err;
        return 0;
    }
#ifdef TEST_MLX
    print_message("%s\n", err.message);
    return -1;
#else
    print_message("SKIPPED: engine mlx: %s; `make test` provides it\n", err.message);
    return 0;
#endif
}

#define NEED_MLX(state) if (!*(state)) skip()

static inline void assert_close(const char *what, const float *a, const float *b, int count)
{
    double largest = 0, difference = largest_difference(a, b, count);
    for (int i = 0; i < count; i++) largest = fmax(largest, fabs((double)b[i]));
    if (!(difference <= 1e-4 * largest)) fail_msg("%s: logits differ by %.1e of %.1e", what, difference, largest);
}

// The largest difference over the largest logit, from a row of own_types.json.
static inline double compare_own_types(yyjson_val *expected, const float *row, int vocab)
{
    double largest = 0, difference = 0;
    size_t i, size;
    yyjson_val *value;
    assert_int_equal(yyjson_arr_size(expected), vocab);
    yyjson_arr_foreach(expected, i, size, value)
    {
        difference = fmax(difference, fabs(row[i] - yyjson_get_num(value)));
        largest = fmax(largest, fabs(yyjson_get_num(value)));
    }
    return difference / largest;
}

// The plugin's hook that makes evaluations fail.
typedef void (*fail_function)(long count);
static inline fail_function find_hook(void)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/" MLX_PLUGIN_FILE, getenv("LLMLOCAL_PLUGIN_PATH"));
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin) fail_msg("%s", dlerror());
    fail_function hook = (fail_function)(uintptr_t)dlsym(plugin, "mx_fail_after");
    assert_non_null(hook);
    return hook;
}

#endif
