// Added tokens: their ids, and finding them in texts, the leftmost first and of those the longest.
#include "text/tokenizer_parts.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

enum { LONGEST_CONTENT = 4096, MOST_TOKENS = 1 << 20 };

// --- reading ---

static llm_status read_flags(yyjson_val *json, added_token *token, llm_error *err) {
    llm_status status = json_get_bool(json, "single_word", false, &token->single_word, err);
    if (status == LLM_OK) status = json_get_bool(json, "lstrip", false, &token->strips_left, err);
    if (status == LLM_OK) status = json_get_bool(json, "rstrip", false, &token->strips_right, err);
    if (status == LLM_OK) status = json_get_bool(json, "special", false, &token->special, err);
    if (status == LLM_OK)
        status = json_get_bool(json, "normalized", !token->special, &token->normalized, err);
    return status;
}

static llm_status set_content(added_token *token, const char *content, size_t length, const normalizer *n,
                              normalizer_scratch *scratch, llm_error *err) {
    if (!(token->content = mem_copy_bytes(content, length))) return error_no_memory(err, "added tokens");
    token->length = length;
    token->skipped = token->special;
    if (!token->normalized || !n->count) return LLM_OK;
    normal_text text = {token->content, length, 0};
    llm_status status = normalizer_apply(n, scratch, &text, err);
    if (status != LLM_OK || (text.length == length && memcmp(text.text, content, length) == 0)) return status;
    if (!(token->normal = mem_copy_bytes(text.text, text.length)))
        return error_no_memory(err, "added tokens");
    token->normal_length = text.length;
    token->skipped = false; // the library compares what it decodes to with the special tokens' contents
    return LLM_OK;
}

static void free_token(added_token *token) {
    mem_free(token->content);
    mem_free(token->normal);
}

// The id of a token is the model's, or the next free one after the model's vocabulary; the file's own is not
// asked.
static llm_status add_token(yyjson_val *json, const model *m, const normalizer *n,
                            normalizer_scratch *scratch, added_tokens *added, int32_t *next_id,
                            llm_error *err) {
    yyjson_val *content = yyjson_obj_get(json, "content");
    const char *text = yyjson_get_str(content);
    size_t length = yyjson_get_len(content);
    added_token token = {0};
    uint32_t index;
    if (!yyjson_is_str(content)) return error_set(err, LLM_LOAD_FAILED, "an added token without \"content\"");
    if (length > LONGEST_CONTENT)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "an added token of %zu bytes", length);
    if (!length) return LLM_OK;
    llm_status status = read_flags(json, &token, err);
    if (status == LLM_OK) status = set_content(&token, text, length, n, scratch, err);
    if (status != LLM_OK) goto fail;
    if (strmap_get(&added->by_content, text, length, &index)) { // said again: the last says what it is like
        token.id = added->tokens[index].id;
        mem_free(token.content);
        mem_free(added->tokens[index].normal);
        token.content = added->tokens[index].content; // the map's key
        added->tokens[index] = token;
        return LLM_OK;
    }
    token.id = vocab_find(&m->vocab, text, length);
    if (token.id < 0) token.id = (*next_id)++;
    if (!mem_grow((void **)&added->tokens, &added->capacity, added->count + 1, sizeof *added->tokens) ||
        !strmap_put(&added->by_content, token.content, length, (uint32_t)added->count)) {
        status = error_no_memory(err, "added tokens");
        goto fail;
    }
    added->tokens[added->count++] = token;
    return LLM_OK;
fail:
    free_token(&token);
    return status;
}

static bool index_ids(added_tokens *added) {
    for (size_t i = 0; i < added->count; i++)
        if ((size_t)added->tokens[i].id >= added->ids) added->ids = (size_t)added->tokens[i].id + 1;
    if (!(added->by_id = mem_alloc(added->ids * sizeof *added->by_id))) return false;
    memset(added->by_id, 0xFF, added->ids * sizeof *added->by_id);
    for (size_t i = 0; i < added->count; i++) added->by_id[added->tokens[i].id] = (int32_t)i;
    return true;
}

static bool build_matcher(const added_tokens *added, bool normalized, added_matcher *out) {
    size_t count = 0;
    trie_item *items = mem_alloc_zero(added->count, sizeof *items);
    if (!items) return false;
    for (size_t i = 0; i < added->count; i++) {
        const added_token *token = &added->tokens[i];
        if (token->normalized != normalized || added->by_id[token->id] != (int32_t)i) continue;
        const char *text = token->normal ? token->normal : token->content;
        size_t length = token->normal ? token->normal_length : token->length;
        if (!length || length > LONGEST_CONTENT) continue;
        items[count++] = (trie_item){text, (uint32_t)length, (int32_t)i};
        out->begins[(unsigned char)text[0]] = true;
    }
    bool built = trie_build(&out->contents, items, count);
    mem_free(items);
    return built;
}

