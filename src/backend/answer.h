// One pass of the model: prefill, then token by token through sampler, detokenizer, reply parser and stop strings to the
// writer.
#ifndef BACKEND_ANSWER_H
#define BACKEND_ANSWER_H
#include "backend/session.h"
#include "text/tool_set.h"

typedef struct answer_call {
    char *id, *name, *arguments, *error; // owned; error: why it was rejected, NULL: it was not
} answer_call;

// What a pass is given and what it leaves; begins zeroed but for the first members.
typedef struct answer_pass {
    const token_list *tokens;  // the whole prompt
    const buf *prompt;         // its text; NULL: plain text goes on, and nothing in it is reasoning or a call
    const tool_set *tools;     // NULL: none
    int number;                // of the pass in its answer, from 0
    int max_tokens;

    buf text, reasoning;       // what the reader saw
    answer_call *calls;
    size_t num_calls, calls_capacity;
    llm_finish_reason reason;  // STOP, LENGTH or, without an error, TOOL_CALL when it stopped behind calls
    llm_stats stats;
    token_list generated;
} answer_pass;

// Continues pass->tokens on the session's sequence, reusing what it already holds, and writes the chunks but for the info
// chunk. On LLM_OK or LLM_CANCELLED the ledger says what the sequence holds.
llm_status answer_run(loaded_model *model, session *s, const llm_generation_config *config, answer_pass *pass,
                      llm_stream_writer *writer, llm_error *err);
void answer_pass_free(answer_pass *pass);

#endif
