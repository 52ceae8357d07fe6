// The normalizers of tokenizer.json: a list of steps from text to text.
#ifndef TEXT_NORMALIZER_H
#define TEXT_NORMALIZER_H
#include "text/normalizer_charsmap.h"
#include "text/tokenizer_regex.h"
#include "text/unicode.h"

typedef enum normalizer_kind {
    NORMALIZER_FORM, // NFC, NFD, NFKC, NFKD
    NORMALIZER_LOWERCASE,
    NORMALIZER_STRIP,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_REPLACE,
    NORMALIZER_PREPEND,
    NORMALIZER_BERT_CLEAN, // BertNormalizer is up to five steps
    NORMALIZER_BERT_CHINESE,
    NORMALIZER_DROP_NONSPACING,
    NORMALIZER_NMT,
    NORMALIZER_CHARSMAP, // Precompiled
    NORMALIZER_BYTE_LEVEL,
} normalizer_kind;

typedef struct normalizer_step {
    normalizer_kind kind;
    unicode_form form;
    bool left, right; // STRIP
    pattern pattern;  // REPLACE
    char *content;    // REPLACE, PREPEND
    size_t content_length;
    charsmap map; // CHARSMAP
} normalizer_step;

typedef struct normalizer {
    normalizer_step *steps;
    size_t count, capacity;
} normalizer;

llm_status normalizer_read(yyjson_val *json, normalizer *out, llm_error *err); // null: no steps
void normalizer_free(normalizer *n);

// Two buffers that take turns, and what patterns need; one thread at a time, begins as {0}.
typedef struct normalizer_scratch {
    buf texts[2];
    pattern_scratch *patterns;
} normalizer_scratch;

// A text under way. `head` is how many of its first bytes stem from the very beginning of what was given to
// the tokenizer (its first character and what was put before it): Metaspace's "first" depends on it.
typedef struct normal_text {
    const char *text; // the source itself, or in the scratch until its next use
    size_t length;
    size_t head;
} normal_text;

llm_status normalizer_apply(const normalizer *n, normalizer_scratch *scratch, normal_text *text,
                            llm_error *err);

#endif
