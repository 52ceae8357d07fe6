// Model specs and generation settings as values; small text helpers.
#include "testing.h"
#include "base/arena.h"
#include "base/mem.h"
#include "client/config.h"
#include "client/spec.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>

static llm_error err;

static llm_model_spec full_spec(void)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, "org/model");
    spec.id = "mine";
    spec.revision = "abc";
    spec.adapter = (llm_adapter){LLM_ADAPTER_GITHUB, "me/adapters", "v1", "a.zip"};
    spec.context_length = 4096;
    spec.display_name = "My \"model\"";
    spec.description = "caf\xC3\xA9";
    spec.estimated_memory = 5000000000u;
    return spec;
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(llm_version(), LLM_VERSION);
    assert_string_equal(llm_finish_reason_name(LLM_FINISH_STOP), "stop");
    assert_string_equal(llm_finish_reason_name(LLM_FINISH_LENGTH), "length");
    assert_string_equal(llm_finish_reason_name(LLM_FINISH_CANCELLED), "cancelled");
    assert_string_equal(llm_finish_reason_name(LLM_FINISH_TOOL_CALL), "tool_call");
    assert_string_equal(llm_finish_reason_name((llm_finish_reason)77), "unknown reason");
    assert_null(llm_string_copy(NULL));
    char *copy = llm_string_copy("text");
    assert_string_equal(copy, "text");
    llm_free(copy);
    llm_free(NULL);
}

// Changes one member at a time; every change must show.
static void test_equality_and_hash_see_every_member(void **state)
{
    (void)state;
    llm_model_spec a = full_spec(), b = full_spec();
    char base[] = "org/model"; // equal content at another address
    b.base = base;
    assert_true(llm_model_spec_equal(&a, &b));
    assert_true(llm_model_spec_hash(&a) == llm_model_spec_hash(&b));
    for (int i = 0; i < 12; i++) {
        b = full_spec();
        switch (i) {
        case 0: b.id = "other"; break;
        case 1: b.base = "org/other"; break;
        case 2: b.revision = NULL; break;
        case 3: b.adapter.kind = LLM_ADAPTER_HUB; break;
        case 4: b.adapter.source = "you/adapters"; break;
        case 5: b.adapter.tag = NULL; break;
        case 6: b.adapter.asset = "b.zip"; break;
        case 7: b.context_length++; break;
        case 8: b.display_name = NULL; break;
        case 9: b.description = ""; break;
        case 10: b.estimated_memory++; break;
        case 11: b.adapter.kind = LLM_ADAPTER_NONE; break;
        }
        if (llm_model_spec_equal(&a, &b)) fail_msg("change %d is not seen", i);
        if (llm_model_spec_hash(&a) == llm_model_spec_hash(&b))
            fail_msg("change %d does not change the hash", i);
    }
    assert_true(llm_model_spec_equal(NULL, NULL));
    assert_false(llm_model_spec_equal(&a, NULL));
}

static void test_null_equals_what_it_stands_for(void **state)
{
    (void)state;
    llm_model_spec a, b;
    llm_model_spec_init(&a, "m");
    llm_model_spec_init(&b, "m");
    b.id = "m";
    b.revision = "main";
    b.adapter.source = "of no adapter";
    assert_true(llm_model_spec_equal(&a, &b));
    assert_true(llm_model_spec_hash(&a) == llm_model_spec_hash(&b));
}

static void test_copy_is_deep_and_one_block(void **state)
{
    (void)state;
    llm_model_spec spec = full_spec();
    long before = mem_allocation_count();
    llm_model_spec *copy = llm_model_spec_copy(&spec);
    assert_int_equal(mem_allocation_count() - before, 1);
    assert_true(llm_model_spec_equal(&spec, copy));
    assert_ptr_not_equal(copy->base, spec.base);
    assert_ptr_not_equal(copy->adapter.asset, spec.adapter.asset);
    assert_string_equal(copy->description, "caf\xC3\xA9");
    llm_free(copy);
    assert_null(llm_model_spec_copy(NULL));
}

static void test_json_round_trip(void **state)
{
    (void)state;
    llm_model_spec spec = full_spec(), plain;
    llm_model_spec_init(&plain, "p");
    char *json = llm_model_spec_json_copy(&plain);
    assert_string_equal(json, "{\"base\":\"p\"}");
    llm_free(json);
    json = llm_model_spec_json_copy(&spec);
    llm_model_spec *back = llm_model_spec_from_json_copy(json, &err);
    if (!back) fail_msg("%s: %s", json, err.message);
    assert_true(llm_model_spec_equal(&spec, back));
    assert_string_equal(back->display_name, spec.display_name);
    llm_free(json);
    llm_free(back);
}

