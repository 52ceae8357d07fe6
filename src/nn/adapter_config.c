// Reads adapter_config.json: mlx-lm's (fine_tune_type, num_layers, lora_parameters) and PEFT's (peft_type LORA).
#include "nn/adapter_config.h"
#include <math.h>
#include <string.h>

enum { MAX_RANK = 1 << 14 };

static llm_status check_numbers(const adapter_config *config, llm_error *err)
{
    if (config->rank < 1 || config->rank > MAX_RANK)
        return error_set(err, LLM_LOAD_FAILED, "the adapter's rank is %lld; it must be from 1 to %d", (long long)config->rank, MAX_RANK);
    if (!(fabs(config->scale) <= 1e6) || !(fabs(config->alpha) <= 1e9))
        return error_set(err, LLM_LOAD_FAILED, "the adapter's %s is out of range", config->peft ? "lora_alpha" : "scale");
    return LLM_OK;
}

static llm_status check_strings(yyjson_val *array, const char *key, llm_error *err)
{
    size_t i, count;
    yyjson_val *item;
    yyjson_arr_foreach(array, i, count, item)
        if (!yyjson_is_str(item)) return error_set(err, LLM_LOAD_FAILED, "\"%s\" has an item that is no text", key);
    return LLM_OK;
}

static llm_status require(yyjson_val *object, const char *key, llm_error *err)
{
    yyjson_val *value = yyjson_obj_get(object, key);
    if (value && !yyjson_is_null(value)) return LLM_OK;
    return error_set(err, LLM_LOAD_FAILED, "\"%s\" is missing", key);
}

// ---- MLX

static llm_status read_mlx(yyjson_val *root, adapter_config *config, llm_error *err)
{
    const char *type;
    yyjson_val *parameters = NULL;
    const char *layers = yyjson_obj_get(root, "num_layers") ? "num_layers" : "lora_layers"; // as older versions say
    llm_status status = json_get_string(root, "fine_tune_type", "lora", &type, err);
    if (status == LLM_OK && strcmp(type, "lora") != 0 && strcmp(type, "dora") != 0)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "fine_tune_type \"%.60s\" is not supported: lora and dora are", type);
    if (status == LLM_OK) status = require(root, layers, err);
    if (status == LLM_OK) status = json_get_int(root, layers, 0, &config->num_layers, err);
    if (status == LLM_OK) status = require(root, "lora_parameters", err);
    if (status == LLM_OK) status = json_get_object(root, "lora_parameters", &parameters, err);
    if (status == LLM_OK) status = require(parameters, "rank", err);
    if (status == LLM_OK) status = require(parameters, "scale", err);
    if (status == LLM_OK) status = json_get_int(parameters, "rank", 0, &config->rank, err);
    if (status == LLM_OK) status = json_get_double(parameters, "scale", 0, &config->scale, err);
    if (status == LLM_OK) status = json_get_array(parameters, "keys", &config->keys, err);
    if (status == LLM_OK) status = check_strings(config->keys, "keys", err);
    if (status != LLM_OK) return status;
    config->dora = strcmp(type, "dora") == 0;
    if (config->num_layers < 0) config->num_layers = 0;
    return LLM_OK;
}

// ---- PEFT

// Variants that change what the tensors mean, or more than linear layers. They matter when they are not empty, false or
// "none".
static const char *const peft_refused[] = {
    "modules_to_save", "bias", "lora_bias", "layer_replication", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "velora_config", "kasa_config", "monteclora_config",
};

static bool is_empty(yyjson_val *value)
{
    if (!value || yyjson_is_null(value) || yyjson_is_false(value)) return true;
    if (yyjson_is_arr(value) || yyjson_is_obj(value)) return yyjson_get_len(value) == 0;
    return yyjson_is_str(value) && (yyjson_get_len(value) == 0 || strcmp(yyjson_get_str(value), "none") == 0);
}

static llm_status refuse(yyjson_val *root, const char *key, llm_error *err)
{
    yyjson_val *value = yyjson_obj_get(root, key);
    if (is_empty(value)) return LLM_OK;
    yyjson_val *item = yyjson_is_arr(value) ? yyjson_arr_get_first(value) : value;
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "PEFT's \"%s\"%s%.80s%s is not supported", key, yyjson_is_str(item) ? " (" : "",
                     yyjson_is_str(item) ? yyjson_get_str(item) : "", yyjson_is_str(item) ? ")" : "");
}

// Patterns are regular expressions in PEFT; names are the ones in use. A dot stands for itself.
static bool is_plain_name(const char *text)
{
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] == 0;
}

