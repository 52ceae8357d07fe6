// One running answer: prefill, then token by token through sampler, detokenizer and stop strings to the writer.
#ifndef BACKEND_ANSWER_H
#define BACKEND_ANSWER_H
#include "backend/session.h"

// Continues `tokens` on the session's sequence, reusing what it already holds, and writes the chunks, the info
// chunk included. The answer's text is appended to `text`. On LLM_OK or LLM_CANCELLED the ledger says what the
// sequence holds.
llm_status answer_run(loaded_model *model, session *s, const token_list *tokens, const llm_generation_config *config,
                      llm_stream_writer *writer, buf *text, llm_error *err);

#endif
