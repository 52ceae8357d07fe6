// Every golden model: its description builds, its weights resolve, and the description means what MLX
// computes.
#include "testing.h"
#include "base/mem.h"
#include "nn/golden_models.h"
#include "nn/reference_forward.h"
#include <math.h>
#include <stdlib.h>

// One forward over prompt and greedy answer: logits at the stated positions, argmax at each answered one.
static double check_case(const char *name) {
    golden g;
    int32_t ids[MAX_TOKENS];
    open_golden(name, &g);
    int vocab = g.files.desc.vocab_size, prompt = read_ids(yyjson_obj_get(g.root, "ids"), ids, 0);
    int total = read_ids(yyjson_obj_get(g.root, "greedy"), ids, prompt);
    assert_true(prompt > 0 && total > prompt);
    float *logits = mem_alloc((size_t)total * (size_t)vocab * sizeof *logits);
    assert_true(reference_forward(&g.files.desc, g.files.weights.views, ids, total, logits));
    double worst = compare_logits(&g, logits);
    if (!(worst <= 1e-3)) fail_msg("%s: the logits differ by %.2e", name, worst);
    for (int i = prompt; i < total; i++)
        if (largest_logit(logits + (size_t)(i - 1) * (size_t)vocab, vocab) != ids[i])
            fail_msg("%s: token %d differs", name, i);
    mem_free(logits);
    close_golden(&g);
    return worst;
}

static void test_descriptions_compute_what_mlx_computes(void **state) {
    (void)state;
    char *names[MAX_CASES];
    int count = list_cases(names);
    double worst = 0;
    assert_true(count >= 55);
    for (int i = 0; i < count; i++) {
        double error = check_case(names[i]);
        if (getenv("LLMLOCAL_VERBOSE")) print_message("%-28s %.1e\n", names[i], error);
        worst = fmax(worst, error);
        mem_free(names[i]);
    }
    print_message("%d models, largest relative difference %.1e\n", count, worst);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptions_compute_what_mlx_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
