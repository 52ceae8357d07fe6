// The inside of a section with tool calls: each call's name, and its arguments as JSON text.
#ifndef TEXT_REPLY_CALLS_H
#define TEXT_REPLY_CALLS_H
#include "text/reply_format.h"
#include "text/tool_set.h"

typedef enum call_outcome { CALL_READ, CALL_INCOMPLETE, CALL_MALFORMED } call_outcome;

typedef struct read_call {
    call_outcome outcome;
    const char *name; // NULL: it could not be read
    size_t name_length;
    const char *id; // as the model gave it; NULL: none
    size_t id_length;
    const char *arguments; // READ: JSON text of any type, NUL-terminated
    const char *why;       // MALFORMED
} read_call;

// A status that is no LLM_OK stops the reading.
typedef llm_status (*read_call_function)(void *user, const read_call *call, llm_error *err);

typedef struct call_section {
    const call_format *format;
    const tool_set *tools; // gives the types of arguments that are written without
    const char *text;
    size_t length;
    bool closed;           // by its tag; else the answer ended inside
    bool bare;             // without tags: what has no arguments is no call
    read_call_function on_call;
    void *user;
} call_section;

// Reads all calls; after one that cannot be read, the rest of the section is left. *used: the bytes that are calls.
llm_status reply_calls_read(const call_section *section, size_t *used, llm_error *err);

// One call whose name is known and whose arguments are the whole text (gpt-oss).
llm_status reply_calls_read_arguments(const call_section *section, const char *name, size_t name_length, llm_error *err);

#endif
