// The families that llama.cpp writes, and its tensor names as Hugging Face's.
#include "models/convert_job.h"
#include <stdio.h>
#include <string.h>

const convert_family convert_families[CONVERT_NUM_FAMILIES] = {
    [CONVERT_LLAMA] = {"llama", "llama", "LlamaForCausalLM", true, false},
    [CONVERT_QWEN2] = {"qwen2", "qwen2", "Qwen2ForCausalLM", false, false},
    [CONVERT_QWEN3] = {"qwen3", "qwen3", "Qwen3ForCausalLM", false, false},
    [CONVERT_GEMMA2] = {"gemma2", "gemma2", "Gemma2ForCausalLM", false, true},
    [CONVERT_GEMMA3] = {"gemma3", "gemma3_text", "Gemma3ForCausalLM", false, true},
    [CONVERT_PHI3] = {"phi3", "phi3", "Phi3ForCausalLM", false, false},
    [CONVERT_SMOLLM3] = {"smollm3", "smollm3", "SmolLM3ForCausalLM", true, false},
    [CONVERT_GRANITE] = {"granite", "granite", "GraniteForCausalLM", true, false},
    [CONVERT_OLMO2] = {"olmo2", "olmo2", "Olmo2ForCausalLM", false, false},
};

#define BIT(family) (1u << CONVERT_##family)
#define LLAMAS (BIT(LLAMA) | BIT(SMOLLM3) | BIT(GRANITE))
#define GEMMAS (BIT(GEMMA2) | BIT(GEMMA3))
#define ALL ((1u << CONVERT_NUM_FAMILIES) - 1)

typedef struct name_row {
    const char *gguf, *module;
    unsigned required, optional; // families whose weight must, or may, be there
    unsigned bias_required, bias_optional;
} name_row;

static const name_row model_names[] = {
    {"token_embd", "model.embed_tokens", ALL, 0, 0, 0},
    {"output_norm", "model.norm", ALL, 0, 0, 0},
    {"output", "lm_head", 0, ALL, 0, 0}, // absent: the embedding serves
};

static const name_row block_names[] = {
    {"attn_norm", "input_layernorm", ALL & ~BIT(OLMO2), 0, 0, 0},
    {"attn_q", "self_attn.q_proj", ALL & ~BIT(PHI3), 0, BIT(QWEN2), LLAMAS},
    {"attn_k", "self_attn.k_proj", ALL & ~BIT(PHI3), 0, BIT(QWEN2), LLAMAS},
    {"attn_v", "self_attn.v_proj", ALL & ~BIT(PHI3), 0, BIT(QWEN2), LLAMAS},
    {"attn_qkv", "self_attn.qkv_proj", BIT(PHI3), 0, 0, 0},
    {"attn_output", "self_attn.o_proj", ALL, 0, 0, LLAMAS},
    {"attn_q_norm", "self_attn.q_norm", BIT(QWEN3) | BIT(GEMMA3) | BIT(OLMO2), 0, 0, 0},
    {"attn_k_norm", "self_attn.k_norm", BIT(QWEN3) | BIT(GEMMA3) | BIT(OLMO2), 0, 0, 0},
    {"post_attention_norm", "post_attention_layernorm", GEMMAS | BIT(OLMO2), 0, 0, 0},
    {"ffn_norm", "post_attention_layernorm", ALL & ~GEMMAS & ~BIT(OLMO2), 0, 0, 0},
    {"ffn_norm", "pre_feedforward_layernorm", GEMMAS, 0, 0, 0},
    {"post_ffw_norm", "post_feedforward_layernorm", GEMMAS | BIT(OLMO2), 0, 0, 0},
    {"ffn_gate", "mlp.gate_proj", ALL & ~BIT(PHI3), 0, 0, LLAMAS},
    {"ffn_up", "mlp.up_proj", ALL & ~BIT(PHI3), 0, 0, LLAMAS},
    {"ffn_up", "mlp.gate_up_proj", BIT(PHI3), 0, 0, 0},
    {"ffn_down", "mlp.down_proj", ALL, 0, 0, LLAMAS},
};

// Not weights: rotation factors, which become part of config.json.
static bool is_rope_table(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0 || strcmp(name, "rope_factors_long.weight") == 0 ||
           strcmp(name, "rope_factors_short.weight") == 0;
}

typedef struct lister {
    convert_job *job;
    const gguf_file *file;
    int family;
    size_t num_heads, num_kv_heads;
    size_t found; // tensors of the file that were asked for
} lister;

