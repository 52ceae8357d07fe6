// The engines that tests run over, and what each promises. A test's state is the engine that it runs on.
#ifndef TESTS_ENGINE_ENGINES_H
#define TESTS_ENGINE_ENGINES_H
#include "testing.h"
#include "engine/engine.h"
#include <math.h>

typedef struct engine_under_test {
    const char *name;
    double exact, fast;  // largest relative difference of logits from MLX in float32 that is allowed
    double fast_prompt;  // ... of tokens that are not forwarded one by one
    double repeated;     // ... between one way to compute the same and another; 0: the same bits
    bool fails_allocations; // mem_fail_after reaches it
} engine_under_test;

static engine_under_test engines[] = {
    {"cpu", 1e-3, 2e-2, 0.15, 0, true},
    // MLX's own types: bfloat16 keeps eight bits, and models of random weights forgive little.
    {"mlx", 1e-4, 2e-1, 2e-1, 1e-5, false},
};
static const engine_under_test *tested; // the running test's; NULL: it is not there

// For comparisons of one way to compute the same with another.
static inline engine_precision repeatable_precision(void) { return tested->repeated ? PRECISION_EXACT : PRECISION_FAST; }

static inline void assert_repeated(const char *name, const char *what, const float *a, const float *b, int count)
{
    double largest = 0, difference = 0;
    for (int i = 0; i < count; i++) {
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    if (tested->repeated == 0 ? memcmp(a, b, (size_t)count * sizeof *a) != 0 : !(difference <= tested->repeated * largest))
        fail_msg("%s: %s differs by %.1e of %.1e", name, what, difference, largest);
}

// An engine that is not there skips its tests, unless this build has made it.
static int choose_engine(void **state)
{
    engine *device;
    llm_error reason;
    tested = *state;
    if (engine_open(tested->name, &(engine_options){.num_threads = 1}, &device, &reason) == LLM_OK) {
        engine_close(device);
        return 0;
    }
#ifdef TEST_MLX
    print_message("%s\n", reason.message);
    return -1;
#else
    print_message("SKIPPED: engine %s: %s; `make test` provides it\n", tested->name, reason.message);
    tested = NULL;
    return 0;
#endif
}

#define CPU_TEST(function) {"cpu: " #function, function, choose_engine, NULL, &engines[0]}
#define ENGINE_TEST(function) CPU_TEST(function), {"mlx: " #function, function, choose_engine, NULL, &engines[1]}

#endif
