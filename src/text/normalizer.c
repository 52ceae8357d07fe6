// Reading and running the normalizers.
#include "text/normalizer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer_bytes.h"
#include <string.h>

enum { MOST_STEPS = 64, DEEPEST_SEQUENCE = 8 };

// --- reading ---

static llm_status add_step(normalizer *n, normalizer_step step, llm_error *err) {
    if (n->count == MOST_STEPS)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "more than %d normalizers", MOST_STEPS);
    if (!mem_grow((void **)&n->steps, &n->capacity, n->count + 1, sizeof *n->steps))
        return error_no_memory(err, "normalizers");
    n->steps[n->count++] = step;
    return LLM_OK;
}

static llm_status add_kind(normalizer *n, normalizer_kind kind, llm_error *err) {
    return add_step(n, (normalizer_step){.kind = kind}, err);
}

static llm_status add_text(normalizer *n, normalizer_kind kind, yyjson_val *json, const char *key,
                           llm_error *err) {
    yyjson_val *text = yyjson_obj_get(json, key);
    if (!yyjson_is_str(text)) return error_set(err, LLM_LOAD_FAILED, "a normalizer without \"%s\"", key);
    llm_status status = add_kind(n, kind, err);
    if (status != LLM_OK) return status;
    normalizer_step *step = &n->steps[n->count - 1];
    step->content = mem_copy_bytes(yyjson_get_str(text), yyjson_get_len(text));
    step->content_length = yyjson_get_len(text);
    return step->content ? LLM_OK : error_no_memory(err, "normalizers");
}

static llm_status add_replace(normalizer *n, yyjson_val *json, llm_error *err) {
    llm_status status = add_text(n, NORMALIZER_REPLACE, json, "content", err);
    return status == LLM_OK ? pattern_read(json, &n->steps[n->count - 1].pattern, err) : status;
}

static llm_status add_strip(normalizer *n, yyjson_val *json, llm_error *err) {
    normalizer_step step = {.kind = NORMALIZER_STRIP};
    llm_status status = json_get_bool(json, "strip_left", false, &step.left, err);
    if (status == LLM_OK) status = json_get_bool(json, "strip_right", false, &step.right, err);
    return status == LLM_OK ? add_step(n, step, err) : status;
}

static llm_status add_bert(normalizer *n, yyjson_val *json, llm_error *err) {
    bool clean, chinese, lower, accents;
    llm_status status = json_get_bool(json, "clean_text", true, &clean, err);
    if (status == LLM_OK) status = json_get_bool(json, "handle_chinese_chars", true, &chinese, err);
    if (status == LLM_OK) status = json_get_bool(json, "lowercase", true, &lower, err);
    if (status == LLM_OK) status = json_get_bool(json, "strip_accents", lower, &accents, err);
    if (status == LLM_OK && clean) status = add_kind(n, NORMALIZER_BERT_CLEAN, err);
    if (status == LLM_OK && chinese) status = add_kind(n, NORMALIZER_BERT_CHINESE, err);
    if (status == LLM_OK && accents)
        status = add_step(n, (normalizer_step){.kind = NORMALIZER_FORM, .form = UNICODE_NFD}, err);
    if (status == LLM_OK && accents) status = add_kind(n, NORMALIZER_DROP_NONSPACING, err);
    if (status == LLM_OK && lower) status = add_kind(n, NORMALIZER_LOWERCASE, err);
    return status;
}

static llm_status add_charsmap(normalizer *n, yyjson_val *json, llm_error *err) {
    yyjson_val *map = yyjson_obj_get(json, "precompiled_charsmap");
    if (!yyjson_is_str(map))
        return error_set(err, LLM_LOAD_FAILED, "a normalizer without \"precompiled_charsmap\"");
    llm_status status = add_kind(n, NORMALIZER_CHARSMAP, err);
    return status == LLM_OK
               ? charsmap_read(yyjson_get_str(map), yyjson_get_len(map), &n->steps[n->count - 1].map, err)
               : status;
}

static llm_status read_step(yyjson_val *json, normalizer *n, int depth, llm_error *err);

