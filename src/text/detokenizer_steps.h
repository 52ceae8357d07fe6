// The decoders of tokenizer.json: a list of steps from tokens to text.
#ifndef TEXT_DETOKENIZER_STEPS_H
#define TEXT_DETOKENIZER_STEPS_H
#include "text/tokenizer_regex.h"

typedef enum decoder_kind {
    DECODER_BYTE_LEVEL,
    DECODER_BYTE_FALLBACK,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_REPLACE,
    DECODER_METASPACE,
    DECODER_WORDPIECE,
    DECODER_BPE,
    DECODER_CTC,
} decoder_kind;

typedef struct decoder_step {
    decoder_kind kind;
    uint32_t character; // STRIP, METASPACE
    size_t start, stop; // STRIP: how many at most
    bool keeps_first;   // METASPACE: the first token's marks are spaces too
    bool cleanup;       // WORDPIECE, CTC
    pattern pattern;    // REPLACE
    char *text,
        *delimiter; // REPLACE: content; WORDPIECE: prefix; BPE: suffix; CTC: padding and word delimiter
    size_t text_length;
} decoder_step;

enum { DECODER_MOST_STEPS = 16 };

typedef struct decoder {
    decoder_step steps[DECODER_MOST_STEPS];
    size_t count;
    bool is_null; // no decoder at all: tokens are joined by spaces
} decoder;

llm_status decoder_read(yyjson_val *json, decoder *out, llm_error *err);
void decoder_free(decoder *d);

#endif