// Rows (or, of a bias, elements) must be whole heads of an even size.
static llm_status set_permutation(lister *list, const name_row *row, convert_tensor *tensor, llm_error *err)
{
    bool is_q = strcmp(row->gguf, "attn_q") == 0, is_k = strcmp(row->gguf, "attn_k") == 0;
    if (!convert_families[list->family].permuted || (!is_q && !is_k)) return LLM_OK;
    size_t heads = is_q ? list->num_heads : list->num_kv_heads;
    size_t outputs = tensor->num_dims == 1 ? tensor->columns : tensor->rows;
    if (heads == 0 || outputs % heads || outputs / heads % 2)
        return error_set(err, LLM_LOAD_FAILED, "tensor %s: %zu rows are no %zu heads", tensor->gguf->name,
                         outputs, heads);
    tensor->permuted_heads = heads;
    return LLM_OK;
}

// One tensor of the model, if the file has it. `prefix` is "" or "blk.3.", `module_prefix` "" or
// "model.layers.3.".
static llm_status list_one(lister *list, const name_row *row, const char *suffix, bool required,
                           bool optional, const char *prefix, const char *module_prefix, llm_error *err)
{
    char name[100], module[120];
    if (!required && !optional) return LLM_OK;
    snprintf(name, sizeof name, "%s%s.%s", prefix, row->gguf, suffix);
    const gguf_tensor *source = gguf_find_tensor(list->file, name);
    if (!source && required) return error_set(err, LLM_LOAD_FAILED, "the tensor %s is missing", name);
    if (!source) return LLM_OK;
    bool is_weight = strcmp(suffix, "weight") == 0, is_norm = strstr(row->module, "norm") != NULL;
    int wanted_dims = is_weight && !is_norm ? 2 : 1;
    if (source->num_dims != wanted_dims)
        return error_set(err, LLM_LOAD_FAILED, "tensor %s has %d dimensions, not %d", name, source->num_dims,
                         wanted_dims);
    snprintf(module, sizeof module, "%s%s", module_prefix, row->module);
    convert_tensor *tensor = convert_add(list->job, module, suffix);
    if (!tensor) return error_no_memory(err, "a list of tensors");
    tensor->gguf = source;
    tensor->is_matrix = wanted_dims == 2;
    tensor->minus_one = is_norm && convert_families[list->family].norm_plus_one;
    convert_set_shape(tensor, source->num_dims, source->shape);
    list->found++;
    return set_permutation(list, row, tensor, err);
}

static llm_status list_row(lister *list, const name_row *row, const char *prefix, const char *module_prefix,
                           llm_error *err)
{
    unsigned bit = 1u << list->family;
    llm_status status =
        list_one(list, row, "weight", row->required & bit, row->optional & bit, prefix, module_prefix, err);
    if (status != LLM_OK) return status;
    return list_one(list, row, "bias", row->bias_required & bit, row->bias_optional & bit, prefix,
                    module_prefix, err);
}

// Every tensor must have been asked for: one that was not is a feature that would silently be lost.
static llm_status check_leftovers(const lister *list, llm_error *err)
{
    size_t tables = 0;
    for (size_t i = 0; i < list->file->num_tensors; i++) tables += is_rope_table(list->file->tensors[i].name);
    if (list->found + tables == list->file->num_tensors) return LLM_OK;
    for (size_t i = 0; i < list->file->num_tensors; i++) {
        const gguf_tensor *tensor = &list->file->tensors[i];
        bool used = is_rope_table(tensor->name);
        for (size_t k = 0; !used && k < list->job->num_tensors; k++)
            used = list->job->tensors[k].gguf == tensor;
        if (!used)
            return error_set(err, LLM_UNSUPPORTED_FORMAT,
                             "the tensor %s does not belong to a model of the family %s", tensor->name,
                             convert_families[list->family].arch);
    }
    return LLM_OK;
}

llm_status convert_list_gguf(convert_job *job, const gguf_file *file, int family, int64_t num_layers,
                             int64_t num_heads, int64_t num_kv_heads, llm_error *err)
{
    lister list = {job, file, family, (size_t)num_heads, (size_t)num_kv_heads, 0};
    llm_status status = LLM_OK;
    for (size_t i = 0; status == LLM_OK && i < sizeof model_names / sizeof *model_names; i++)
        status = list_row(&list, &model_names[i], "", "", err);
    for (int64_t layer = 0; status == LLM_OK && layer < num_layers; layer++) {
        char prefix[40], module_prefix[40];
        snprintf(prefix, sizeof prefix, "blk.%lld.", (long long)layer);
        snprintf(module_prefix, sizeof module_prefix, "model.layers.%lld.", (long long)layer);
        for (size_t i = 0; status == LLM_OK && i < sizeof block_names / sizeof *block_names; i++)
            status = list_row(&list, &block_names[i], prefix, module_prefix, err);
    }
    return status == LLM_OK ? check_leftovers(&list, err) : status;
}

bool convert_has(const convert_job *job, const char *module, const char *suffix)
{
    for (size_t i = 0; i < job->num_tensors; i++)
        if (strcmp(job->tensors[i].module, module) == 0 && strcmp(job->tensors[i].suffix, suffix) == 0)
            return true;
    return false;
}
