// A list of messages that owns its strings: growing, clearing, to JSON and back.
#ifndef BACKEND_TRANSCRIPT_H
#define BACKEND_TRANSCRIPT_H
#include "base/buf.h"
#include "base/json.h"

void transcript_clear(llm_message *messages, int *count); // frees the strings; the array stays the caller's (mem_free)

// Appends copies of all messages, or of none of them.
llm_status transcript_append(llm_message **messages, int *count, size_t *capacity, const llm_message *added, int num_added,
                             llm_error *err);

// As llm_session_messages_json_copy promises.
void transcript_to_json(const llm_message *messages, int count, buf *json);
char *transcript_json_copy(const llm_message *messages, int count, llm_error *err); // owned

// Reads that back, from anyone: a member of a wrong type, a text with a NUL, and calls that are no array are
// LLM_LOAD_FAILED. On failure nothing is held.
llm_status transcript_from_json(yyjson_val *array, llm_message **messages, int *count, size_t *capacity, llm_error *err);

#endif
