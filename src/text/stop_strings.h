// Finds stop strings in text that arrives in pieces; holds back only what may still become one.
#ifndef TEXT_STOP_STRINGS_H
#define TEXT_STOP_STRINGS_H
#include "base/buf.h"
#include "base/error.h"

typedef struct stop_strings stop_strings; // one stream; used by one thread at a time

// Copies the strings (UTF-8). None at all is fine: everything passes. An empty string is
// LLM_INVALID_ARGUMENT.
llm_status stop_strings_create(const char *const *strings, size_t count, stop_strings **out, llm_error *err);
void stop_strings_free(stop_strings *stops); // stop_strings_free(NULL) does nothing

// Takes the next piece (any split is fine, inside a character too) and appends to `out` what can no longer be
// part of a stop string. When one has come, the text before it has been appended, stop_strings_matched says
// which, and all later text is swallowed. The match that ends first counts; of those, the longest.
llm_status stop_strings_push(stop_strings *stops, const char *text, size_t length, buf *out, llm_error *err);
llm_status stop_strings_finish(stop_strings *stops, buf *out,
                               llm_error *err);      // end of text: what was held back
int stop_strings_matched(const stop_strings *stops); // index of the string that came, -1: none yet
void stop_strings_reset(stop_strings *stops);        // for the next stream

#endif
