// The sampler against mlx-lm's processors and filters, its distribution, its determinism, and every wrong
// option.
#include "testing.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/portable_math.h"
#include "nn/sampler.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static llm_error err;
enum { VOCAB = 40, DRAWS = 20000, LARGE_VOCAB = 262144 };

static sampler *create(const sampler_options *options, int vocab_size)
{
    sampler *s;
    assert_ok(sampler_create(options, vocab_size, &s, &err));
    return s;
}

// Draws from a copy of the logits.
static sampler_result sample(sampler *s, const float *logits, int vocab_size)
{
    static float copy[LARGE_VOCAB];
    sampler_result result;
    memcpy(copy, logits, (size_t)vocab_size * sizeof *copy);
    assert_ok(sampler_sample(s, copy, NULL, 0, &result, &err));
    return result;
}

// Logits as a model's look: a normal bulk, and a few tokens above it.
static void fill_logits(float *logits, int vocab_size, uint32_t seed, float spread)
{
    for (int i = 0; i < vocab_size; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++) {
            seed = seed * 1664525u + 1013904223u;
            sum += (float)(seed >> 8) * 0x1p-24f;
        }
        logits[i] = (sum - 6) * spread;
    }
    for (int i = 0; i < 20; i++) logits[(i * 7919 + 13) % vocab_size] += spread * (4.0f - 0.1f * (float)i);
}

// Pearson's statistic of the counts against the probabilities, and its degrees of freedom; rare tokens are
// taken together.
static double chi_square(const int *counts, const double *probs, int size, int draws, int *freedom)
{
    double statistic = 0, rare_expected = 0;
    int rare = 0;
    *freedom = -1;
    for (int i = 0; i < size; i++) {
        double expected = probs[i] * draws;
        if (expected < 10) {
            rare += counts[i];
            rare_expected += expected;
            continue;
        }
        statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
        ++*freedom;
    }
    if (rare_expected > 1) {
        statistic += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
        ++*freedom;
    }
    return statistic;
}

static void check_distribution(const char *name, const int *counts, const double *probs, int size, int draws)
{
    int freedom;
    double statistic = chi_square(counts, probs, size, draws, &freedom);
    for (int i = 0; i < size; i++)
        if (probs[i] == 0 && counts[i]) fail_msg("%s: token %d was drawn %d times", name, i, counts[i]);
    // Five standard deviations: once in some millions by chance, and the seed is fixed.
    if (freedom > 0 && statistic > freedom + 5 * sqrt(2.0 * freedom))
        fail_msg("%s: chi-square %.1f of %d", name, statistic, freedom);
}

static float number(yyjson_val *options, const char *key, double fallback)
{
    double value;
    assert_ok(json_get_double(options, key, fallback, &value, &err));
    return (float)value;
}

static void read_options(yyjson_val *object, sampler_options *o, sampler_bias *biases)
{
    size_t i, count;
    yyjson_val *key, *value;
    sampler_options_init(o);
    o->temperature = number(object, "temperature", 1);
    o->top_p = number(object, "top_p", 0);
    o->min_p = number(object, "min_p", 0);
    o->top_k = (int)number(object, "top_k", 0);
    o->repetition_penalty = number(object, "repetition_penalty", 0);
    o->presence_penalty = number(object, "presence_penalty", 0);
    o->frequency_penalty = number(object, "frequency_penalty", 0);
    o->repetition_context = (int)number(object, "repetition_context", 20);
    o->presence_context = (int)number(object, "presence_context", 20);
    o->frequency_context = (int)number(object, "frequency_context", 20);
    o->biases = biases;
    yyjson_obj_foreach(yyjson_obj_get(object, "logit_bias"), i, count, key, value) biases[o->num_biases++] =
        (sampler_bias){atoi(yyjson_get_str(key)), (float)yyjson_get_num(value)};
    o->top_logprobs = VOCAB;
    o->seed = 11;
}

static size_t read_floats(yyjson_val *array, float *values)
{
    size_t i, count;
    yyjson_val *item;
    yyjson_arr_foreach(array, i, count, item) values[i] = (float)yyjson_get_num(item);
    return count;
}

