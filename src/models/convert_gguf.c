// GGUF to an MLX directory: the order in which the parts do their work.
#include "models/convert_job.h"

llm_status convert_from_gguf(convert_job *job, const gguf_file *file, llm_error *err)
{
    convert_config config;
    job->gguf = file;
    llm_status status = convert_read_config(file, &config, err);
    if (status == LLM_OK)
        status = convert_list_gguf(job, file, config.family, config.num_layers, config.num_heads,
                                   config.num_kv_heads, err);
    job->granite = config.family == CONVERT_GRANITE;
    job->mlx_rules = job->options->bits > 0;
    job->type = DTYPE_BF16; // with bits; else planning finds the source's
    if (status == LLM_OK) status = convert_plan(job, err);
    if (status == LLM_OK) status = convert_write_config(job, &config, err);
    if (status == LLM_OK) status = convert_write_tokenizer(job, file, (size_t)config.vocab_size, err);
    buf_free(&config.rope_scaling);
    return status;
}
