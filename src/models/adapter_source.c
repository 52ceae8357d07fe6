// Directories, so far.
#include "models/adapter_source.h"
#include "base/file.h"
#include "base/mem.h"

llm_status adapter_directory(const llm_adapter *adapter, char **directory, llm_error *err)
{
    *directory = NULL;
    if (adapter->kind == LLM_ADAPTER_HUB)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "adapters from Hugging Face (\"%s\") are not supported", adapter->source);
    if (adapter->kind == LLM_ADAPTER_GITHUB)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "adapters from GitHub (\"%s\") are not supported", adapter->source);
    if (!file_is_directory(adapter->source)) return error_set(err, LLM_IO_ERROR, "there is no adapter directory %s", adapter->source);
    *directory = mem_copy_string(adapter->source);
    return *directory ? LLM_OK : error_no_memory(err, "a path");
}