static void check_logprobs(const char *name, const sampler_result *result, yyjson_val *expected)
{
    float logprobs[VOCAB];
    assert_int_equal(read_floats(expected, logprobs), VOCAB);
    assert_int_equal(result->num_top, VOCAB);
    for (int i = 0; i < VOCAB; i++) {
        sampler_logprob entry = result->top[i];
        if (fabsf(entry.logprob - logprobs[entry.token]) > 2e-5f * (1 + fabsf(entry.logprob)))
            fail_msg("%s: token %d has %g, mlx-lm %g", name, entry.token, (double)entry.logprob,
                     (double)logprobs[entry.token]);
        if (i > 0) assert_true(result->top[i - 1].logprob >= entry.logprob);
    }
    assert_true(fabsf(result->logprob - logprobs[result->token]) < 1e-3f);
}

static void check_case(yyjson_val *item)
{
    const char *name = yyjson_get_str(yyjson_obj_get(item, "name"));
    float logits[VOCAB], copy[VOCAB], weights[VOCAB];
    int32_t history[100];
    int counts[VOCAB] = {0};
    double probs[VOCAB] = {0};
    sampler_bias biases[VOCAB];
    sampler_options options;
    size_t i, history_length, num_kept;
    yyjson_val *token;
    read_options(yyjson_obj_get(item, "options"), &options, biases);
    read_floats(yyjson_obj_get(item, "logits"), logits);
    read_floats(yyjson_obj_get(item, "probs"), weights);
    yyjson_arr_foreach(yyjson_obj_get(item, "history"), i, history_length, token) history[i] =
        yyjson_get_int(token);
    yyjson_arr_foreach(yyjson_obj_get(item, "kept"), i, num_kept, token) probs[yyjson_get_int(token)] =
        weights[i];
    sampler *s = create(&options, VOCAB);
    for (int draw = 0; draw < DRAWS; draw++) {
        sampler_result result;
        memcpy(copy, logits, sizeof copy);
        assert_ok(sampler_sample(s, copy, history, history_length, &result, &err));
        counts[result.token]++;
        if (draw == 0) check_logprobs(name, &result, yyjson_obj_get(item, "logprobs"));
    }
    check_distribution(name, counts, probs, VOCAB, DRAWS);
    sampler_free(s);
}

static void test_processors_and_filters_are_those_of_mlx_lm(void **state)
{
    (void)state;
    char *path = path_join(GOLDEN_DIR, "sampler.json");
    yyjson_doc *doc;
    yyjson_val *item, *cases;
    size_t i, count;
    assert_ok(json_read_file(path, 1 << 20, &doc, &err));
    cases = yyjson_obj_get(yyjson_doc_get_root(doc), "cases");
    assert_true(yyjson_arr_size(cases) >= 23);
    yyjson_arr_foreach(cases, i, count, item) check_case(item);
    json_free(doc);
    mem_free(path);
}

// What top-p, min-p and top-k keep, by sorting, as the header defines them.
static int compare_probs(const void *a, const void *b)
{
    const double *x = a, *y = b; // {prob, token}
    return x[0] != y[0] ? (x[0] < y[0] ? 1 : -1) : (x[1] > y[1]) - (x[1] < y[1]);
}

static void brute_force(const float *logits, int size, const sampler_options *o, double *probs)
{
    double(*sorted)[2] = mem_alloc_zero((size_t)size, sizeof *sorted), total = 0, kept_total = 0, above = 0,
    group_above = 0;
    for (int i = 0; i < size; i++) total += exp(logits[i]);
    for (int i = 0; i < size; i++) sorted[i][0] = exp(logits[i]) / total, sorted[i][1] = i, probs[i] = 0;
    qsort(sorted, (size_t)size, sizeof *sorted, compare_probs);
    for (int i = 0; i < size; i++) {
        if (i == 0 || sorted[i][0] != sorted[i - 1][0]) group_above = above; // equals stay or go together
        above += sorted[i][0];
        if (o->top_p > 0 && o->top_p < 1 && group_above >= o->top_p) break;
        if (o->min_p > 0 && sorted[i][0] < o->min_p * sorted[0][0] * (1 - 1e-6)) break;
        if (o->top_k > 0 && i >= o->top_k) break;
        int token = (int)sorted[i][1];
        kept_total += probs[token] = exp(logits[token] / o->temperature);
    }
    for (int i = 0; i < size; i++) probs[i] /= kept_total;
    mem_free(sorted);
}

