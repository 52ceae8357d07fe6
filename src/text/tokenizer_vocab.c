// The vocabulary is read in two passes: sizes first, then one block for the texts and one table of ids.
#include "text/tokenizer_vocab.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include <string.h>

typedef struct vocab_sizes {
    size_t count, bytes, largest_id;
} vocab_sizes;

static bool matches(const vocab *v, const vocab_slot *slot, uint32_t hash, const char *text, size_t length) {
    return slot->hash == hash && slot->length == length && memcmp(v->text + slot->offset, text, length) == 0;
}

int32_t vocab_find_hashed(const vocab *v, const char *text, size_t length, uint32_t hash) {
    if (!v->slots) return -1;
    for (size_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        const vocab_slot *slot = &v->slots[i];
        if (slot->id < 0) return -1;
        if (matches(v, slot, hash, text, length)) return slot->id;
    }
}

int32_t vocab_find(const vocab *v, const char *text, size_t length) {
    return vocab_find_hashed(v, text, length, vocab_hash(v, text, length));
}

int32_t vocab_find_character(const vocab *v, const char *text, size_t length) {
    uint32_t c;
    if (length > 3 || !utf8_decode(text, length, &c)) return vocab_find(v, text, length);
    return v->short_ids[c];
}

static llm_status measure(yyjson_val *json, vocab_sizes *sizes, llm_error *err) {
    size_t index, count;
    yyjson_val *key, *value;
    *sizes = (vocab_sizes){0};
    yyjson_obj_foreach(json, index, count, key, value) {
        if (!yyjson_is_uint(value) || yyjson_get_uint(value) > VOCAB_LARGEST_ID)
            return error_set(err, LLM_LOAD_FAILED, "the vocabulary's \"%.60s\" has no usable id",
                             yyjson_get_str(key));
        if (yyjson_get_uint(value) > sizes->largest_id) sizes->largest_id = (size_t)yyjson_get_uint(value);
        sizes->bytes += yyjson_get_len(key) + 1;
    }
    yyjson_arr_foreach(json, index, count, value) {
        if (!yyjson_is_arr(value) || yyjson_arr_size(value) != 2 ||
            !yyjson_is_str(yyjson_arr_get_first(value)))
            return error_set(err, LLM_LOAD_FAILED, "entry %zu of the vocabulary is not [text, score]", index);
        sizes->bytes += yyjson_get_len(yyjson_arr_get_first(value)) + 1;
    }
    sizes->count = count = yyjson_is_arr(json) ? yyjson_arr_size(json) : yyjson_obj_size(json);
    if (yyjson_is_arr(json) && count) sizes->largest_id = count - 1;
    if (count > VOCAB_LARGEST_ID || sizes->bytes > UINT32_MAX)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "a vocabulary of %zu tokens", count);
    return LLM_OK;
}

static bool allocate(vocab *v, const vocab_sizes *sizes) {
    size_t capacity = 16;
    while (capacity / 2 < sizes->count) capacity *= 2;
    v->size = sizes->count ? sizes->largest_id + 1 : 0;
    v->mask = capacity - 1;
    v->seed = hash_bytes("vocabulary", 10);
    v->text = mem_alloc(sizes->bytes);
    v->tokens = mem_alloc(v->size * sizeof *v->tokens);
    v->slots = mem_alloc(capacity * sizeof *v->slots);
    v->short_ids = mem_alloc(0x10000 * sizeof *v->short_ids);
    if (!v->text || !v->tokens || !v->slots || !v->short_ids) return false;
    memset(v->tokens, 0xFF, v->size * sizeof *v->tokens);
    memset(v->slots, 0xFF, capacity * sizeof *v->slots);
    memset(v->short_ids, 0xFF, 0x10000 * sizeof *v->short_ids);
    return true;
}

// A text that comes twice keeps its last id; an id that comes twice keeps its last text.
static void insert(vocab *v, size_t *used, const char *text, size_t length, int32_t id) {
    memcpy(v->text + *used, text, length);
    v->text[*used + length] = 0;
    vocab_token token = {(uint32_t)*used, (uint32_t)length};
    *used += length + 1;
    uint32_t hash = vocab_hash(v, text, length), c;
    size_t i = hash & v->mask;
    while (v->slots[i].id >= 0 && !matches(v, &v->slots[i], hash, text, length)) i = (i + 1) & v->mask;
    if (v->slots[i].id < 0) v->unique++;
    v->slots[i] = (vocab_slot){hash, id, token.offset, token.length};
    v->tokens[id] = token;
    if (length <= 3 && length && utf8_decode(text, length, &c) == length) v->short_ids[c] = id;
}

llm_status vocab_read(yyjson_val *json, vocab *out, llm_error *err) {
    vocab_sizes sizes;
    size_t index, count, used = 0;
    yyjson_val *key, *value;
    *out = (vocab){0};
    if (!yyjson_is_obj(json) && !yyjson_is_arr(json))
        return error_set(err, LLM_LOAD_FAILED, "the model has no vocabulary");
    llm_status status = measure(json, &sizes, err);
    if (status != LLM_OK) return status;
    if (!allocate(out, &sizes)) {
        vocab_free(out);
        return error_no_memory(err, "the vocabulary");
    }
    yyjson_obj_foreach(json, index, count, key, value)
        insert(out, &used, yyjson_get_str(key), yyjson_get_len(key), (int32_t)yyjson_get_uint(value));
    yyjson_arr_foreach(json, index, count, value) {
        yyjson_val *text = yyjson_arr_get_first(value);
        insert(out, &used, yyjson_get_str(text), yyjson_get_len(text), (int32_t)index);
    }
    return LLM_OK;
}

void vocab_free(vocab *v) {
    mem_free(v->text);
    mem_free(v->tokens);
    mem_free(v->slots);
    mem_free(v->short_ids);
    *v = (vocab){0};
}