static llm_status add_sequence(normalizer *n, yyjson_val *json, int depth, llm_error *err) {
    size_t index, count;
    yyjson_val *item, *list = yyjson_obj_get(json, "normalizers");
    if (!yyjson_is_arr(list))
        return error_set(err, LLM_LOAD_FAILED, "a normalizer sequence without \"normalizers\"");
    if (depth == DEEPEST_SEQUENCE)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "normalizer sequences nested too deep");
    llm_status status = LLM_OK;
    yyjson_arr_foreach(list, index, count, item) if (status == LLM_OK) status =
        read_step(item, n, depth + 1, err);
    return status;
}

static llm_status read_step(yyjson_val *json, normalizer *n, int depth, llm_error *err) {
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type;
    llm_status status = json_get_string(json, "type", "", &type, err);
    if (status != LLM_OK) return status;
    for (int i = 0; i < 4; i++)
        if (strcmp(type, forms[i]) == 0)
            return add_step(n, (normalizer_step){.kind = NORMALIZER_FORM, .form = (unicode_form)i}, err);
    if (strcmp(type, "Lowercase") == 0) return add_kind(n, NORMALIZER_LOWERCASE, err);
    if (strcmp(type, "StripAccents") == 0) return add_kind(n, NORMALIZER_STRIP_ACCENTS, err);
    if (strcmp(type, "Nmt") == 0) return add_kind(n, NORMALIZER_NMT, err);
    if (strcmp(type, "ByteLevel") == 0) return add_kind(n, NORMALIZER_BYTE_LEVEL, err);
    if (strcmp(type, "Strip") == 0) return add_strip(n, json, err);
    if (strcmp(type, "Replace") == 0) return add_replace(n, json, err);
    if (strcmp(type, "Prepend") == 0) return add_text(n, NORMALIZER_PREPEND, json, "prepend", err);
    if (strcmp(type, "BertNormalizer") == 0 || strcmp(type, "Bert") == 0) return add_bert(n, json, err);
    if (strcmp(type, "Precompiled") == 0) return add_charsmap(n, json, err);
    if (strcmp(type, "Sequence") == 0) return add_sequence(n, json, depth, err);
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the normalizer \"%.40s\" is not supported", type);
}

llm_status normalizer_read(yyjson_val *json, normalizer *out, llm_error *err) {
    *out = (normalizer){0};
    if (!json || yyjson_is_null(json)) return LLM_OK;
    llm_status status = read_step(json, out, 0, err);
    if (status != LLM_OK) normalizer_free(out);
    return status;
}

void normalizer_free(normalizer *n) {
    for (size_t i = 0; i < n->count; i++) {
        pattern_free(&n->steps[i].pattern);
        mem_free(n->steps[i].content);
        charsmap_free(&n->steps[i].map);
    }
    mem_free(n->steps);
    *n = (normalizer){0};
}

// --- running ---

// Steps that look at one character at a time, and write what takes its place.
typedef void character_step(buf *out, uint32_t c, const char *bytes, size_t length);

static void lower_character(buf *out, uint32_t c, const char *bytes, size_t length) {
    uint32_t lower[2];
    size_t count = unicode_lower(c, lower);
    if (count == 1 && lower[0] == c)
        buf_append(out, bytes, length);
    else
        for (size_t i = 0; i < count; i++) buf_append_utf8(out, lower[i]);
}

static void strip_accent(buf *out, uint32_t c, const char *bytes, size_t length) {
    if (!unicode_is_combining(c)) buf_append(out, bytes, length);
}

static void drop_nonspacing(buf *out, uint32_t c, const char *bytes, size_t length) {
    if (!unicode_is_nonspacing(c)) buf_append(out, bytes, length);
}

static void clean_character(buf *out, uint32_t c, const char *bytes, size_t length) {
    if (unicode_is_control(c)) return;
    if (unicode_is_space(c))
        buf_append_char(out, ' ');
    else
        buf_append(out, bytes, length);
}

static bool is_chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

static void space_chinese(buf *out, uint32_t c, const char *bytes, size_t length) {
    bool chinese = is_chinese(c);
    if (chinese) buf_append_char(out, ' ');
    buf_append(out, bytes, length);
    if (chinese) buf_append_char(out, ' ');
}

static void nmt_character(buf *out, uint32_t c, const char *bytes, size_t length) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
        return;
    bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    if (space)
        buf_append_char(out, ' ');
    else
        buf_append(out, bytes, length);
}

static void spell_bytes(buf *out, uint32_t c, const char *bytes, size_t length) {
    (void)c;
    byte_level_append(out, bytes, length);
}

