// The inside of the reply parser, shared by its files: reply_parser.c (text, reasoning, sections), reply_channels.c
// (gpt-oss) and reply_emit.c (events).
#ifndef TEXT_REPLY_PARSER_STATE_H
#define TEXT_REPLY_PARSER_STATE_H
#include "text/reply_calls.h"
#include "text/reply_parser.h"

// Bytes of a section or header, calls of an answer; white space before a call without tags, and its name.
enum { REPLY_MAX_SECTION = 1 << 20, REPLY_MAX_CALLS = 256, REPLY_MAX_HEADER = 1024, REPLY_MAX_SPACE = 256, REPLY_MAX_NAME = 128 };

typedef enum reply_state {
    IN_TEXT,
    IN_REASONING,
    IN_SECTION,  // of calls
    IN_OVERLONG, // a section that was given up: up to its end nothing counts
    IN_HEADER,   // channels: between <|start|> or <|channel|> and <|message|>
    IN_MESSAGE,  // channels: text or reasoning
    IN_CALL      // channels: arguments
} reply_state;

struct reply_parser {
    reply_format format;
    const tool_set *tools;
    tool_set *no_tools;
    reply_function on_event;
    void *user;
    reply_state state;
    buf held;       // what has come and is not decided
    size_t decided; // of held, the bytes that are done with
    bool finishing;

    // Text and reasoning: white space is given out with what follows it, so that it can go when a tag follows.
    reply_event_kind kind;
    buf space;
    bool skips_space; // behind a tag
    bool at_start;    // nothing but white space since the beginning or the last tag
    bool no_bare;     // the answer does not begin as a call without tags

    // A section.
    const call_tags *tags; // NULL: a call without tags
    size_t scanned;        // of held: where to go on looking for the end
    size_t quoted_close;   // the first closing tag inside a string, in held; 0: none
    char quote;            // the string's, 0: none
    bool escaped, ignores_quotes;
    const char *raw;       // while it is read
    size_t raw_length;
    int calls;

    // Channels.
    buf called;         // the function of this message, empty: none
    bool any_message;   // has begun
    bool drops_message; // its call was given up
    buf text;   // of events that need a NUL
};

typedef struct tag_match {
    size_t at;   // the text's length: none
    int tag;     // -1: more text is needed from `at` on
} tag_match;

// The first of the tags (NULLs are none) in `text`; of several at one place the longest. At the end of the text a beginning of a
// tag counts as -1 unless the answer is over.
tag_match reply_find_tag(const reply_parser *p, const char *const *tags, int count, const char *text, size_t length);

// Text or reasoning; and its end at a tag.
llm_status reply_emit(reply_parser *p, reply_event_kind kind, const char *text, size_t length, llm_error *err);
void reply_begin_part(reply_parser *p); // behind a tag
llm_status reply_emit_rest(reply_parser *p, llm_error *err); // white space that waited

llm_status reply_emit_call(void *parser, const read_call *call, llm_error *err); // checked against the tools
llm_status reply_reject(reply_parser *p, const char *reason, const char *detail, const char *name, size_t name_length,
                        const char *text, size_t length, llm_error *err);

llm_status reply_channels_begin(reply_parser *p, const char *prompt, size_t length, llm_error *err);
// One step; *more: there may be another.
llm_status reply_channels_step(reply_parser *p, bool *more, llm_error *err);

#endif
