// Small public functions: version, owned strings, names.
#include "base/mem.h"
#include "llmlocal.h"

const char *llm_version(void)
{
    return LLM_VERSION;
}

void llm_free(void *copy)
{
    mem_free(copy);
}

char *llm_string_copy(const char *text)
{
    return text ? mem_copy_string(text) : NULL;
}

const char *llm_finish_reason_name(llm_finish_reason reason)
{
    switch (reason) {
    case LLM_FINISH_STOP: return "stop";
    case LLM_FINISH_LENGTH: return "length";
    case LLM_FINISH_CANCELLED: return "cancelled";
    case LLM_FINISH_TOOL_CALL: return "tool_call";
    }
    return "unknown reason";
}
