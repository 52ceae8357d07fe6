// Patterns of tokenizer.json: literal strings, or regular expressions in Oniguruma's syntax run by PCRE2.
#ifndef TEXT_TOKENIZER_REGEX_H
#define TEXT_TOKENIZER_REGEX_H
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

// Writes the PCRE2 form of an Oniguruma expression to `out`. What has no counterpart is
// LLM_UNSUPPORTED_FORMAT.
llm_status regex_translate(const char *source, size_t length, buf *out, llm_error *err);

typedef struct pattern {
    char *literal; // NULL: a regular expression
    size_t literal_length;
    struct pcre2_real_code_8 *code;
} pattern;

llm_status pattern_compile(const char *source, size_t length, bool is_regex, pattern *out, llm_error *err);
// Reads {"String": ...} or {"Regex": ...}, the member "pattern" of `object`.
llm_status pattern_read(yyjson_val *object, pattern *out, llm_error *err);
void pattern_free(pattern *p);

// What matching needs besides the pattern; one thread at a time. Begins as {0}; made when first needed.
typedef struct pattern_scratch {
    struct pcre2_real_match_data_8 *match;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
} pattern_scratch;

void pattern_scratch_free(pattern_scratch *scratch);

// All matches of a text, one after the other: they do not overlap, and an empty one never follows a match
// directly.
typedef struct pattern_search {
    const pattern *pattern;
    pattern_scratch *scratch;
    const char *text;
    size_t length, position, last_end;
    bool any;
} pattern_search;

pattern_search pattern_begin(const pattern *p, pattern_scratch *scratch, const char *text, size_t length);
// LLM_OK with a match in [*start, *end), LLM_END after the last one, or an error: a match that takes too long
// is LLM_UNSUPPORTED_FORMAT.
llm_status pattern_next(pattern_search *search, size_t *start, size_t *end, llm_error *err);

#endif
