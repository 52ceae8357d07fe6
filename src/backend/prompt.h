// From messages to the tokens that a model reads.
#ifndef BACKEND_PROMPT_H
#define BACKEND_PROMPT_H
#include "backend/loaded_model.h"

typedef struct prompt_messages {
    const llm_message *first; // history
    int num_first;
    const llm_message *rest;  // what the turn has added
    int num_rest;
} prompt_messages;

// Renders the messages with the model's chat template and the config's tools, ready for the assistant's answer: the text, and
// its tokens appended to `tokens`. A model without a template gets the contents one after the other as plain text. A
// template that does not know tools is LLM_UNSUPPORTED_FORMAT where there are some.
llm_status prompt_from_messages(loaded_model *model, const prompt_messages *messages, const llm_generation_config *config,
                                buf *text, token_list *tokens, llm_error *err);

#endif
