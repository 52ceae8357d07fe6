#ifndef LLMLOCAL_H
#define LLMLOCAL_H
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLM_API __attribute__((visibility("default")))
#else
#define LLM_API
#endif

typedef enum llm_status {
    LLM_OK = 0,
    LLM_END,                  // a stream: after its last chunk
    LLM_TIMEOUT,              // a stream: nothing came in the time given
    LLM_INVALID_ARGUMENT,
    LLM_OUT_OF_MEMORY,        // an allocation failed
    LLM_IO_ERROR,             // a file could not be read or written
    LLM_DOWNLOAD_FAILED,
    LLM_LOAD_FAILED,          // a model's files are damaged or contradict each other
    LLM_INSUFFICIENT_MEMORY,  // `required` and `available` say how much
    LLM_INSUFFICIENT_STORAGE, // likewise
    LLM_MODEL_NOT_LOADED,
    LLM_LOAD_IN_PROGRESS,
    LLM_CANCELLED,
    LLM_ADAPTER_MERGE_FAILED,
    LLM_UNSUPPORTED_FORMAT,   // a model family, feature or file format that this build does not know
    LLM_CONTEXT_EXCEEDED,     // `required` tokens against `available`
    LLM_BUSY,
    LLM_TEMPLATE_ERROR,       // a chat template is wrong, or refused its input (raise_exception)
    LLM_INTERNAL_ERROR
} llm_status;

// What went wrong, for a person. Filled by the call that returned the code; `message` is never empty then.
typedef struct llm_error {
    llm_status code;
    uint64_t required, available; // bytes or tokens where the code speaks of them, else 0
    char message[500];
} llm_error;

LLM_API const char *llm_status_name(llm_status status);

#ifdef __cplusplus
}
#endif
#endif
