// The table of families, and the features that none of them has.
#include "nn/description.h"
#include "nn/families/family.h"
#include <stdio.h>
#include <string.h>

typedef struct family_row {
    const char *name;
    family_function build;
} family_row;

static const family_row families[] = {
#define X(name) {#name, family_##name},
    FAMILY_LIST(X)
#undef X
};
enum { NUM_FAMILIES = sizeof families / sizeof *families };

int description_families(const char **names, int capacity)
{
    for (int i = 0; i < NUM_FAMILIES && i < capacity; i++) names[i] = families[i].name;
    return NUM_FAMILIES;
}

static family_function find_family(const char *model_type)
{
    for (int i = 0; i < NUM_FAMILIES; i++)
        if (strcmp(families[i].name, model_type) == 0) return families[i].build;
    return NULL;
}

static llm_status unknown_family(const char *model_type, llm_error *err)
{
    char known[300] = "";
    for (int i = 0, used = 0; i < NUM_FAMILIES && used < (int)sizeof known; i++)
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", i ? ", " : "", families[i].name);
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "model type \"%.60s\" is not supported (known: %s)",
                     model_type, known);
}

// Experts under any of the names that configs use.
static void refuse_experts(family_builder *b)
{
    static const char *const keys[] = {"num_local_experts", "num_experts", "n_routed_experts",
                                       "moe_intermediate_size"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (yyjson_get_num(yyjson_obj_get(b->values, keys[i])) > 0)
            family_unsupported(b, "mixture of experts (\"%s\") is not supported", keys[i]);
}

llm_status description_build(const model_config *config, const safetensors_model *files, model_desc *desc,
                             llm_error *err)
{
    *desc = (model_desc){0};
    family_builder b = {
        .config = config, .files = files, .values = config->root, .root = "", .desc = desc, .err = err};
    family_function build = find_family(config->model_type);
    if (!build) return unknown_family(config->model_type, err);
    refuse_experts(&b);
    if (b.status == LLM_OK) build(&b);
    if (b.status == LLM_OK) {
        desc->family = arena_copy(&desc->memory, config->model_type, strlen(config->model_type));
        b.status = desc->family ? model_desc_check(desc, err) : error_no_memory(err, "a model description");
    }
    if (b.status == LLM_OK) return LLM_OK;
    error_prefix(err, "config.json");
    model_desc_free(desc);
    return b.status;
}
