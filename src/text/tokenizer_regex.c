// Running patterns: PCRE2 with its JIT, or a plain search for literals.
#include "text/tokenizer_regex.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MATCH_LIMIT = 20 * 1000 * 1000, // steps of one match: a hostile pattern ends as an error, not a hang
    HEAP_LIMIT_KIB = 64 * 1024,
    JIT_STACK_FIRST = 32 * 1024,
    JIT_STACK_LARGEST = 4 * 1024 * 1024,
    LONGEST_SOURCE = 64 * 1024,
};

static void *regex_malloc(PCRE2_SIZE size, void *user) {
    return (void)user, mem_alloc(size);
}
static void regex_free(void *block, void *user) {
    (void)user, mem_free(block);
}

static llm_status compile_error(const char *source, int code, llm_error *err) {
    char reason[128] = "";
    if (code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY)
        return error_no_memory(err, "a regular expression");
    pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the regular expression \"%.80s\": %s", source, reason);
}

static llm_status compile_regex(const char *source, size_t length, pattern *out, llm_error *err) {
    if (length > LONGEST_SOURCE)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "a regular expression of %zu bytes", length);
    buf translated = {0};
    pcre2_general_context *general = NULL;
    pcre2_compile_context *context = NULL;
    llm_status status = regex_translate(source, length, &translated, err);
    if (status != LLM_OK) goto done;
    status = LLM_OUT_OF_MEMORY;
    if (!(general = pcre2_general_context_create(regex_malloc, regex_free, NULL))) goto done;
    if (!(context = pcre2_compile_context_create(general))) goto done;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE place;
    out->code = pcre2_compile((PCRE2_SPTR)translated.data, translated.length,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &place, context);
    status = out->code ? LLM_OK : compile_error(source, code, err);
    if (out->code) pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE); // without a JIT, the interpreter runs it
done:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    buf_free(&translated);
    return status == LLM_OUT_OF_MEMORY ? error_no_memory(err, "a regular expression") : status;
}

llm_status pattern_compile(const char *source, size_t length, bool is_regex, pattern *out, llm_error *err) {
    *out = (pattern){0};
    if (is_regex) return compile_regex(source, length, out, err);
    out->literal = mem_copy_bytes(source, length);
    out->literal_length = length;
    return out->literal ? LLM_OK : error_no_memory(err, "a pattern");
}

llm_status pattern_read(yyjson_val *object, pattern *out, llm_error *err) {
    *out = (pattern){0};
    yyjson_val *holder = yyjson_obj_get(object, "pattern");
    yyjson_val *literal = yyjson_obj_get(holder, "String"), *regex = yyjson_obj_get(holder, "Regex");
    yyjson_val *source = literal ? literal : regex;
    if (!yyjson_is_str(source))
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "\"pattern\" must hold a \"String\" or a \"Regex\"");
    return pattern_compile(yyjson_get_str(source), yyjson_get_len(source), !literal, out, err);
}

void pattern_free(pattern *p) {
    mem_free(p->literal);
    pcre2_code_free(p->code);
    *p = (pattern){0};
}

static bool prepare(pattern_scratch *scratch) {
    if (scratch->stack) return true;
    pcre2_general_context *general = pcre2_general_context_create(regex_malloc, regex_free, NULL);
    if (!general) return false;
    if (!scratch->match) scratch->match = pcre2_match_data_create(1, general);
    if (!scratch->context) scratch->context = pcre2_match_context_create(general);
    if (scratch->match && scratch->context)
        scratch->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_LARGEST, general);
    pcre2_general_context_free(general);
    if (!scratch->stack) return false;
    pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
    pcre2_set_heap_limit(scratch->context, HEAP_LIMIT_KIB);
    pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return true;
}

void pattern_scratch_free(pattern_scratch *scratch) {
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    *scratch = (pattern_scratch){0};
}

pattern_search pattern_begin(const pattern *p, pattern_scratch *scratch, const char *text, size_t length) {
    return (pattern_search){.pattern = p, .scratch = scratch, .text = text, .length = length};
}

static llm_status find_literal(const pattern_search *search, size_t *start, size_t *end) {
    const pattern *p = search->pattern;
    const char *from = search->text + search->position, *found = from;
    size_t left = search->length - search->position;
    if (p->literal_length == 1)
        found = memchr(from, p->literal[0], left);
    else if (p->literal_length)
        found = memmem(from, left, p->literal, p->literal_length);
    if (!found) return LLM_END;
    *start = (size_t)(found - search->text);
    *end = *start + p->literal_length;
    return LLM_OK;
}

static llm_status find_regex(const pattern_search *search, size_t *start, size_t *end, llm_error *err) {
    if (!prepare(search->scratch)) return error_no_memory(err, "a regular expression");
    int found = pcre2_match(search->pattern->code, (PCRE2_SPTR)search->text, search->length, search->position,
                            PCRE2_NO_UTF_CHECK, search->scratch->match, search->scratch->context);
    if (found == PCRE2_ERROR_NOMATCH) return LLM_END;
    if (found < 0) {
        char reason[128] = "";
        pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
        return error_set(err, LLM_UNSUPPORTED_FORMAT,
                         "a regular expression of the tokenizer fails on this text: %s", reason);
    }
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(search->scratch->match);
    *start = place[0];
    *end = place[1] < place[0] ? place[0] : place[1]; // \K in a lookahead can turn them round
    return LLM_OK;
}

llm_status pattern_next(pattern_search *search, size_t *start, size_t *end, llm_error *err) {
    while (search->position <= search->length) {
        llm_status status =
            search->pattern->literal ? find_literal(search, start, end) : find_regex(search, start, end, err);
        if (status != LLM_OK) return status;
        bool repeated = *end == *start && search->any && search->last_end == *end;
        if (!repeated) {
            search->position = search->last_end = *end;
            search->any = true;
            return LLM_OK;
        }
        uint32_t c;
        size_t bytes = utf8_decode(search->text + search->position, search->length - search->position, &c);
        search->position += bytes ? bytes : 1;
    }
    return LLM_END;
}