// Vocabularies of several blocks with an odd end, values that are equal, and filters alone and together.
static void test_filters_agree_with_sorting(void **state)
{
    (void)state;
    enum { SIZE = 3001 };
    static float logits[SIZE];
    static double probs[SIZE];
    static int counts[SIZE];
    static const struct {
        float temperature, top_p, min_p;
        int top_k;
    } settings[] = {{1, 0.9f, 0, 0},      {0.7f, 0.95f, 0, 0},  {1, 0, 0.05f, 0},  {1, 0, 0, 40},
                    {1, 0, 0, 500},       {2, 0.5f, 0.01f, 20}, {1, 0.999f, 0, 0}, {1, 0.3f, 0, 0},
                    {0.5f, 0.9f, 0, 100}, {1, 0.8f, 0.001f, 0}, {1, 0, 0, 3000},   {1, 0, 0, 0}};
    for (int round = 0; round < 3; round++)
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
            fill_logits(logits, SIZE, 5u + (uint32_t)round, 2);
            for (int i = 0; i < SIZE && round == 1; i++) logits[i] = roundf(logits[i]); // many equals
            for (int i = 0; i < SIZE && round == 2; i++) logits[i] = i % 3 ? logits[i] - 20 : -INFINITY;
            sampler_options o;
            sampler_options_init(&o);
            o.temperature = settings[k].temperature;
            o.top_p = settings[k].top_p;
            o.min_p = settings[k].min_p;
            o.top_k = settings[k].top_k;
            o.seed = k;
            brute_force(logits, SIZE, &o, probs);
            memset(counts, 0, sizeof counts);
            sampler *s = create(&o, SIZE);
            for (int draw = 0; draw < 4000; draw++) counts[sample(s, logits, SIZE).token]++;
            char name[40];
            snprintf(name, sizeof name, "round %d, setting %d", round, (int)k);
            check_distribution(name, counts, probs, SIZE, 4000);
            sampler_free(s);
        }
}

static void test_greedy_takes_the_first_largest(void **state)
{
    (void)state;
    static float logits[200];
    sampler_options o;
    sampler_options_init(&o);
    o.top_p = 0.5f; // no effect
    sampler *s = create(&o, 200);
    for (int i = 0; i < 200; i++) logits[i] = (float)(i % 7);
    logits[150] = logits[170] = logits[199] = 50;
    sampler_result result = sample(s, logits, 200);
    assert_int_equal(result.token, 150);
    assert_true(isnan(result.logprob));
    assert_int_equal(sampler_draws(s), 0);
    for (int i = 0; i < 200; i++) logits[i] = -INFINITY;
    logits[199] = -3e38f;
    assert_int_equal(sample(s, logits, 200).token, 199);
    sampler_free(s);
}

static void test_same_seed_same_tokens_and_seeking(void **state)
{
    (void)state;
    static float logits[5000];
    // Pinned: these come out of any machine, compiler and C library.
    static const int32_t pinned[] = {2092, 4778, 2894, 405,  3770, 407,  1153, 3770,
                                     708,  3770, 3770, 1025, 1308, 1556, 4608, 3805};
    int32_t first[32];
    sampler_options o;
    sampler_options_init(&o);
    o.temperature = 0.9f;
    o.top_p = 0.97f;
    o.seed = 42;
    fill_logits(logits, 5000, 1, 1);
    sampler *a = create(&o, 5000), *b = create(&o, 5000);
    o.seed = 43;
    sampler *other = create(&o, 5000);
    int equal = 0;
    for (int i = 0; i < 32; i++) {
        first[i] = sample(a, logits, 5000).token;
        assert_int_equal(sample(b, logits, 5000).token, first[i]);
        equal += sample(other, logits, 5000).token == first[i];
    }
    assert_true(equal < 16);
    for (size_t i = 0; i < 32 && getenv("LLMLOCAL_VERBOSE"); i++) print_message("%d, ", first[i]);
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) assert_int_equal(first[i], pinned[i]);
    assert_int_equal(sampler_draws(a), 32);
    sampler_seek(a, 10);
    for (int i = 10; i < 32; i++) assert_int_equal(sample(a, logits, 5000).token, first[i]);
    sampler_free(a);
    sampler_free(b);
    sampler_free(other);
}

