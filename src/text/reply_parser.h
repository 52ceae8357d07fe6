// Splits an answer into text, reasoning and tool calls while it streams. Tags are taken out whole or not at all: what
// could still become one is held back, what turns out to be none is text.
#ifndef TEXT_REPLY_PARSER_H
#define TEXT_REPLY_PARSER_H
#include "text/reply_format.h"
#include "text/tool_set.h"

typedef enum reply_event_kind { REPLY_TEXT, REPLY_REASONING, REPLY_CALL, REPLY_REJECTED } reply_event_kind;

// Pointers are valid during the call of the function only.
typedef struct reply_event {
    reply_event_kind kind;
    const char *text; // TEXT, REASONING: a piece; CALL: the arguments, a JSON object; REJECTED: what stands there for them
    size_t length;    // of text, which has a NUL behind it for CALL and REJECTED
    const char *name; // CALL, REJECTED: NULL if it could not be read
    const char *id;   // that the model gave and its template needs; NULL: none
    const char *why;  // REJECTED: "malformed: …", "incomplete: …", "unknown tool: …" or "bad arguments: …"
} reply_event;

// A status that is no LLM_OK ends the push.
typedef llm_status (*reply_function)(void *user, const reply_event *event, llm_error *err);

typedef struct reply_parser reply_parser;

// Borrows the tools (NULL: none). The end of the rendered prompt says whether the answer begins inside reasoning.
llm_status reply_parser_create(const reply_format *format, const tool_set *tools, const char *prompt, size_t prompt_length,
                               reply_function on_event, void *user, reply_parser **out, llm_error *err);
void reply_parser_free(reply_parser *p); // reply_parser_free(NULL) does nothing

// Pieces of any size that hold whole characters, so that events do, too.
llm_status reply_parser_push(reply_parser *p, const char *text, size_t length, llm_error *err);
llm_status reply_parser_finish(reply_parser *p, llm_error *err); // the answer is over

#endif
