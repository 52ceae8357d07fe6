// The chat template of a model directory: which text it is, and the variables that transformers passes to it.
#ifndef TEXT_CHAT_TEMPLATE_H
#define TEXT_CHAT_TEMPLATE_H
#include "text/jinja.h"

typedef struct chat_template chat_template; // immutable: any number of threads may render it at once

// Finds and parses the directory's template: chat_template.jinja (and chat_templates/default.jinja,
// tool_use.jinja), else "chat_template" of tokenizer_config.json, else that of chat_template.json: a text, or
// a list of named texts. The special tokens (bos_token, eos_token, ...) come from tokenizer_config.json, and
// from special_tokens_map.json where the former lists no added tokens. A directory without a template is
// LLM_OK and *chat = NULL: the caller decides what that means.
llm_status chat_template_load(const char *directory, chat_template **chat, llm_error *err);

// The same from a text in memory; `tokenizer_config` (may be NULL) gives the special tokens.
llm_status chat_template_create(const char *source, size_t length, yyjson_val *tokenizer_config,
                                chat_template **chat, llm_error *err);
void chat_template_free(chat_template *chat); // NULL is fine

// Appends the prompt to `out`. `arguments` is an object: "messages" (an array with at least one object), and
// optionally "tools", "documents", "add_generation_prompt" and whatever else the template reads
// ("enable_thinking", ...). As in transformers, missing tools and documents are none, members of messages
// that are null are left out, a message's reasoning is there under each of its names, an argument overrides a
// special token of the same name, and the template named "tool_use" is taken when there are tools and such a
// template. An argument of the wrong kind is LLM_INVALID_ARGUMENT; a template that fails or refuses is
// LLM_TEMPLATE_ERROR, and `out` stays as it was.
llm_status chat_template_render(const chat_template *chat, yyjson_val *arguments,
                                const jinja_options *options, buf *out, llm_error *err);

// The text of a special token ("bos_token", "eos_token", "pad_token", ...), NULL when the model has none.
// Borrowed.
const char *chat_template_token(const chat_template *chat, const char *name);
const char *chat_template_source(const chat_template *chat); // of the default template; borrowed
const char *chat_template_tool_source(const chat_template *chat); // of the one that is taken when there are tools

#endif