static void test_json_of_a_newer_version_is_read(void **state)
{
    (void)state;
    llm_model_spec *spec = llm_model_spec_from_json_copy(
        "{\"base\":\"m\",\"draft\":{\"base\":\"n\"},\"adapter\":null,\"context_length\":12,\"id\":null}",
        &err);
    assert_non_null(spec);
    assert_string_equal(spec->base, "m");
    assert_int_equal(spec->context_length, 12);
    assert_null(spec->id);
    llm_free(spec);
}

static void test_json_that_is_no_spec_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        llm_status code;
        const char *text;
    } cases[] = {
        {"", LLM_INVALID_ARGUMENT, "not valid JSON"},
        {"[]", LLM_INVALID_ARGUMENT, "must be a JSON object"},
        {"{}", LLM_INVALID_ARGUMENT, "spec.base is missing"},
        {"{\"base\":3}", LLM_INVALID_ARGUMENT, "\"base\" must be a string"},
        {"{\"base\":\"a\\u0000b\"}", LLM_INVALID_ARGUMENT, "zero byte"},
        {"{\"base\":\"m\",\"context_length\":-1}", LLM_INVALID_ARGUMENT, "\"context_length\" is -1"},
        {"{\"base\":\"m\",\"context_length\":4294967296}", LLM_INVALID_ARGUMENT, "4294967296"},
        {"{\"base\":\"m\",\"estimated_memory\":-5}", LLM_INVALID_ARGUMENT, "\"estimated_memory\" is -5"},
        {"{\"base\":\"m\",\"estimated_memory\":\"x\"}", LLM_INVALID_ARGUMENT, "\"estimated_memory\""},
        {"{\"base\":\"m\",\"adapter\":3}", LLM_INVALID_ARGUMENT, "\"adapter\" must be an object"},
        {"{\"base\":\"m\",\"adapter\":{\"kind\":\"hub\"}}", LLM_INVALID_ARGUMENT,
         "adapter.source is missing"},
        {"{\"base\":\"m\",\"adapter\":{\"kind\":\"github\",\"source\":\"a/b\"}}", LLM_INVALID_ARGUMENT,
         "adapter.asset"},
        {"{\"base\":\"m\",\"adapter\":{\"kind\":\"torrent\"}}", LLM_UNSUPPORTED_FORMAT, "torrent"},
        {"{\"base\":\"m\",\"adapter\":{\"kind\":1}}", LLM_INVALID_ARGUMENT, "\"kind\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(llm_model_spec_from_json_copy(cases[i].json, &err));
        if (err.code != cases[i].code || !strstr(err.message, cases[i].text))
            fail_msg("%s: %s: %s", cases[i].json, llm_status_name(err.code), err.message);
    }
    assert_null(llm_model_spec_from_json_copy(NULL, &err));
}

