// Reading the pre-tokenizers; what consists of several steps is taken apart here.
#include "text/pretokenizer.h"
#include "base/utf8.h"
#include "text/unicode.h"
#include <string.h>

enum { DEEPEST_SEQUENCE = 8 };

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static llm_status add_step(pretokenizer *p, pretokenizer_step step, llm_error *err) {
    if (p->count == PRETOKENIZER_MOST_STEPS) {
        pattern_free(&step.pattern);
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "more than %d pre-tokenizers", PRETOKENIZER_MOST_STEPS);
    }
    p->steps[p->count++] = step;
    return LLM_OK;
}

static llm_status add_kind(pretokenizer *p, pretokenizer_kind kind, llm_error *err) {
    return add_step(p, (pretokenizer_step){.kind = kind}, err);
}

static llm_status add_class(pretokenizer *p, bool (*is_delimiter)(uint32_t), split_behavior behavior,
                            llm_error *err) {
    return add_step(p,
                    (pretokenizer_step){
                        .kind = PRETOKENIZER_CHARACTERS, .behavior = behavior, .is_delimiter = is_delimiter},
                    err);
}

static llm_status read_behavior(yyjson_val *json, split_behavior fallback, split_behavior *out,
                                llm_error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *name;
    llm_status status = json_get_string(json, "behavior", names[fallback], &name, err);
    if (status != LLM_OK) return status;
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) return *out = (split_behavior)i, LLM_OK;
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the split behavior \"%.40s\" is not supported", name);
}

// A member that is one character.
static llm_status read_character(yyjson_val *json, const char *key, uint32_t *c, llm_error *err) {
    yyjson_val *text = yyjson_obj_get(json, key);
    size_t length = yyjson_get_len(text);
    if (!yyjson_is_str(text) || !length || utf8_decode(yyjson_get_str(text), length, c) != length)
        return error_set(err, LLM_LOAD_FAILED, "\"%s\" must be one character", key);
    return LLM_OK;
}

static llm_status add_split(pretokenizer *p, yyjson_val *json, llm_error *err) {
    pretokenizer_step step = {.kind = PRETOKENIZER_PATTERN};
    llm_status status = read_behavior(json, SPLIT_ISOLATED, &step.behavior, err);
    if (status == LLM_OK) status = json_get_bool(json, "invert", false, &step.inverted, err);
    if (status == LLM_OK) status = pattern_read(json, &step.pattern, err);
    return status == LLM_OK ? add_step(p, step, err) : status;
}

static llm_status add_byte_level(pretokenizer *p, yyjson_val *json, llm_error *err) {
    bool prefix, regex;
    pretokenizer_step split = {.kind = PRETOKENIZER_PATTERN, .behavior = SPLIT_ISOLATED};
    llm_status status = json_get_bool(json, "add_prefix_space", true, &prefix, err);
    if (status == LLM_OK) status = json_get_bool(json, "use_regex", true, &regex, err);
    if (status == LLM_OK && prefix) status = add_kind(p, PRETOKENIZER_PREFIX_SPACE, err);
    if (status == LLM_OK && regex) {
        status = pattern_compile(gpt2_pattern, sizeof gpt2_pattern - 1, true, &split.pattern, err);
        if (status == LLM_OK) status = add_step(p, split, err);
    }
    return status == LLM_OK ? add_kind(p, PRETOKENIZER_BYTES, err) : status;
}

// Old files say "add_prefix_space" instead of "prepend_scheme".
static llm_status add_metaspace(pretokenizer *p, yyjson_val *json, llm_error *err) {
    static const char *const schemes[] = {"always", "first", "never"};
    pretokenizer_step step = {.kind = PRETOKENIZER_METASPACE};
    const char *scheme;
    bool prefix;
    llm_status status = read_character(json, "replacement", &step.character, err);
    if (status == LLM_OK) status = json_get_bool(json, "add_prefix_space", true, &prefix, err);
    if (status == LLM_OK)
        status = json_get_string(json, "prepend_scheme", prefix ? "always" : "never", &scheme, err);
    if (status == LLM_OK) status = json_get_bool(json, "split", true, &step.split, err);
    if (status != LLM_OK) return status;
    for (int i = 0; i < 3; i++) {
        if (strcmp(scheme, schemes[i]) != 0) continue;
        if (!prefix && i != PREPEND_NEVER)
            return error_set(err, LLM_LOAD_FAILED, "\"add_prefix_space\" contradicts \"prepend_scheme\"");
        step.scheme = (prepend_scheme)i;
        return add_step(p, step, err);
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the prepend scheme \"%.40s\" is not supported", scheme);
}