llm_status added_read(yyjson_val *json, const model *m, const normalizer *n, added_tokens *out,
                      llm_error *err) {
    size_t index, count;
    yyjson_val *item;
    pattern_scratch patterns = {0};
    normalizer_scratch scratch = {.patterns = &patterns};
    int32_t next_id = (int32_t)m->vocab.unique;
    llm_status status = LLM_OK;
    *out = (added_tokens){0};
    if (json && !yyjson_is_null(json) && !yyjson_is_arr(json))
        return error_set(err, LLM_LOAD_FAILED, "\"added_tokens\" must be a list");
    if (yyjson_arr_size(json) > MOST_TOKENS)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "%zu added tokens", yyjson_arr_size(json));
    if (!strmap_init(&out->by_content, yyjson_arr_size(json))) status = error_no_memory(err, "added tokens");
    yyjson_arr_foreach(json, index, count, item) if (status == LLM_OK) status =
        add_token(item, m, n, &scratch, out, &next_id, err);
    if (status == LLM_OK &&
        (!index_ids(out) || !build_matcher(out, false, &out->raw) || !build_matcher(out, true, &out->normal)))
        status = error_no_memory(err, "added tokens");
    buf_free(&scratch.texts[0]);
    buf_free(&scratch.texts[1]);
    pattern_scratch_free(&patterns);
    if (status != LLM_OK) added_free(out);
    return status;
}

void added_free(added_tokens *added) {
    for (size_t i = 0; i < added->count; i++) free_token(&added->tokens[i]);
    mem_free(added->tokens);
    strmap_free(&added->by_content);
    mem_free(added->by_id);
    trie_free(&added->raw.contents);
    trie_free(&added->normal.contents);
    *added = (added_tokens){0};
}

// --- finding ---

added_search added_begin(const added_tokens *added, const added_matcher *matcher, const char *text,
                         size_t length) {
    return (added_search){.added = added, .matcher = matcher, .text = text, .length = length};
}

static int32_t longest_at(const trie *t, const char *text, size_t length, size_t *end) {
    int32_t best = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < length && (node = trie_child(t, node, (uint8_t)text[i])); i++) {
        if (t->nodes[node].value < 0) continue;
        best = t->nodes[node].value;
        *end = i + 1;
    }
    return best;
}

static bool find_match(added_search *s, const added_token **token, size_t *start, size_t *end) {
    for (size_t i = s->position; i < s->length; i++) {
        size_t length;
        if (!s->matcher->begins[(unsigned char)s->text[i]]) continue;
        int32_t index = longest_at(&s->matcher->contents, s->text + i, s->length - i, &length);
        if (index < 0) continue;
        *token = &s->added->tokens[index];
        *start = i;
        *end = s->position = i + length;
        return true;
    }
    s->position = s->length;
    return false;
}

static size_t character_before(const char *text, size_t end, uint32_t *c) {
    size_t start = end;
    while (start > 0 && ((unsigned char)text[--start] & 0xC0) == 0x80) continue;
    return utf8_decode(text + start, end - start, c);
}

static bool stands_alone(const added_search *s, size_t start, size_t end) {
    uint32_t c;
    if (start > 0 && character_before(s->text, start, &c) && unicode_is_word(c)) return false;
    return end == s->length || !utf8_decode(s->text + end, s->length - end, &c) || !unicode_is_word(c);
}

static void strip_around(const added_search *s, const added_token *token, size_t *start, size_t *end) {
    uint32_t c;
    size_t bytes;
    while (token->strips_left && *start > s->done && (bytes = character_before(s->text, *start, &c)) &&
           unicode_is_space(c))
        *start -= bytes;
    if (token->strips_left && *start < s->done) *start = s->done;
    while (token->strips_right && *end < s->length &&
           (bytes = utf8_decode(s->text + *end, s->length - *end, &c)) && unicode_is_space(c))
        *end += bytes;
}

bool added_next(added_search *s, added_part *part) {
    if (s->waiting) {
        *part = (added_part){s->done, s->waiting_end, s->waiting};
        s->done = s->waiting_end;
        s->waiting = NULL;
        return true;
    }
    const added_token *token;
    size_t start, end;
    while (s->matcher->contents.nodes && find_match(s, &token, &start, &end)) {
        if (token->single_word && !stands_alone(s, start, end)) continue;
        strip_around(s, token, &start, &end);
        *part = (added_part){start, end, token};
        if (s->done < start) {
            *part = (added_part){s->done, start, NULL};
            s->waiting = token;
            s->waiting_end = end;
            s->done = start;
            return true;
        }
        s->done = end;
        return true;
    }
    if (s->done >= s->length) return false;
    *part = (added_part){s->done, s->length, NULL};
    s->done = s->length;
    return true;
}