static void test_tiers(void **state)
{
    (void)state;
    static const uint64_t gib = 1 << 30;
    const struct {
        uint64_t bytes;
        llm_size_tier tier;
    } cases[] = {{0, LLM_TIER_UNKNOWN},      {1, LLM_TIER_TINY},
                 {gib - 1, LLM_TIER_TINY},   {gib, LLM_TIER_SMALL},
                 {3 * gib, LLM_TIER_MEDIUM}, {8 * gib - 1, LLM_TIER_MEDIUM},
                 {8 * gib, LLM_TIER_LARGE},  {20 * gib, LLM_TIER_EXTRA_LARGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llm_model_spec spec;
        llm_model_spec_init(&spec, "m");
        spec.estimated_memory = cases[i].bytes;
        assert_int_equal(llm_model_spec_tier(&spec), cases[i].tier);
    }
    assert_int_equal(llm_model_spec_tier(NULL), LLM_TIER_UNKNOWN);
}

static void test_structs_of_other_sizes(void **state)
{
    (void)state;
    struct {
        llm_model_spec spec;
        char later[8];
    } newer = {.spec = full_spec()};
    llm_model_spec whole, older = full_spec();
    newer.spec.size = sizeof newer;
    assert_ok(spec_read(&newer.spec, &whole, &err));
    assert_int_equal(whole.size, sizeof whole);
    newer.later[3] = 1;
    assert_error(spec_read(&newer.spec, &whole, &err), LLM_INVALID_ARGUMENT, "does not know");
    older.size = offsetof(llm_model_spec, context_length);
    assert_ok(spec_read(&older, &whole, &err));
    assert_string_equal(whole.adapter.asset, "a.zip");
    assert_int_equal(whole.context_length, 0);
    older.size = 0;
    assert_error(spec_read(&older, &whole, &err), LLM_INVALID_ARGUMENT, "llm_model_spec_init");
    assert_error(spec_read(NULL, &whole, &err), LLM_INVALID_ARGUMENT, "NULL");
}

static void test_specs_are_checked(void **state)
{
    (void)state;
    llm_model_spec spec = full_spec();
    assert_ok(spec_check(&spec, &err));
    spec.context_length = -4;
    assert_error(spec_check(&spec, &err), LLM_INVALID_ARGUMENT, "spec.context_length is -4");
    spec = full_spec();
    spec.adapter.kind = (llm_adapter_kind)9;
    assert_error(spec_check(&spec, &err), LLM_INVALID_ARGUMENT, "spec.adapter.kind is 9");
    assert_null(llm_model_spec_json_copy(&spec));
    llm_model_spec_init(&spec, "");
    assert_error(spec_check(&spec, &err), LLM_INVALID_ARGUMENT, "spec.base");
}

// ---- Settings ---------------------------------------------------------------------------------------------

static llm_generation_config config;
static arena memory;
static const llm_generation_config *copied;

static llm_status copy_config(void)
{
    arena_free(&memory);
    arena_init(&memory);
    return config_copy(&memory, &config, &copied, &err);
}

#define assert_refused(change, text)                                                                         \
    do {                                                                                                     \
        llm_generation_config_init(&config);                                                                 \
        change;                                                                                              \
        assert_error(copy_config(), LLM_INVALID_ARGUMENT, text);                                             \
        assert_null(copied);                                                                                 \
    } while (0)
#define assert_taken(change)                                                                                 \
    do {                                                                                                     \
        llm_generation_config_init(&config);                                                                 \
        change;                                                                                              \
        assert_ok(copy_config());                                                                            \
    } while (0)

static void test_settings_defaults(void **state)
{
    (void)state;
    arena_free(&memory);
    assert_ok(config_copy(&memory, NULL, &copied, &err));
    assert_int_equal(copied->max_tokens, 1024);
    assert_true(copied->temperature == 0.7f && copied->top_p == 0.9f && copied->repetition_penalty == 1);
    assert_int_equal(copied->penalty_window, 64);
    assert_int_equal(copied->top_k + copied->logprobs + copied->num_stop + copied->num_tools, 0);
    llm_generation_config_init(NULL);
}

static void test_settings_out_of_range_are_named(void **state)
{
    (void)state;
    assert_refused(config.max_tokens = 0, "config.max_tokens is 0; it must be from 1");
    assert_refused(config.top_k = -1, "config.top_k is -1");
    assert_refused(config.penalty_window = 0, "config.penalty_window is 0");
    assert_refused(config.logprobs = 1001, "config.logprobs is 1001; it must be from 0 to 1000");
    assert_refused(config.num_stop = -1, "config.num_stop");
    assert_refused(config.num_logit_bias = -1, "config.num_logit_bias");
    assert_refused(config.num_tools = 5000, "config.num_tools");
    assert_refused(config.temperature = -0.5f,
                   "config.temperature is -0.5; it must be at least 0 and at most 100");
    assert_refused(config.temperature = NAN, "config.temperature is nan");
    assert_refused(config.temperature = INFINITY, "config.temperature is inf");
    assert_refused(config.top_p = 0, "config.top_p is 0; it must be above 0 and at most 1");
    assert_refused(config.top_p = 1.5f, "config.top_p");
    assert_refused(config.min_p = -1, "config.min_p");
    assert_refused(config.repetition_penalty = 0, "config.repetition_penalty");
    assert_refused(config.presence_penalty = 101, "config.presence_penalty");
    assert_refused(config.frequency_penalty = -101, "config.frequency_penalty");
    assert_refused(config.size = 0, "llm_generation_config_init");
    assert_taken(config.max_tokens = INT_MAX);
    assert_taken(config.top_p = 1);
    assert_taken(config.temperature = 0);
    assert_taken(config.frequency_penalty = -100);
}

static void test_settings_lists_are_checked(void **state)
{
    (void)state;
    const char *empty[] = {"a", ""}, *null[] = {NULL}, *bytes[] = {"\xFF"};
    llm_logit_bias negative = {-1, 0}, nan = {1, NAN}, infinite = {1, INFINITY}, banned = {1, -INFINITY};
    llm_tool nameless = {NULL, "d", NULL}, no_schema = {"f", NULL, "[1]"}, no_json = {"f", NULL, "{"};
    assert_refused(config.num_stop = 1, "config.stop is NULL");
    assert_refused((config.stop = empty, config.num_stop = 2), "config.stop[1] is empty");
    assert_refused((config.stop = null, config.num_stop = 1), "config.stop[0] is NULL");
    assert_refused((config.stop = bytes, config.num_stop = 1), "config.stop[0] is not UTF-8");
    assert_refused(config.num_logit_bias = 1, "config.logit_bias is NULL");
    assert_refused((config.logit_bias = &negative, config.num_logit_bias = 1),
                   "config.logit_bias[0].token is -1");
    assert_refused((config.logit_bias = &nan, config.num_logit_bias = 1), "config.logit_bias[0].bias is nan");
    assert_refused((config.logit_bias = &infinite, config.num_logit_bias = 1),
                   "config.logit_bias[0].bias is inf");
    assert_taken((config.logit_bias = &banned, config.num_logit_bias = 1));
    assert_refused(config.num_tools = 1, "config.tools is NULL");
    assert_refused((config.tools = &nameless, config.num_tools = 1), "config.tools[0].name");
    assert_refused((config.tools = &no_schema, config.num_tools = 1),
                   "config.tools[0].parameters must be a JSON object");
    assert_refused((config.tools = &no_json, config.num_tools = 1),
                   "config.tools[0].parameters: not valid JSON");
    assert_refused(config.template_json = "3", "config.template_json must be a JSON object");
    assert_taken(config.template_json = "{\"enable_thinking\":false}");
}

static void test_settings_copy_is_deep(void **state)
{
    (void)state;
    char stop_text[] = "END", name[] = "f", schema[] = "{}", template_json[] = "{\"a\":1}";
    const char *stop[] = {stop_text};
    llm_tool tool = {name, NULL, schema};
    llm_logit_bias bias = {7, 2.5f};
    llm_generation_config_init(&config);
    config.stop = stop, config.num_stop = 1;
    config.tools = &tool, config.num_tools = 1;
    config.logit_bias = &bias, config.num_logit_bias = 1;
    config.template_json = template_json;
    assert_ok(copy_config());
    stop_text[0] = name[0] = schema[0] = template_json[0] = 'X';
    stop[0] = NULL;
    tool.name = NULL;
    bias.token = 0;
    assert_string_equal(copied->stop[0], "END");
    assert_string_equal(copied->tools[0].name, "f");
    assert_string_equal(copied->tools[0].parameters, "{}");
    assert_null(copied->tools[0].description);
    assert_int_equal(copied->logit_bias[0].token, 7);
    assert_string_equal(copied->template_json, "{\"a\":1}");
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    llm_model_spec spec = full_spec();
    char *json = llm_model_spec_json_copy(&spec);
    bool done = false;
    for (long n = 0; !done; n++) {
        mem_fail_after(n);
        llm_model_spec *read = llm_model_spec_from_json_copy(json, &err);
        mem_fail_after(-1);
        if (!read) assert_int_equal(err.code, LLM_OUT_OF_MEMORY);
        done = read;
        llm_free(read);
    }
    const char *stop[] = {"a"};
    llm_tool tool = {"f", "d", "{}"};
    llm_logit_bias bias = {1, 1};
    llm_generation_config_init(&config);
    config.stop = stop, config.num_stop = 1, config.tools = &tool, config.num_tools = 1;
    config.logit_bias = &bias, config.num_logit_bias = 1, config.template_json = "{}";
    for (long n = 0;; n++) {
        arena_free(&memory);
        mem_fail_after(n);
        llm_status status = config_copy(&memory, &config, &copied, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) break;
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    mem_fail_after(0);
    assert_null(llm_model_spec_json_copy(&spec));
    assert_null(llm_model_spec_copy(&spec));
    mem_fail_after(-1);
    llm_free(json);
    arena_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_equality_and_hash_see_every_member),
        cmocka_unit_test(test_null_equals_what_it_stands_for),
        cmocka_unit_test(test_copy_is_deep_and_one_block),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_of_a_newer_version_is_read),
        cmocka_unit_test(test_json_that_is_no_spec_is_refused),
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_structs_of_other_sizes),
        cmocka_unit_test(test_specs_are_checked),
        cmocka_unit_test(test_settings_defaults),
        cmocka_unit_test(test_settings_out_of_range_are_named),
        cmocka_unit_test(test_settings_lists_are_checked),
        cmocka_unit_test(test_settings_copy_is_deep),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
