// Tool calls and their results as messages of a transcript.
#ifndef BACKEND_TOOL_MESSAGES_H
#define BACKEND_TOOL_MESSAGES_H
#include "backend/messages.h"
#include "base/buf.h"

// One call of an assistant's message as JSON. One that could not be read (`error` says so; NULL: there is none) stands there as
// the text that it is, so that the model sees what it did. The name may be NULL then.
void tool_call_append(buf *json, const char *id, const char *name, const char *arguments, const char *error);

// Adds a tool's result, or "error: <why>".
llm_status tool_result_add(message_list *list, const char *id, const char *name, const char *content, llm_error *err);
llm_status tool_failure_add(message_list *list, const char *id, const char *name, const char *why, llm_error *err);

// Whether there is exactly one result for each call of the transcript's last assistant message that has none yet.
llm_status tool_results_check(const message_list *transcript, const llm_message *results, int num_results, llm_error *err);

#endif
