// Fills a caller's llm_error. Every fallible function takes `llm_error *err` last (NULL is allowed) and
// returns the code it put there.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H
#include <stdarg.h>
#include "llmlocal.h"

#define PRINTF_LIKE(format_index, first) __attribute__((format(printf, format_index, first)))

// Sets code and message (cut to fit, at a character boundary), clears the numbers, returns `code`.
llm_status error_set(llm_error *err, llm_status code, const char *format, ...) PRINTF_LIKE(3, 4);
llm_status error_set_v(llm_error *err, llm_status code, const char *format, va_list args);

// As error_set, with the two numbers that a memory, storage or context error carries.
llm_status error_set_amounts(llm_error *err, llm_status code, uint64_t required, uint64_t available,
                             const char *format, ...) PRINTF_LIKE(5, 6);

llm_status error_no_memory(llm_error *err, const char *what); // LLM_OUT_OF_MEMORY: "no memory for <what>"

// Puts "<prefix>: " before the message that is there, so that each layer can name its file or tensor.
llm_status error_prefix(llm_error *err, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
