// Opens a model directory: configuration, then files, description and weights, each of which needs the one
// before.
#include "nn/model.h"
#include "nn/description.h"

llm_status model_files_open(const char *directory, model_files *files, llm_error *err)
{
    *files = (model_files){0};
    llm_status status = config_open(directory, &files->config, err);
    if (status == LLM_OK) status = safetensors_model_open(directory, &files->tensors, err);
    if (status == LLM_OK) status = description_build(&files->config, &files->tensors, &files->desc, err);
    if (status == LLM_OK)
        status = weights_resolve(&files->desc, &files->config, &files->tensors, &files->weights, err);
    if (status != LLM_OK) model_files_close(files);
    return status;
}

void model_files_close(model_files *files)
{
    weights_free(&files->weights);
    model_desc_free(&files->desc);
    safetensors_model_close(&files->tensors);
    config_close(&files->config);
}

double model_files_bits_per_weight(const model_files *files)
{
    return 8.0 * (double)files->weights.total_bytes / (double)files->weights.num_parameters;
}