static character_step *const character_steps[] = {
    [NORMALIZER_LOWERCASE] = lower_character,       [NORMALIZER_STRIP_ACCENTS] = strip_accent,
    [NORMALIZER_BERT_CLEAN] = clean_character,      [NORMALIZER_BERT_CHINESE] = space_chinese,
    [NORMALIZER_DROP_NONSPACING] = drop_nonspacing, [NORMALIZER_NMT] = nmt_character,
    [NORMALIZER_BYTE_LEVEL] = spell_bytes,
};

static void each_character(character_step *step, normal_text *text, buf *out) {
    size_t head = 0;
    for (size_t i = 0; i < text->length;) {
        uint32_t c;
        size_t bytes = utf8_decode(text->text + i, text->length - i, &c);
        if (!bytes) c = 0xFFFD, bytes = 1;
        step(out, c, text->text + i, bytes);
        i += bytes;
        if (i <= text->head) head = out->length;
    }
    text->head = head;
}

static llm_status replace(const normalizer_step *step, normalizer_scratch *scratch, normal_text *text,
                          buf *out, llm_error *err) {
    size_t start, end, copied = 0, head = 0;
    pattern_search search = pattern_begin(&step->pattern, scratch->patterns, text->text, text->length);
    llm_status status;
    while ((status = pattern_next(&search, &start, &end, err)) == LLM_OK) {
        buf_append(out, text->text + copied, start - copied);
        if (text->head > copied) head = out->length - (start > text->head ? start - text->head : 0);
        buf_append(out, step->content, step->content_length);
        if (end <= text->head) head = out->length;
        copied = end;
    }
    if (text->head > copied) head = out->length + text->head - copied;
    buf_append(out, text->text + copied, text->length - copied);
    text->head = head;
    return status == LLM_END ? LLM_OK : status;
}

static void strip(const normalizer_step *step, normal_text *text) {
    uint32_t c;
    size_t bytes, start = 0, end = text->length;
    while (step->left && start < end && (bytes = utf8_decode(text->text + start, end - start, &c)) &&
           unicode_is_space(c))
        start += bytes;
    while (step->right && end > start) {
        size_t last = end - 1;
        while (last > start && ((unsigned char)text->text[last] & 0xC0) == 0x80) last--;
        if (!utf8_decode(text->text + last, end - last, &c) || !unicode_is_space(c)) break;
        end = last;
    }
    text->text += start;
    text->length = end - start;
    text->head = text->head > start ? text->head - start : 0;
}

static size_t first_character(const char *text, size_t length) {
    uint32_t c;
    return utf8_decode(text, length, &c);
}

// Runs a step that writes its result to `out`.
static llm_status run_step(const normalizer_step *step, normalizer_scratch *scratch, normal_text *text,
                           buf *out, llm_error *err) {
    llm_status status = LLM_OK;
    switch (step->kind) {
    case NORMALIZER_FORM:
    case NORMALIZER_CHARSMAP:
        if (step->kind == NORMALIZER_FORM)
            unicode_normalize(step->form, text->text, text->length, out);
        else
            charsmap_apply(&step->map, text->text, text->length, out);
        if (text->head && !out->failed) text->head = first_character(out->data, out->length);
        break;
    case NORMALIZER_REPLACE: status = replace(step, scratch, text, out, err); break;
    case NORMALIZER_PREPEND:
        if (text->length) buf_append(out, step->content, step->content_length);
        if (text->head) text->head += out->length;
        buf_append(out, text->text, text->length);
        break;
    default: each_character(character_steps[step->kind], text, out); break;
    }
    if (status == LLM_OK && out->failed) status = error_no_memory(err, "normalized text");
    text->text = out->data ? out->data : "";
    text->length = out->length;
    return status;
}

llm_status normalizer_apply(const normalizer *n, normalizer_scratch *scratch, normal_text *text,
                            llm_error *err) {
    llm_status status = LLM_OK;
    for (size_t i = 0, turn = 0; i < n->count && status == LLM_OK; i++) {
        if (n->steps[i].kind == NORMALIZER_STRIP) {
            strip(&n->steps[i], text);
            continue;
        }
        buf *out = &scratch->texts[turn];
        turn ^= 1;
        buf_clear(out);
        status = buf_reserve(out, text->length) ? run_step(&n->steps[i], scratch, text, out, err)
                                                : error_no_memory(err, "normalized text");
    }
    return status;
}
