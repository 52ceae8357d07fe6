// A request that outlives the call that made it.
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H
#include "base/arena.h"
#include "base/error.h"

// Checks `request` and copies it, with everything it points to, into `memory`. The config may be NULL in the
// original and never is in the copy. The system prompt is left to whoever holds it.
llm_status request_copy(arena *memory, const llm_request *request, llm_request *copy, llm_error *err);

// Results of tools as the messages of a request; owned (mem_free), its strings are borrowed. NULL: there are none, or (*status)
// no memory.
llm_message *request_result_messages(const llm_tool_result *results, int num_results, llm_status *status, llm_error *err);

#endif
