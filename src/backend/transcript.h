// Transcripts as JSON, and back.
#ifndef BACKEND_TRANSCRIPT_H
#define BACKEND_TRANSCRIPT_H
#include "backend/messages.h"
#include "base/json.h"

// As llm_session_messages_json_copy promises.
void transcript_to_json(const message_list *transcript, buf *json);
char *transcript_json_copy(const message_list *transcript, llm_error *err); // owned

// Reads that into an empty list, from anyone: a member of a wrong type, a text with a NUL, and calls that are no array
// are LLM_LOAD_FAILED. On failure the list stays empty.
llm_status transcript_from_json(yyjson_val *array, message_list *transcript, llm_error *err);

#endif