static void test_top_logprobs_are_ordered_and_ties_go_by_id(void **state)
{
    (void)state;
    static float logits[1000];
    sampler_options o;
    sampler_options_init(&o);
    o.top_logprobs = 5;
    sampler *s = create(&o, 1000);
    for (int i = 0; i < 1000; i++) logits[i] = -(float)(i % 100);
    sampler_result result = sample(s, logits, 1000);
    for (int i = 0; i < 5; i++) assert_int_equal(result.top[i].token, 100 * i);
    assert_int_equal(result.num_top, 5);
    assert_true(fabsf(result.top[0].logprob - result.logprob) < 1e-6f);
    sampler_free(s);
    o.top_logprobs = 50;
    s = create(&o, 3);
    assert_int_equal(sample(s, logits, 3).num_top, 3);
    sampler_free(s);
}

static void test_outputs_that_are_no_numbers_are_errors(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    sampler_options o;
    sampler_options_init(&o);
    for (int w = 0; w < 3; w++)
        for (int random = 0; random < 2; random++) {
            float logits[100];
            sampler_result result;
            o.temperature = (float)random;
            sampler *s = create(&o, 100);
            for (int i = 0; i < 100; i++) logits[i] = w == 2 ? -INFINITY : (float)i;
            logits[37] = wrong[w];
            assert_error(sampler_sample(s, logits, NULL, 0, &result, &err), LLM_INTERNAL_ERROR,
                         "not a number");
            sampler_free(s);
        }
}

static void test_history_outside_of_the_vocabulary_is_left_alone(void **state)
{
    (void)state;
    const int32_t history[] = {-5, 100, 3, INT32_MAX, 3};
    float logits[10] = {0};
    sampler_result result;
    sampler_options o;
    sampler_options_init(&o);
    o.repetition_penalty = 2;
    o.presence_penalty = 1;
    o.frequency_penalty = 0.25f;
    sampler *s = create(&o, 10);
    logits[3] = 8;
    assert_ok(sampler_sample(s, logits, history, 5, &result, &err));
    assert_true(logits[3] ==
                8 / 2.0f - 1 - 2 * 0.25f); // twice in the history: once halved, once less, twice a quarter
    logits[3] = -8;
    assert_ok(sampler_sample(s, logits, history, 5, &result, &err));
    assert_true(logits[3] == -8 * 2.0f - 1 - 2 * 0.25f);
    sampler_free(s);
}

static void expect_refusal(sampler_options o, const char *named)
{
    sampler *s;
    assert_error(sampler_create(&o, 10, &s, &err), LLM_INVALID_ARGUMENT, named);
    assert_null(s);
}

