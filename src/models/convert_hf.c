// An unquantised Hugging Face directory to an MLX directory, with the outcome of mlx-lm's convert: the same
// tensors dropped, the same layers quantised, the same config; tokenizer files are copied as they are.
#include "models/convert_job.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 24 };
#define COPY_LIMIT ((size_t)1 << 30)

typedef struct hf_family {
    const char *model_type;
    bool drops_tied_head; // mlx-lm ignores lm_head.weight when the embedding serves
    bool ties_by_default; // mlx-lm's default where the config does not say
    bool multimodal;      // only the text part is taken
} hf_family;

static const hf_family families[] = {
    {"llama", true, true, false},   {"mistral", true, true, false}, {"qwen2", true, true, false},
    {"qwen3", true, false, false},  {"gemma2", false, true, false}, {"gemma3_text", false, true, false},
    {"gemma3", false, true, true},  {"phi3", false, false, false},  {"smollm3", true, true, false},
    {"granite", true, true, false}, {"olmo2", false, true, false},
};

static const char *const tokenizer_files[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
};

static llm_status find_family(yyjson_val *config, const hf_family **family, llm_error *err)
{
    const char *type;
    llm_status status = json_get_string(config, "model_type", NULL, &type, err);
    if (status != LLM_OK) return status;
    if (!type) return error_set(err, LLM_LOAD_FAILED, "config.json does not name a model_type");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(type, families[i].model_type) != 0) continue;
        *family = &families[i];
        return LLM_OK;
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the model type %.60s cannot be converted", type);
}

static llm_status refuse_quantised(yyjson_val *config, llm_error *err)
{
    yyjson_val *text = yyjson_obj_get(config, "text_config");
    if (yyjson_is_obj(yyjson_obj_get(config, "quantization")))
        return error_set(err, LLM_INVALID_ARGUMENT, "the model is an MLX model already, and quantised");
    if (yyjson_is_obj(yyjson_obj_get(config, "quantization_config")) ||
        yyjson_is_obj(yyjson_obj_get(text, "quantization_config")))
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the model is quantised already: convert the original");
    return LLM_OK;
}

// mlx-lm casts to "torch_dtype", or to the text part's "dtype"; a name that it does not know casts nothing.
static llm_status read_dtype(convert_job *job, yyjson_val *config, llm_error *err)
{
    yyjson_val *text;
    const char *name = NULL;
    llm_status status = json_get_string(config, "torch_dtype", NULL, &name, err);
    if (status == LLM_OK) status = json_get_object(config, "text_config", &text, err);
    if (status == LLM_OK && !name) status = json_get_string(text, "dtype", NULL, &name, err);
    job->type = DTYPE_COUNT;
    if (status == LLM_OK && name) convert_parse_dtype(name, &job->type, NULL);
    return status;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_dropped(const hf_family *family, const char *name, bool tied)
{
    if (strstr(name, "self_attn.rotary_emb.inv_freq")) return true;
    if (tied && family->drops_tied_head && strcmp(name, "lm_head.weight") == 0) return true;
    return family->multimodal &&
           (starts_with(name, "vision_tower.") || starts_with(name, "multi_modal_projector."));
}

static llm_status add_tensor(convert_job *job, const safetensors_tensor *source, llm_error *err)
{
    const char *dot = strrchr(source->name, '.');
    char *module = dot ? mem_copy_bytes(source->name, (size_t)(dot - source->name)) : NULL;
    if (!dot) return error_set(err, LLM_LOAD_FAILED, "the tensor %.100s belongs to no layer", source->name);
    convert_tensor *tensor = module ? convert_add(job, module, dot + 1) : NULL;
    mem_free(module);
    if (!tensor) return error_no_memory(err, "a list of tensors");
    if (source->type == DTYPE_F64)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %.100s is float64", source->name);
    tensor->safetensors = source;
    tensor->is_matrix = source->num_dims == 2 && strcmp(dot, ".weight") == 0 && dtype_is_float(source->type);
    convert_set_shape(tensor, source->num_dims, source->shape);
    return LLM_OK;
}

static llm_status list_tensors(convert_job *job, const safetensors_model *model, const hf_family *family,
                               yyjson_val *config, llm_error *err)
{
    bool tied;
    llm_status status = json_get_bool(config, "tie_word_embeddings", family->ties_by_default, &tied, err);
    for (size_t i = 0; status == LLM_OK && i < model->num_tensors; i++)
        if (!is_dropped(family, model->tensors[i]->name, tied))
            status = add_tensor(job, model->tensors[i], err);
    if (status == LLM_OK && job->num_tensors == 0)
        status = error_set(err, LLM_LOAD_FAILED, "the model has no tensors");
    return status;
}

// config.json.

static void *json_malloc(void *ctx, size_t size) { return (void)ctx, mem_alloc(size); }
static void *json_realloc(void *ctx, void *block, size_t old_size, size_t size)
{
    return (void)ctx, (void)old_size, mem_realloc(block, 1, size);
}
static void json_release(void *ctx, void *block) { (void)ctx, mem_free(block); }

// A member of the top level; its own lines are set in by one step more.
static void put_member(buf *text, const char *key, yyjson_val *value)
{
    static const yyjson_alc memory = {json_malloc, json_realloc, json_release, NULL};
    size_t length;
    char *json = yyjson_val_write_opts(value, YYJSON_WRITE_PRETTY, &memory, &length, NULL);
    if (!json) text->failed = true;
    buf_append_string(text, text->length > 1 ? ",\n    " : "\n    ");
    buf_append_json_string(text, key, strlen(key));
    buf_append_string(text, ": ");
    for (size_t i = 0; json && i < length; i++) {
        buf_append_char(text, json[i]);
        if (json[i] == '\n') buf_append_string(text, "    ");
    }
    mem_free(json);
}

typedef struct member {
    const char *key;
    yyjson_val *value;
} member;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const member *)a)->key, ((const member *)b)->key);
}

