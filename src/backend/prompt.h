// From messages to the tokens that a model reads.
#ifndef BACKEND_PROMPT_H
#define BACKEND_PROMPT_H
#include "backend/loaded_model.h"

// Renders the messages with the model's chat template, ready for the assistant's answer, and appends the tokens. A
// model without a template gets the contents one after the other as plain text. `template_json` may be NULL.
llm_status prompt_from_messages(const loaded_model *model, const llm_message *messages, int num_messages,
                                const char *template_json, token_list *tokens, llm_error *err);

#endif