static llm_status read_pattern(yyjson_val *root, const char *name, yyjson_val **pattern, llm_error *err)
{
    size_t i, count;
    yyjson_val *key, *value;
    llm_status status = json_get_object(root, name, pattern, err);
    if (status != LLM_OK) return status;
    yyjson_obj_foreach(*pattern, i, count, key, value)
    {
        const char *text = yyjson_get_str(key);
        if (!is_plain_name(text))
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "the regular expression \"%.100s\" in \"%s\" is not supported", text, name);
        if (!yyjson_is_num(value) || !(fabs(yyjson_get_num(value)) <= 1e9))
            return error_set(err, LLM_LOAD_FAILED, "\"%s\" has no number for \"%.100s\"", name, text);
    }
    return LLM_OK;
}

static llm_status read_peft(yyjson_val *root, const char *type, adapter_config *config, llm_error *err)
{
    if (strcmp(type, "LORA") != 0)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "PEFT adapters of type \"%.60s\" are not supported: LORA is", type);
    llm_status status = LLM_OK;
    for (size_t i = 0; status == LLM_OK && i < sizeof peft_refused / sizeof *peft_refused; i++) status = refuse(root, peft_refused[i], err);
    if (status == LLM_OK) status = json_get_int(root, "r", 8, &config->rank, err);
    if (status == LLM_OK) status = json_get_double(root, "lora_alpha", 8, &config->alpha, err);
    if (status == LLM_OK) status = json_get_bool(root, "use_rslora", false, &config->rslora, err);
    if (status == LLM_OK) status = json_get_bool(root, "use_dora", false, &config->dora, err);
    if (status == LLM_OK) status = read_pattern(root, "rank_pattern", &config->rank_pattern, err);
    if (status == LLM_OK) status = read_pattern(root, "alpha_pattern", &config->alpha_pattern, err);
    // A text is a regular expression, or "all-linear": then the tensors say it. fan_in_fan_out is about how a base
    // layer lies in memory; PEFT ignores it for linear layers, and every layer of ours is one.
    yyjson_val *targets = yyjson_obj_get(root, "target_modules");
    if (status == LLM_OK && yyjson_is_arr(targets)) status = check_strings(config->keys = targets, "target_modules", err);
    return status;
}

llm_status adapter_config_read(yyjson_val *root, adapter_config *config, llm_error *err)
{
    const char *type;
    *config = (adapter_config){0};
    if (!yyjson_is_obj(root)) return error_set(err, LLM_LOAD_FAILED, "it is no JSON object");
    llm_status status = json_get_string(root, "peft_type", NULL, &type, err);
    if (status != LLM_OK) return status;
    config->peft = type != NULL;
    status = type ? read_peft(root, type, config, err) : read_mlx(root, config, err);
    return status == LLM_OK ? check_numbers(config, err) : status;
}

// ---- One module

// `name` is the module's whole path or its last parts.
static bool names_module(const char *name, const char *module)
{
    size_t length = strlen(name), whole = strlen(module);
    if (length > whole || strcmp(module + whole - length, name) != 0) return false;
    return length == whole || module[whole - length - 1] == '.';
}

// mlx-lm's keys are paths inside a layer, or whole ones.
static bool is_key(const char *key, const char *module, int block)
{
    if (strcmp(key, module) == 0) return true;
    const char *layers = block >= 0 ? strstr(module, "layers.") : NULL;
    const char *inside = layers ? strchr(layers + strlen("layers."), '.') : NULL;
    return inside && strcmp(key, inside + 1) == 0;
}

bool adapter_config_covers(const adapter_config *config, const char *module, int block, int num_blocks)
{
    bool found = !config->keys && (config->peft || block >= 0), whole = false;
    size_t i, count;
    yyjson_val *item;
    yyjson_arr_foreach(config->keys, i, count, item)
    {
        const char *key = yyjson_get_str(item);
        found = found || (config->peft ? names_module(key, module) : is_key(key, module, block));
        whole = whole || strcmp(key, module) == 0; // of any layer
    }
    bool late = config->num_layers == 0 || block < 0 || block >= num_blocks - config->num_layers;
    return found && (late || whole);
}

static yyjson_val *find_pattern(yyjson_val *pattern, const char *module)
{
    size_t i, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(pattern, i, count, key, value)
        if (names_module(yyjson_get_str(key), module)) return value;
    return NULL;
}

int64_t adapter_config_rank(const adapter_config *config, const char *module)
{
    yyjson_val *own = find_pattern(config->rank_pattern, module);
    return own ? (int64_t)yyjson_get_num(own) : config->rank;
}

double adapter_config_scale(const adapter_config *config, const char *module)
{
    if (!config->peft) return config->scale;
    yyjson_val *own = find_pattern(config->alpha_pattern, module);
    double alpha = own ? yyjson_get_num(own) : config->alpha, rank = (double)adapter_config_rank(config, module);
    return alpha / (config->rslora ? sqrt(rank) : rank);
}
