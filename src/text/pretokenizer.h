// The pre-tokenizers of tokenizer.json: they cut a text into the pieces that the model sees one at a time.
#ifndef TEXT_PRETOKENIZER_H
#define TEXT_PRETOKENIZER_H
#include "text/normalizer.h"

typedef enum split_behavior { // what happens to the delimiters that a pattern finds
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS, // neighbours of one kind become one piece
} split_behavior;

typedef enum pretokenizer_kind {
    PRETOKENIZER_PATTERN,    // Split, and the expression of ByteLevel
    PRETOKENIZER_CHARACTERS, // delimiters are the characters of a class
    PRETOKENIZER_WORDS,      // Whitespace: runs of \w, and runs of the rest
    PRETOKENIZER_METASPACE,
    PRETOKENIZER_SCRIPTS,
    PRETOKENIZER_FIXED_LENGTH,
    PRETOKENIZER_PREFIX_SPACE, // ByteLevel's first part
    PRETOKENIZER_BYTES,        // ByteLevel's last part
} pretokenizer_kind;

typedef enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;

typedef struct pretokenizer_step {
    pretokenizer_kind kind;
    split_behavior behavior;        // PATTERN, CHARACTERS
    bool inverted;                  // PATTERN
    pattern pattern;                // PATTERN
    bool (*is_delimiter)(uint32_t); // CHARACTERS; NULL: `character` is the delimiter
    uint32_t character;             // CHARACTERS; METASPACE: what stands for a space
    prepend_scheme scheme;          // METASPACE
    bool split;                     // METASPACE
    size_t length;                  // FIXED_LENGTH, in characters
} pretokenizer_step;

enum { PRETOKENIZER_MOST_STEPS = 24 };

typedef struct pretokenizer {
    pretokenizer_step steps[PRETOKENIZER_MOST_STEPS];
    size_t count;
    bool ends_in_bytes; // the last step is BYTES: it is left to the receiver, who gets the bytes as they are
} pretokenizer;

llm_status pretokenizer_read(yyjson_val *json, pretokenizer *out, llm_error *err); // null: no steps
void pretokenizer_free(pretokenizer *p);

typedef struct pretokenizer_scratch {
    buf texts[PRETOKENIZER_MOST_STEPS]; // of the steps that change the text
    pattern_scratch *patterns;
} pretokenizer_scratch;

typedef llm_status piece_receiver(void *user, const char *text, size_t length, llm_error *err);

// Gives the pieces of `text` to `receive`, in order; an error it returns ends the work. Pieces are never
// empty.
llm_status pretokenizer_apply(const pretokenizer *p, pretokenizer_scratch *scratch, const normal_text *text,
                              piece_receiver *receive, void *user, llm_error *err);

#endif
