// What is known of a model from its headers, as JSON.
#include "base/buf.h"
#include "base/mem.h"
#include "client/spec.h"
#include "models/memory.h"
#include "models/resolve.h"
#include "nn/model.h"
#include <string.h>

static void append_member(buf *json, const char *name, const char *text)
{
    buf_printf(json, ",\"%s\":", name);
    buf_append_json_string(json, text, strlen(text));
}

static void append_estimate(buf *json, const llm_memory_estimate *e)
{
    buf_printf(json, ",\"memory\":{\"weights_bytes\":%llu,\"kv_bytes_per_token\":%llu,\"kv_bytes\":%llu,\"work_bytes\":%llu",
               (unsigned long long)e->weights_bytes, (unsigned long long)e->kv_bytes_per_token, (unsigned long long)e->kv_bytes,
               (unsigned long long)e->work_bytes);
    buf_printf(json, ",\"total_bytes\":%llu,\"context_length\":%d", (unsigned long long)e->total_bytes, e->context_length);
    llm_system_memory here;
    if (llm_system_memory_read(&here, NULL) == LLM_OK) {
        llm_memory_fit fit = llm_memory_fits(e->total_bytes, &here);
        buf_printf(json, ",\"available_bytes\":%llu,\"machine_bytes\":%llu,\"fits\":%s,\"fits_now\":%s",
                   (unsigned long long)here.available_bytes, (unsigned long long)here.total_bytes,
                   fit == LLM_FITS_NEVER ? "false" : "true", fit == LLM_FITS ? "true" : "false");
    }
    buf_append_string(json, "}");
}

static char *describe(const model_files *files, const char *directory, const llm_memory_estimate *estimate)
{
    const model_desc *desc = &files->desc;
    const attention_desc *attention = &desc->blocks[0].attention;
    buf json = {0};
    buf_append_string(&json, "{\"directory\":");
    buf_append_json_string(&json, directory, strlen(directory));
    append_member(&json, "family", desc->family);
    buf_printf(&json, ",\"parameters\":%llu", (unsigned long long)files->weights.num_parameters);
    buf_printf(&json, ",\"weights_bytes\":%llu", (unsigned long long)files->weights.total_bytes);
    buf_printf(&json, ",\"bits_per_weight\":%.3f", model_files_bits_per_weight(files));
    if (files->weights.bits)
        buf_printf(&json, ",\"quantization\":{\"bits\":%d,\"group_size\":%d,\"mixed\":%s}", files->weights.bits,
                   files->weights.group_size, files->weights.mixed ? "true" : "false");
    append_member(&json, "float_type", dtype_name(files->weights.type));
    buf_printf(&json, ",\"layers\":%d,\"hidden_size\":%d,\"vocab_size\":%d,\"context_length\":%d", desc->num_blocks,
               desc->hidden_size, desc->vocab_size, desc->context_length);
    buf_printf(&json, ",\"heads\":%d,\"kv_heads\":%d,\"head_dim\":%d", attention->num_heads, attention->num_kv_heads, attention->head_dim);
    append_estimate(&json, estimate);
    buf_append_string(&json, ",\"eos_token_ids\":[");
    for (int i = 0; i < files->config.num_eos_ids; i++) buf_printf(&json, "%s%d", i ? "," : "", files->config.eos_ids[i]);
    buf_append_string(&json, "]}");
    return buf_take(&json);
}

char *llm_model_info_json_copy(const llm_model_spec *spec, llm_error *err)
{
    llm_model_spec whole;
    char *directory = NULL, *json = NULL;
    model_files files = {0};
    llm_memory_estimate estimate;
    llm_status status = spec_read(spec, &whole, err);
    if (status == LLM_OK) status = model_resolve_cached(&whole, &directory, err);
    if (status == LLM_OK) status = model_files_open(directory, &files, err);
    if (status == LLM_OK) status = memory_estimate_files(&whole, NULL, directory, &files, &estimate, err);
    if (status == LLM_OK && !(json = describe(&files, directory, &estimate))) error_no_memory(err, "a description");
    model_files_close(&files);
    mem_free(directory);
    return json;
}