// Tokens that end an answer: generation_config.json's go before the config's.
static llm_status read_ends(const convert_job *job, yyjson_doc **doc, yyjson_val **ends, llm_error *err)
{
    char *path = path_join(job->source, "generation_config.json");
    if (!path) return error_no_memory(err, job->source);
    llm_status status = file_exists(path) ? json_read_file(path, CONFIG_LIMIT, doc, err) : LLM_OK;
    mem_free(path);
    yyjson_val *value = yyjson_obj_get(yyjson_doc_get_root(*doc), "eos_token_id");
    bool given = yyjson_is_arr(value) ? yyjson_arr_size(value) > 0
                                      : yyjson_is_int(value) && yyjson_get_sint(value) != 0;
    *ends = given ? value : NULL;
    return status;
}

static llm_status write_config(convert_job *job, yyjson_val *config, yyjson_val *ends, llm_error *err)
{
    buf text = {0};
    size_t count = 0, i, n;
    yyjson_val *key, *value;
    member *members = mem_alloc_zero(yyjson_obj_size(config) + 1, sizeof *members);
    if (!members) return error_no_memory(err, "config.json");
    yyjson_obj_foreach(config, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        if (strcmp(name, "_name_or_path") == 0 || strcmp(name, "vision_config") == 0 ||
            strcmp(name, "quantization") == 0 || strcmp(name, "quantization_config") == 0 ||
            (ends && strcmp(name, "eos_token_id") == 0))
            continue;
        members[count++] = (member){name, value};
    }
    if (ends) members[count++] = (member){"eos_token_id", ends};
    if (count) qsort(members, count, sizeof *members, by_key);
    buf_append_char(&text, '{');
    bool quantization_done = false;
    for (i = 0; i <= count; i++) {
        if (!quantization_done && (i == count || strcmp(members[i].key, "quantization") > 0)) {
            convert_put_quantization(job, &text); // "model_type" stands before it: the comma is right
            quantization_done = true;
        }
        if (i == count) break;
        if (job->options->dtype && strcmp(members[i].key, "torch_dtype") == 0)
            buf_printf(&text, ",\n    \"torch_dtype\": \"%s\"", convert_dtype_name(job->type));
        else
            put_member(&text, members[i].key, members[i].value);
    }
    buf_append_string(&text, "\n}\n");
    mem_free(members);
    return convert_write_file(job, "config.json", &text, err);
}

static llm_status copy_file(const convert_job *job, const char *name, llm_error *err)
{
    char *from = path_join(job->source, name), *to = path_join(job->directory, name), *data = NULL;
    size_t length;
    llm_status status = LLM_OK;
    if (!from || !to)
        status = error_no_memory(err, name);
    else if (file_exists(from)) {
        status = file_read(from, COPY_LIMIT, &data, &length, err);
        if (status == LLM_OK) status = file_write(to, data, length, err);
    }
    mem_free(data);
    mem_free(from);
    mem_free(to);
    return status;
}

llm_status convert_from_directory(convert_job *job, safetensors_model *model, llm_error *err)
{
    yyjson_doc *doc = NULL, *generation = NULL;
    const hf_family *family = NULL;
    yyjson_val *ends = NULL;
    char *path = path_join(job->source, "config.json");
    if (!path) return error_no_memory(err, job->source);
    llm_status status = json_read_file(path, CONFIG_LIMIT, &doc, err);
    mem_free(path);
    yyjson_val *config = yyjson_doc_get_root(doc);
    if (status == LLM_OK) status = find_family(config, &family, err);
    if (status == LLM_OK) status = refuse_quantised(config, err);
    if (status == LLM_OK) status = read_dtype(job, config, err);
    if (status == LLM_OK) status = read_ends(job, &generation, &ends, err);
    if (status == LLM_OK) status = safetensors_model_open(job->source, model, err);
    if (status == LLM_OK) status = list_tensors(job, model, family, config, err);
    job->mlx_rules = true;
    job->granite = family && strcmp(family->model_type, "granite") == 0;
    if (status == LLM_OK) status = convert_plan(job, err);
    if (status == LLM_OK) status = write_config(job, config, ends, err);
    for (size_t i = 0; status == LLM_OK && i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        status = copy_file(job, tokenizer_files[i], err);
    json_free(generation);
    json_free(doc);
    return status;
}
