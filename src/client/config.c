// Generation settings: defaults, ranges, deep copy.
#include "client/config.h"
#include "base/json.h"
#include "base/utf8.h"
#include "client/options.h"
#include <limits.h>
#include <math.h>
#include <string.h>

enum { MAX_STOP = 256, MAX_LOGIT_BIAS = 1 << 20, MAX_TOOLS = 1024, MAX_ADAPTERS = 16, MAX_SPECULATE = 32 };

void llm_generation_config_init(llm_generation_config *config)
{
    if (!config) return;
    *config = (llm_generation_config){.size = sizeof *config,
                                      .max_tokens = 1024,
                                      .temperature = 0.7f,
                                      .top_p = 0.9f,
                                      .repetition_penalty = 1,
                                      .penalty_window = 64};
}

// ---- Ranges -----------------------------------------------------------------------------------------------

static const struct int_range {
    const char *name;
    size_t offset;
    int lowest, highest;
} int_ranges[] = {
    {"max_tokens", offsetof(llm_generation_config, max_tokens), 1, INT_MAX},
    {"top_k", offsetof(llm_generation_config, top_k), 0, INT_MAX},
    {"penalty_window", offsetof(llm_generation_config, penalty_window), 1, 1 << 20},
    {"num_stop", offsetof(llm_generation_config, num_stop), 0, MAX_STOP},
    {"num_logit_bias", offsetof(llm_generation_config, num_logit_bias), 0, MAX_LOGIT_BIAS},
    {"logprobs", offsetof(llm_generation_config, logprobs), 0, 1000},
    {"num_tools", offsetof(llm_generation_config, num_tools), 0, MAX_TOOLS},
    {"num_adapters", offsetof(llm_generation_config, num_adapters), LLM_NO_ADAPTERS, MAX_ADAPTERS},
    {"speculate", offsetof(llm_generation_config, speculate), 0, MAX_SPECULATE},
};

static const struct float_range {
    const char *name;
    size_t offset;
    float lowest, highest;
    bool above; // `lowest` itself is outside
} float_ranges[] = {
    {"temperature", offsetof(llm_generation_config, temperature), 0, 100, false},
    {"top_p", offsetof(llm_generation_config, top_p), 0, 1, true},
    {"min_p", offsetof(llm_generation_config, min_p), 0, 1, false},
    {"repetition_penalty", offsetof(llm_generation_config, repetition_penalty), 0, 100, true},
    {"presence_penalty", offsetof(llm_generation_config, presence_penalty), -100, 100, false},
    {"frequency_penalty", offsetof(llm_generation_config, frequency_penalty), -100, 100, false},
};

static llm_status check_ints(const llm_generation_config *config, llm_error *err)
{
    for (size_t i = 0; i < sizeof int_ranges / sizeof *int_ranges; i++) {
        const struct int_range *range = &int_ranges[i];
        int value;
        memcpy(&value, (const char *)config + range->offset, sizeof value);
        if (value < range->lowest || value > range->highest)
            return error_set(err, LLM_INVALID_ARGUMENT, "config.%s is %d; it must be from %d to %d",
                             range->name, value, range->lowest, range->highest);
    }
    return LLM_OK;
}

static llm_status check_floats(const llm_generation_config *config, llm_error *err)
{
    for (size_t i = 0; i < sizeof float_ranges / sizeof *float_ranges; i++) {
        const struct float_range *range = &float_ranges[i];
        float value;
        memcpy(&value, (const char *)config + range->offset, sizeof value);
        bool low_enough = value <= range->highest; // false for NaN, too
        if (!low_enough || (range->above ? value <= range->lowest : value < range->lowest))
            return error_set(err, LLM_INVALID_ARGUMENT, "config.%s is %g; it must be %s %g and at most %g",
                             range->name, (double)value, range->above ? "above" : "at least",
                             (double)range->lowest, (double)range->highest);
    }
    return LLM_OK;
}

// ---- What the members point to: checked and copied in one pass --------------------------------------------

static llm_status copy_string(arena *memory, const char *text, const char **copy, llm_error *err)
{
    *copy = NULL;
    if (text && !(*copy = arena_copy(memory, text, strlen(text))))
        return error_no_memory(err, "the settings");
    return LLM_OK;
}

static llm_status copy_stop(arena *memory, llm_generation_config *config, llm_error *err)
{
    if (!config->num_stop) return config->stop = NULL, LLM_OK;
    if (!config->stop)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.stop is NULL, but num_stop is %d",
                         config->num_stop);
    const char **stop = arena_alloc_array(memory, (size_t)config->num_stop, sizeof *stop);
    if (!stop) return error_no_memory(err, "the settings");
    for (int i = 0; i < config->num_stop; i++) {
        const char *text = config->stop[i];
        if (!text || !*text || !utf8_valid(text, strlen(text)))
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "config.stop[%d] is %s; it must be a text of at least one character", i,
                             !text    ? "NULL"
                             : !*text ? "empty"
                                      : "not UTF-8");
        llm_status status = copy_string(memory, text, &stop[i], err);
        if (status != LLM_OK) return status;
    }
    config->stop = stop;
    return LLM_OK;
}

