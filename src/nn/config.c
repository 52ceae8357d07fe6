// What every family's config.json has in common: model type, quantisation, end-of-text tokens, sampling
// advice.
#include "nn/config.h"
#include "base/file.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

enum { CONFIG_SIZE_LIMIT = 16 << 20 };

static llm_status add_eos(model_config *config, yyjson_val *value, llm_error *err)
{
    if (!yyjson_is_int(value) || yyjson_get_sint(value) < 0 || yyjson_get_sint(value) > INT32_MAX)
        return error_set(err, LLM_LOAD_FAILED, "\"eos_token_id\" must be a token id or a list of them");
    if (config->num_eos_ids == CONFIG_MAX_EOS_IDS)
        return error_set(err, LLM_LOAD_FAILED, "\"eos_token_id\" has more than %d ids", CONFIG_MAX_EOS_IDS);
    config->eos_ids[config->num_eos_ids++] = (int32_t)yyjson_get_sint(value);
    return LLM_OK;
}

// Replaces the ids by those of `object`, if it has any.
static llm_status read_eos(model_config *config, yyjson_val *object, llm_error *err)
{
    yyjson_val *value = yyjson_obj_get(object, "eos_token_id"), *item;
    if (!value || yyjson_is_null(value) || (yyjson_is_arr(value) && yyjson_arr_size(value) == 0))
        return LLM_OK;
    config->num_eos_ids = 0;
    if (!yyjson_is_arr(value)) return add_eos(config, value, err);
    llm_status status = LLM_OK;
    yyjson_arr_iter items = yyjson_arr_iter_with(value);
    while (status == LLM_OK && (item = yyjson_arr_iter_next(&items))) status = add_eos(config, item, err);
    return status;
}

static llm_status read_advice(yyjson_val *object, const char *key, float *advice, llm_error *err)
{
    double value;
    llm_status status = json_get_double(object, key, -1, &value, err);
    if (status != LLM_OK) return status;
    bool given = yyjson_is_num(yyjson_obj_get(object, key));
    if (given && !(value >= 0 && value <= 1e6))
        return error_set(err, LLM_LOAD_FAILED, "\"%s\" is out of range", key);
    *advice = (float)value;
    return LLM_OK;
}

static llm_status read_sampling(yyjson_val *object, sampling_defaults *sampling, llm_error *err)
{
    int64_t top_k;
    bool do_sample;
    llm_status status = json_get_int(object, "top_k", -1, &top_k, err);
    if (status == LLM_OK) status = json_get_bool(object, "do_sample", false, &do_sample, err);
    if (status == LLM_OK) status = read_advice(object, "temperature", &sampling->temperature, err);
    if (status == LLM_OK) status = read_advice(object, "top_p", &sampling->top_p, err);
    if (status == LLM_OK) status = read_advice(object, "min_p", &sampling->min_p, err);
    if (status == LLM_OK)
        status = read_advice(object, "repetition_penalty", &sampling->repetition_penalty, err);
    if (status != LLM_OK) return status;
    if (top_k < -1 || top_k > INT32_MAX) return error_set(err, LLM_LOAD_FAILED, "\"top_k\" is out of range");
    sampling->top_k = (int)top_k;
    if (yyjson_is_bool(yyjson_obj_get(object, "do_sample"))) sampling->do_sample = do_sample;
    return LLM_OK;
}

static llm_status read_generation(model_config *config, yyjson_val *object, llm_error *err)
{
    if (!yyjson_is_obj(object)) return error_set(err, LLM_LOAD_FAILED, "not a JSON object");
    llm_status status = read_eos(config, object, err);
    return status == LLM_OK ? read_sampling(object, &config->sampling, err) : status;
}

