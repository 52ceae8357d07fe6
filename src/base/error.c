// Error texts: one place formats and cuts them.
#include "base/error.h"
#include "base/utf8.h"
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
    [LLM_OK] = "ok",
    [LLM_END] = "end",
    [LLM_TIMEOUT] = "timeout",
    [LLM_INVALID_ARGUMENT] = "invalid argument",
    [LLM_OUT_OF_MEMORY] = "out of memory",
    [LLM_IO_ERROR] = "input/output error",
    [LLM_DOWNLOAD_FAILED] = "download failed",
    [LLM_LOAD_FAILED] = "load failed",
    [LLM_INSUFFICIENT_MEMORY] = "insufficient memory",
    [LLM_INSUFFICIENT_STORAGE] = "insufficient storage",
    [LLM_MODEL_NOT_LOADED] = "model not loaded",
    [LLM_LOAD_IN_PROGRESS] = "load in progress",
    [LLM_CANCELLED] = "cancelled",
    [LLM_ADAPTER_MERGE_FAILED] = "adapter merge failed",
    [LLM_UNSUPPORTED_FORMAT] = "unsupported model format",
    [LLM_CONTEXT_EXCEEDED] = "context length exceeded",
    [LLM_BUSY] = "busy",
    [LLM_TEMPLATE_ERROR] = "template error",
    [LLM_INTERNAL_ERROR] = "internal error",
};

const char *llm_status_name(llm_status status)
{
    size_t index = (size_t)status;
    return index < sizeof status_names / sizeof *status_names ? status_names[index] : "unknown status";
}

// Cuts a message that filled its buffer back to a whole character.
static void cut_at_character(char *text, size_t capacity)
{
    size_t length = strlen(text);
    if (length + 1 == capacity) text[utf8_complete_prefix(text, length)] = 0;
}

llm_status error_set_v(llm_error *err, llm_status code, const char *format, va_list args)
{
    if (!err) return code;
    err->code = code;
    err->required = err->available = 0;
    vsnprintf(err->message, sizeof err->message, format, args);
    cut_at_character(err->message, sizeof err->message);
    return code;
}

llm_status error_set(llm_error *err, llm_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set_v(err, code, format, args);
    va_end(args);
    return code;
}

llm_status error_set_amounts(llm_error *err, llm_status code, uint64_t required, uint64_t available,
                             const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set_v(err, code, format, args);
    va_end(args);
    if (err) err->required = required, err->available = available;
    return code;
}

llm_status error_no_memory(llm_error *err, const char *what)
{
    return error_set(err, LLM_OUT_OF_MEMORY, "no memory for %s", what);
}

llm_status error_prefix(llm_error *err, const char *format, ...)
{
    if (!err) return LLM_INTERNAL_ERROR;
    char text[sizeof err->message], old[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(old, err->message, sizeof old);
    // The prefix gets at most half of the room, so that the reason is never lost.
    snprintf(err->message, sizeof err->message, "%.*s: %s", (int)(sizeof err->message / 2), text, old);
    cut_at_character(err->message, sizeof err->message);
    return err->code;
}
