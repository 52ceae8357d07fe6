// The results that an application gives for the calls of the session's last answer.
#ifndef BACKEND_TOOL_RESULTS_H
#define BACKEND_TOOL_RESULTS_H
#include "backend/messages.h"

// Whether there is exactly one result for each call of the transcript's last assistant message that has none yet.
llm_status tool_results_check(const message_list *transcript, const llm_message *results, int num_results, llm_error *err);

#endif
