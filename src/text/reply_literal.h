// Values as models write them in tool calls: JSON, Python's literals (single quotes, True, None, commas before a
// closing bracket) and Gemma's form (keys without quotes, strings between tokens). They become JSON text.
#ifndef TEXT_REPLY_LITERAL_H
#define TEXT_REPLY_LITERAL_H
#include "base/buf.h"

typedef enum literal_result { LITERAL_READ, LITERAL_INCOMPLETE, LITERAL_MALFORMED } literal_result;

enum { LITERAL_MAX_DEPTH = 64 };

typedef struct literal_reader {
    const char *text;
    size_t length, at;     // `at` moves behind what was read
    const char *delimiter; // around strings, beside quotes; NULL: none. With one, keys and words need no quotes
    buf *out;              // JSON is appended; check `failed`
    buf scratch;           // freed by the caller
    const char *why;       // of LITERAL_MALFORMED; static
} literal_reader;

// Reads one value from text[at], white space before it included.
literal_result literal_read(literal_reader *r);

void literal_skip_space(literal_reader *r);
// Length of the name (letters, digits, '_', '.', '-') at text[at]; 0: none.
size_t literal_name_length(const literal_reader *r);

#endif