static llm_status add_digits(pretokenizer *p, yyjson_val *json, llm_error *err) {
    bool individual;
    llm_status status = json_get_bool(json, "individual_digits", false, &individual, err);
    return status == LLM_OK
               ? add_class(p, unicode_is_numeric, individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, err)
               : status;
}

static llm_status add_punctuation(pretokenizer *p, yyjson_val *json, llm_error *err) {
    split_behavior behavior = SPLIT_ISOLATED;
    llm_status status = read_behavior(json, SPLIT_ISOLATED, &behavior, err);
    return status == LLM_OK ? add_class(p, unicode_is_punctuation, behavior, err) : status;
}

static llm_status add_delimiter(pretokenizer *p, yyjson_val *json, llm_error *err) {
    pretokenizer_step step = {.kind = PRETOKENIZER_CHARACTERS, .behavior = SPLIT_REMOVED};
    llm_status status = read_character(json, "delimiter", &step.character, err);
    return status == LLM_OK ? add_step(p, step, err) : status;
}

static llm_status add_fixed_length(pretokenizer *p, yyjson_val *json, llm_error *err) {
    int64_t length;
    llm_status status = json_get_int(json, "length", 5, &length, err);
    if (status == LLM_OK && length < 1)
        status = error_set(err, LLM_LOAD_FAILED, "\"length\" must be positive");
    if (status != LLM_OK) return status;
    return add_step(p, (pretokenizer_step){.kind = PRETOKENIZER_FIXED_LENGTH, .length = (size_t)length}, err);
}

static llm_status read_step(yyjson_val *json, pretokenizer *p, int depth, llm_error *err);

static llm_status add_sequence(pretokenizer *p, yyjson_val *json, int depth, llm_error *err) {
    size_t index, count;
    yyjson_val *item, *list = yyjson_obj_get(json, "pretokenizers");
    if (!yyjson_is_arr(list))
        return error_set(err, LLM_LOAD_FAILED, "a pre-tokenizer sequence without \"pretokenizers\"");
    if (depth == DEEPEST_SEQUENCE)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "pre-tokenizer sequences nested too deep");
    llm_status status = LLM_OK;
    yyjson_arr_foreach(list, index, count, item) if (status == LLM_OK) status =
        read_step(item, p, depth + 1, err);
    return status;
}

static llm_status read_step(yyjson_val *json, pretokenizer *p, int depth, llm_error *err) {
    static const struct {
        const char *type;
        llm_status (*add)(pretokenizer *, yyjson_val *, llm_error *);
    } readers[] = {
        {"Split", add_split},
        {"ByteLevel", add_byte_level},
        {"Metaspace", add_metaspace},
        {"Digits", add_digits},
        {"Punctuation", add_punctuation},
        {"CharDelimiterSplit", add_delimiter},
        {"Delimiter", add_delimiter},
        {"FixedLength", add_fixed_length},
    };
    const char *type;
    llm_status status = json_get_string(json, "type", "", &type, err);
    if (status != LLM_OK) return status;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(type, readers[i].type) == 0) return readers[i].add(p, json, err);
    if (strcmp(type, "Sequence") == 0) return add_sequence(p, json, depth, err);
    if (strcmp(type, "Whitespace") == 0) return add_kind(p, PRETOKENIZER_WORDS, err);
    if (strcmp(type, "UnicodeScripts") == 0) return add_kind(p, PRETOKENIZER_SCRIPTS, err);
    if (strcmp(type, "WhitespaceSplit") == 0) return add_class(p, unicode_is_space, SPLIT_REMOVED, err);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        status = add_class(p, unicode_is_space, SPLIT_REMOVED, err);
        return status == LLM_OK ? add_class(p, unicode_is_punctuation, SPLIT_ISOLATED, err) : status;
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the pre-tokenizer \"%.40s\" is not supported", type);
}

llm_status pretokenizer_read(yyjson_val *json, pretokenizer *out, llm_error *err) {
    *out = (pretokenizer){0};
    if (!json || yyjson_is_null(json)) return LLM_OK;
    llm_status status = read_step(json, out, 0, err);
    if (status != LLM_OK) {
        pretokenizer_free(out);
        return status;
    }
    out->ends_in_bytes = out->count && out->steps[out->count - 1].kind == PRETOKENIZER_BYTES;
    if (out->ends_in_bytes) out->count--;
    return LLM_OK;
}

void pretokenizer_free(pretokenizer *p) {
    for (size_t i = 0; i < p->count; i++) pattern_free(&p->steps[i].pattern);
    *p = (pretokenizer){0};
}