static void test_options_out_of_range_are_named(void **state)
{
    (void)state;
    sampler *s;
    sampler_options o;
    sampler_bias far = {10, 1}, endless = {1, INFINITY}, nothing = {1, NAN};
    sampler_options_init(&o);
#define REFUSED(member, value, named)                                                                        \
    do {                                                                                                     \
        sampler_options changed = o;                                                                         \
        changed.member = (value);                                                                            \
        expect_refusal(changed, named);                                                                      \
    } while (0)
    REFUSED(temperature, -1, "temperature");
    REFUSED(temperature, NAN, "temperature");
    REFUSED(temperature, 1e-9f, "temperature");
    REFUSED(top_p, -0.1f, "top_p");
    REFUSED(top_p, NAN, "top_p");
    REFUSED(min_p, 1.5f, "min_p");
    REFUSED(top_k, -1, "top_k");
    REFUSED(repetition_penalty, -1, "repetition_penalty");
    REFUSED(presence_penalty, INFINITY, "presence_penalty");
    REFUSED(frequency_penalty, NAN, "frequency_penalty");
    REFUSED(repetition_context, -1, "repetition_context");
    REFUSED(presence_context, -1, "presence_context");
    REFUSED(frequency_context, -1, "frequency_context");
    REFUSED(top_logprobs, SAMPLER_MAX_TOP_LOGPROBS + 1, "top_logprobs");
    REFUSED(num_biases, 1, "logit biases");
    o.num_biases = 1;
    REFUSED(biases, &far, "token");
    REFUSED(biases, &endless, "a logit bias");
    REFUSED(biases, &nothing, "a logit bias");
    o.num_biases = 0;
    assert_error(sampler_create(&o, 0, &s, &err), LLM_INVALID_ARGUMENT, "vocabulary");
    o.presence_penalty = 1;
    long before = mem_allocation_count();
    sampler_free(create(&o, 10));
    long needed = mem_allocation_count() - before;
    for (long i = 0; i < needed; i++) {
        mem_fail_after(i);
        llm_status status = sampler_create(&o, 10, &s, &err);
        mem_fail_after(-1);
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    sampler_free(NULL);
}

static void test_portable_functions_are_accurate(void **state)
{
    (void)state;
    for (int i = 0; i <= 870000; i++) {
        float x = -(float)i * 1e-4f;
        double exact = exp((double)x);
        if (fabs(portable_exp(x) - exact) > 1.5e-7 * exact) fail_msg("exp(%g)", (double)x);
    }
    assert_true(portable_exp(0) == 1 && portable_exp(-88) == 0 && portable_exp(-INFINITY) == 0);
    for (double x = 1e-30; x < 1e30; x *= 1.01)
        if (fabs(portable_log(x) - log(x)) > 1e-15 * (1 + fabs(log(x)))) fail_msg("log(%g)", x);
    assert_true(portable_log(1) == 0);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Prints what a token costs at the largest vocabulary in use; judges nothing, since machines differ.
static void test_cost_of_a_token(void **state)
{
    (void)state;
    static float logits[LARGE_VOCAB], copy[LARGE_VOCAB];
    static const struct {
        const char *name;
        float temperature, top_p;
        int top_k, top_logprobs;
        float spread;
    } settings[] = {
        {"greedy", 0, 0, 0, 0, 4},
        {"temperature 0.7", 0.7f, 0, 0, 0, 4},
        {"temperature 0.7, top-p 0.9 (3.7 nats)", 0.7f, 0.9f, 0, 0, 4},
        {"temperature 0.7, top-p 0.9 (7 nats)", 0.7f, 0.9f, 0, 0, 3},
        {"temperature 0.7, top-p 0.9 (12 nats)", 0.7f, 0.9f, 0, 0, 0.5f},
        {"temperature 0.7, top-k 40", 0.7f, 0, 40, 0, 4},
        {"temperature 0.7, top-p 0.9, 20 logprobs", 0.7f, 0.9f, 0, 20, 4},
    };
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        sampler_options o;
        sampler_result result;
        sampler_options_init(&o);
        o.temperature = settings[k].temperature;
        o.top_p = settings[k].top_p;
        o.top_k = settings[k].top_k;
        o.top_logprobs = settings[k].top_logprobs;
        fill_logits(logits, LARGE_VOCAB, 3, settings[k].spread);
        sampler *s = create(&o, LARGE_VOCAB);
        double best = 1;
        for (int run = 0; run < 20; run++) {
            memcpy(copy, logits, sizeof copy);
            double begin = seconds();
            assert_ok(sampler_sample(s, copy, NULL, 0, &result, &err));
            best = fmin(best, seconds() - begin);
        }
        print_message("%-40s %.3f ms a token of 262144\n", settings[k].name, best * 1e3);
        sampler_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processors_and_filters_are_those_of_mlx_lm),
        cmocka_unit_test(test_filters_agree_with_sorting),
        cmocka_unit_test(test_greedy_takes_the_first_largest),
        cmocka_unit_test(test_same_seed_same_tokens_and_seeking),
        cmocka_unit_test(test_top_logprobs_are_ordered_and_ties_go_by_id),
        cmocka_unit_test(test_outputs_that_are_no_numbers_are_errors),
        cmocka_unit_test(test_history_outside_of_the_vocabulary_is_left_alone),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_portable_functions_are_accurate),
        cmocka_unit_test(test_cost_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