static llm_status copy_logit_bias(arena *memory, llm_generation_config *config, llm_error *err)
{
    if (!config->num_logit_bias) return config->logit_bias = NULL, LLM_OK;
    if (!config->logit_bias)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.logit_bias is NULL, but num_logit_bias is %d",
                         config->num_logit_bias);
    llm_logit_bias *copy = arena_alloc_array(memory, (size_t)config->num_logit_bias, sizeof *copy);
    if (!copy) return error_no_memory(err, "the settings");
    for (int i = 0; i < config->num_logit_bias; i++) {
        copy[i] = config->logit_bias[i];
        if (copy[i].token < 0)
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "config.logit_bias[%d].token is %d; it must be 0 or more", i, copy[i].token);
        if (isnan(copy[i].bias) || copy[i].bias == INFINITY)
            return error_set(
                err, LLM_INVALID_ARGUMENT,
                "config.logit_bias[%d].bias is %g; it must be a number, or -INFINITY to forbid the token", i,
                (double)copy[i].bias);
    }
    config->logit_bias = copy;
    return LLM_OK;
}

// `text` must be a JSON object, or NULL.
static llm_status check_json_object(const char *text, const char *name, llm_error *err)
{
    if (!text) return LLM_OK;
    yyjson_doc *doc;
    llm_status status = json_read(text, strlen(text), name, &doc, err);
    if (status == LLM_LOAD_FAILED && err) err->code = LLM_INVALID_ARGUMENT;
    if (status != LLM_OK) return status == LLM_LOAD_FAILED ? LLM_INVALID_ARGUMENT : status;
    if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
        status = error_set(err, LLM_INVALID_ARGUMENT, "%s must be a JSON object", name);
    json_free(doc);
    return status;
}

static llm_status copy_tool(arena *memory, const llm_tool *tool, int index, llm_tool *copy, llm_error *err)
{
    char name[64];
    if (!tool->name || !*tool->name)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.tools[%d].name is missing", index);
    snprintf(name, sizeof name, "config.tools[%d].parameters", index);
    llm_status status = check_json_object(tool->parameters, name, err);
    if (status == LLM_OK) status = copy_string(memory, tool->name, &copy->name, err);
    if (status == LLM_OK) status = copy_string(memory, tool->description, &copy->description, err);
    if (status == LLM_OK) status = copy_string(memory, tool->parameters, &copy->parameters, err);
    return status;
}

static llm_status copy_tools(arena *memory, llm_generation_config *config, llm_error *err)
{
    if (!config->num_tools) return config->tools = NULL, LLM_OK;
    if (!config->tools)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.tools is NULL, but num_tools is %d",
                         config->num_tools);
    llm_tool *copy = arena_alloc_array(memory, (size_t)config->num_tools, sizeof *copy);
    if (!copy) return error_no_memory(err, "the settings");
    for (int i = 0; i < config->num_tools; i++) {
        llm_status status = copy_tool(memory, &config->tools[i], i, &copy[i], err);
        if (status != LLM_OK) return status;
    }
    config->tools = copy;
    return LLM_OK;
}

static llm_status copy_adapters(arena *memory, llm_generation_config *config, llm_error *err)
{
    if (config->num_adapters <= 0) return config->adapters = NULL, LLM_OK;
    if (!config->adapters)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.adapters is NULL, but num_adapters is %d", config->num_adapters);
    llm_adapter_use *copy = arena_alloc_array(memory, (size_t)config->num_adapters, sizeof *copy);
    if (!copy) return error_no_memory(err, "the settings");
    for (int i = 0; i < config->num_adapters; i++) {
        const llm_adapter_use *use = &config->adapters[i];
        if (!use->name || !*use->name) return error_set(err, LLM_INVALID_ARGUMENT, "config.adapters[%d].name is missing", i);
        if (!(use->strength >= -100 && use->strength <= 100))
            return error_set(err, LLM_INVALID_ARGUMENT, "config.adapters[%d].strength is %g; it must be from -100 to 100", i,
                             (double)use->strength);
        copy[i].strength = use->strength;
        llm_status status = copy_string(memory, use->name, &copy[i].name, err);
        if (status != LLM_OK) return status;
    }
    config->adapters = copy;
    return LLM_OK;
}

llm_status config_copy(arena *memory, const llm_generation_config *config, const llm_generation_config **copy,
                       llm_error *err)
{
    *copy = NULL;
    llm_generation_config *whole = arena_alloc(memory, sizeof *whole);
    if (!whole) return error_no_memory(err, "the settings");
    llm_generation_config_init(whole);
    llm_status status = LLM_OK;
    if (config) status = options_read(whole, sizeof *whole, config, "llm_generation_config_init", err);
    if (status == LLM_OK) status = check_ints(whole, err);
    if (status == LLM_OK) status = check_floats(whole, err);
    if (status == LLM_OK) status = copy_stop(memory, whole, err);
    if (status == LLM_OK) status = copy_logit_bias(memory, whole, err);
    if (status == LLM_OK) status = copy_tools(memory, whole, err);
    if (status == LLM_OK) status = copy_adapters(memory, whole, err);
    if (status == LLM_OK) status = check_json_object(whole->template_json, "config.template_json", err);
    if (status == LLM_OK) status = copy_string(memory, whole->template_json, &whole->template_json, err);
    if (status == LLM_OK) *copy = whole;
    return status;
}

llm_status llm_generation_config_check(const llm_generation_config *config, llm_error *err)
{
    arena memory;
    const llm_generation_config *copy;
    if (!config) return error_set(err, LLM_INVALID_ARGUMENT, "the settings are NULL");
    arena_init(&memory);
    llm_status status = config_copy(&memory, config, &copy, err);
    arena_free(&memory);
    return status;
}
