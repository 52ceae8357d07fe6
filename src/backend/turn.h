// One answer from messages: passes of the model and, with a dispatch, the tools between them.
#ifndef BACKEND_TURN_H
#define BACKEND_TURN_H
#include "backend/answer.h"

// How often the tools of one answer are run at most: the calls behind that are the caller's, as without a dispatch.
enum { TURN_MAX_ROUNDS = 16 };

// Answers `history` (borrowed) and behind it `added`, which grows by the assistant's messages and the tools' results. Writes
// all chunks, the info chunk included, which sums up the passes.
llm_status turn_run(loaded_model *model, session *s, const llm_message *history, int num_history, message_list *added,
                    const llm_generation_config *config, llm_stream_writer *writer, llm_error *err);

// Continues tokens as plain text.
llm_status turn_complete(loaded_model *model, session *s, const token_list *tokens, const llm_generation_config *config,
                         llm_stream_writer *writer, llm_error *err);

#endif
