// Named adapters.
#include "backend/adapters.h"
#include "base/mem.h"
#include "models/adapter_source.h"
#include "models/memory.h"
#include <string.h>

static named_adapter *find(loaded_model *model, const char *name)
{
    for (int i = 0; i < model->num_adapters; i++)
        if (strcmp(model->adapters[i].name, name) == 0) return &model->adapters[i];
    return NULL;
}

static void release(named_adapter *named)
{
    engine_adapter_free(named->adapter);
    mem_free(named->name);
}

static llm_status check_new(loaded_model *model, const char *name, llm_error *err)
{
    if (strcmp(name, ADAPTERS_DEFAULT) == 0) return error_set(err, LLM_INVALID_ARGUMENT, "\"default\" is the model spec's own adapter");
    return find(model, name) ? error_set(err, LLM_INVALID_ARGUMENT, "there is an adapter \"%.100s\" already", name) : LLM_OK;
}

llm_status adapters_put(loaded_model *model, const char *name, const model_desc *desc, const adapter *a, llm_error *err)
{
    named_adapter named = {.name = mem_copy_string(name)};
    llm_status status = named.name && mem_grow((void **)&model->adapters, &model->adapter_capacity, (size_t)model->num_adapters + 1,
                                               sizeof *model->adapters)
                            ? LLM_OK
                            : error_no_memory(err, "an adapter");
    if (status == LLM_OK) status = engine_adapter_load(model->weights, desc, a->layers, a->num_layers, &named.adapter, err);
    if (status != LLM_OK) release(&named);
    else model->adapters[model->num_adapters++] = named;
    return status;
}

llm_status adapters_add(loaded_model *model, const char *name, const llm_adapter *source, const llm_mlx_options *options, llm_error *err)
{
    model_files files = {0};
    adapter a = {0};
    char *directory = NULL;
    llm_status status = check_new(model, name, err);
    if (status == LLM_OK) status = adapter_directory(source, &directory, err);
    if (status == LLM_OK) status = model_files_open(model->directory, &files, err);
    if (status == LLM_OK) status = adapter_open(directory, &files, &a, err);
    if (status == LLM_OK) status = memory_check_adapter(&files.desc, &a, model->device, options->memory, options->memory_user, err);
    if (status == LLM_OK) status = adapters_put(model, name, &files.desc, &a, err);
    adapter_close(&a);
    model_files_close(&files);
    mem_free(directory);
    return status == LLM_OK ? LLM_OK : error_prefix(err, "cannot load the adapter \"%.150s\"", name);
}

static llm_status unknown(const char *name, llm_error *err)
{
    return error_set(err, LLM_INVALID_ARGUMENT, "there is no adapter \"%.100s\"", name);
}

llm_status adapters_remove(loaded_model *model, const char *name, llm_error *err)
{
    named_adapter *named = find(model, name);
    if (!named) return unknown(name, err);
    if (strcmp(name, ADAPTERS_DEFAULT) == 0) return error_set(err, LLM_INVALID_ARGUMENT, "\"default\" is the model spec's own adapter");
    release(named);
    *named = model->adapters[--model->num_adapters];
    return LLM_OK;
}

void adapters_free(loaded_model *model)
{
    for (int i = 0; i < model->num_adapters; i++) release(&model->adapters[i]);
    mem_free(model->adapters);
    model->adapters = NULL;
    model->num_adapters = 0;
    model->adapter_capacity = 0;
}

static int default_uses(loaded_model *model, adapter_use *uses)
{
    named_adapter *own = find(model, ADAPTERS_DEFAULT);
    if (own) *uses = (adapter_use){own->adapter, 1};
    return own != NULL;
}

bool adapters_are_default(loaded_model *model, const engine_seq *seq)
{
    adapter_use use;
    return engine_seq_has_adapters(seq, &use, default_uses(model, &use));
}

llm_status adapters_use(loaded_model *model, engine_seq *seq, const llm_generation_config *config, llm_error *err)
{
    adapter_use uses[ENGINE_MAX_ADAPTERS];
    int count = config ? config->num_adapters : 0;
    if (count > ENGINE_MAX_ADAPTERS)
        return error_set(err, LLM_INVALID_ARGUMENT, "%d adapters at once; there may be %d", count, ENGINE_MAX_ADAPTERS);
    for (int i = 0; i < count; i++) {
        named_adapter *named = find(model, config->adapters[i].name);
        if (!named) return unknown(config->adapters[i].name, err);
        uses[i] = (adapter_use){named->adapter, config->adapters[i].strength};
    }
    if (count == 0) count = default_uses(model, uses);
    return engine_seq_set_adapters(seq, uses, count > 0 ? count : 0, err);
}