// Other tools' quantisation formats stand under quantization_config alone; MLX writes both keys.
static llm_status read_quantization(model_config *config, llm_error *err)
{
    yyjson_val *foreign;
    const char *mode, *method;
    llm_status status = json_get_object(config->root, "quantization", &config->quantization, err);
    if (status == LLM_OK && config->quantization) {
        status = json_get_string(config->quantization, "mode", "affine", &mode, err);
        if (status == LLM_OK && strcmp(mode, "affine") != 0)
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "quantisation mode \"%s\" is not supported", mode);
        return status;
    }
    if (status == LLM_OK) status = json_get_object(config->root, "quantization_config", &foreign, err);
    if (status == LLM_OK && foreign) {
        status = json_get_string(foreign, "quant_method", "unknown", &method, err);
        if (status == LLM_OK)
            return error_set(err, LLM_UNSUPPORTED_FORMAT,
                             "quantisation method \"%s\" is not supported: the model is not in MLX format",
                             method);
    }
    return status;
}

static llm_status read_features(model_config *config, llm_error *err)
{
    bool quantised_activations;
    llm_status status = json_get_string(config->root, "model_type", NULL, &config->model_type, err);
    if (status == LLM_OK && !config->model_type)
        return error_set(err, LLM_LOAD_FAILED, "\"model_type\" is missing");
    if (status == LLM_OK)
        status = json_get_bool(config->root, "quantize_activations", false, &quantised_activations, err);
    if (status != LLM_OK) return status;
    if (quantised_activations)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "\"quantize_activations\" is not supported");
    yyjson_val *code = yyjson_obj_get(config->root, "model_file");
    if (code && !yyjson_is_null(code))
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the model needs code of its own (\"model_file\")");
    return read_quantization(config, err);
}

// Takes the documents' content; `generation` may be NULL.
static llm_status read_documents(model_config *config, yyjson_doc *generation, llm_error *err)
{
    yyjson_val *text_config;
    config->root = yyjson_doc_get_root(config->doc);
    config->sampling = (sampling_defaults){-1, -1, -1, -1, -1, -1};
    llm_status status = LLM_OK;
    if (!yyjson_is_obj(config->root)) status = error_set(err, LLM_LOAD_FAILED, "not a JSON object");
    if (status == LLM_OK) status = read_features(config, err);
    if (status == LLM_OK) status = json_get_object(config->root, "text_config", &text_config, err);
    if (status == LLM_OK) status = read_eos(config, text_config, err);
    if (status == LLM_OK) status = read_eos(config, config->root, err);
    if (status != LLM_OK) return error_prefix(err, "config.json"), status;
    if (generation) status = read_generation(config, yyjson_doc_get_root(generation), err);
    if (status != LLM_OK) error_prefix(err, "generation_config.json");
    return status;
}

static llm_status finish(model_config *config, yyjson_doc *generation, llm_status status, llm_error *err)
{
    if (status == LLM_OK) status = read_documents(config, generation, err);
    json_free(generation);
    if (status != LLM_OK) config_close(config);
    return status;
}

llm_status config_read(const char *text, size_t length, const char *generation_text, size_t generation_length,
                       model_config *config, llm_error *err)
{
    yyjson_doc *generation = NULL;
    *config = (model_config){0};
    llm_status status = json_read(text, length, "config.json", &config->doc, err);
    if (status == LLM_OK && generation_text)
        status = json_read(generation_text, generation_length, "generation_config.json", &generation, err);
    return finish(config, generation, status, err);
}

llm_status config_open(const char *directory, model_config *config, llm_error *err)
{
    yyjson_doc *generation = NULL;
    *config = (model_config){0};
    char *path = path_join(directory, "config.json"),
         *generation_path = path_join(directory, "generation_config.json");
    llm_status status = path && generation_path ? LLM_OK : error_no_memory(err, "a path");
    if (status == LLM_OK) status = json_read_file(path, CONFIG_SIZE_LIMIT, &config->doc, err);
    if (status == LLM_OK && file_exists(generation_path))
        status = json_read_file(generation_path, CONFIG_SIZE_LIMIT, &generation, err);
    mem_free(path);
    mem_free(generation_path);
    return finish(config, generation, status, err);
}

void config_close(model_config *config)
{
    json_free(config->doc);
    *config = (model_config){0};
}
