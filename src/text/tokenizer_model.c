// Reading a model, the two simple ones (WordPiece and WordLevel), and the way to the others.
#include "text/tokenizer_model.h"
#include "base/mem.h"
#include "text/tokenizer_bytes.h"
#include <string.h>

enum { LONGEST_PIECE = 4096 }; // bytes of a token that is searched for at every place of a text

static llm_status pieces_build(const vocab *v, trie *out, llm_error *err) {
    trie_item *items = mem_alloc_zero(v->size, sizeof *items);
    size_t count = 0, length;
    llm_status status = items ? LLM_OK : error_no_memory(err, "the vocabulary");
    for (size_t i = 0; i < v->size && status == LLM_OK; i++) {
        const char *text = vocab_text(v, (int32_t)i, &length);
        if (!text) continue;
        if (length > LONGEST_PIECE)
            status = error_set(err, LLM_UNSUPPORTED_FORMAT, "token %zu has %zu bytes", i, length);
        else
            items[count++] = (trie_item){text, (uint32_t)length, vocab_find(v, text, length)};
    }
    if (status == LLM_OK && !trie_build(out, items, count)) status = error_no_memory(err, "the vocabulary");
    mem_free(items);
    return status;
}

// --- WordPiece and WordLevel ---

// The node of the prefix in the trie: pieces that continue a word are below it. UINT32_MAX: there are none.
static uint32_t find_prefix(const trie *pieces, const char *prefix) {
    uint32_t node = 0;
    for (; *prefix; prefix++)
        if (!pieces->nodes || !(node = trie_child(pieces, node, (uint8_t)*prefix))) return UINT32_MAX;
    return node;
}

static llm_status read_words(yyjson_val *json, model *out, llm_error *err) {
    const char *unknown, *prefix;
    int64_t most;
    bool pieces = out->kind == MODEL_WORDPIECE;
    llm_status status = json_get_string(json, "unk_token", pieces ? "[UNK]" : "<unk>", &unknown, err);
    if (status == LLM_OK) status = json_get_string(json, "continuing_subword_prefix", "##", &prefix, err);
    if (status == LLM_OK) status = json_get_int(json, "max_input_chars_per_word", 100, &most, err);
    if (status == LLM_OK && most < 0)
        status = error_set(err, LLM_LOAD_FAILED, "\"max_input_chars_per_word\" is negative");
    if (status == LLM_OK && pieces) status = pieces_build(&out->vocab, &out->pieces, err);
    if (status != LLM_OK) return status;
    out->words.unknown_id = vocab_find(&out->vocab, unknown, strlen(unknown));
    out->words.most_characters = (size_t)most;
    out->words.prefix_node = find_prefix(&out->pieces, prefix);
    return LLM_OK;
}

static llm_status append(token_list *out, int32_t id, llm_error *err) {
    if (id < 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "the tokenizer's unknown token is not in its vocabulary");
    return token_list_append(out, &id, 1) ? LLM_OK : error_no_memory(err, "tokens");
}

static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

// The longest token at the beginning of text, below `node`; -1: none.
static int32_t longest_piece(const trie *pieces, uint32_t node, const char *text, size_t length,
                             size_t *taken) {
    int32_t best = -1;
    if (!pieces->nodes || node == UINT32_MAX) return -1;
    for (size_t i = 0; i < length && (node = trie_child(pieces, node, (uint8_t)text[i])); i++) {
        if (pieces->nodes[node].value < 0) continue;
        best = pieces->nodes[node].value;
        *taken = i + 1;
    }
    return best;
}

static llm_status wordpiece_encode(const model *m, const char *text, size_t length, token_list *out,
                                   llm_error *err) {
    size_t before = out->count, taken = 0;
    if (count_characters(text, length) > m->words.most_characters)
        return append(out, m->words.unknown_id, err);
    for (size_t i = 0; i < length; i += taken) {
        int32_t id = longest_piece(&m->pieces, i ? m->words.prefix_node : 0, text + i, length - i, &taken);
        if (id < 0) {
            out->count = before; // one part unknown makes the whole word unknown
            return append(out, m->words.unknown_id, err);
        }
        llm_status status = append(out, id, err);
        if (status != LLM_OK) return status;
    }
    return LLM_OK;
}

static llm_status wordlevel_encode(const model *m, const char *text, size_t length, token_list *out,
                                   llm_error *err) {
    int32_t id = vocab_find(&m->vocab, text, length);
    return append(out, id >= 0 ? id : m->words.unknown_id, err);
}

// --- all models ---

// Files older than the member "type" are told apart by their other members.
static const char *guess_type(yyjson_val *json) {
    if (yyjson_obj_get(json, "merges")) return "BPE";
    if (yyjson_is_arr(yyjson_obj_get(json, "vocab"))) return "Unigram";
    return yyjson_obj_get(json, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

static llm_status read_kind(yyjson_val *json, model_kind *kind, llm_error *err) {
    static const char *const names[] = {"BPE", "Unigram", "WordPiece", "WordLevel"};
    const char *type;
    llm_status status = json_get_string(json, "type", NULL, &type, err);
    if (status != LLM_OK) return status;
    if (!type) type = guess_type(json);
    for (int i = 0; i < 4; i++)
        if (strcmp(type, names[i]) == 0) return *kind = (model_kind)i, LLM_OK;
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the tokenizer model \"%.40s\" is not supported", type);
}

llm_status model_read(yyjson_val *json, model *out, llm_error *err) {
    *out = (model){0};
    if (!yyjson_is_obj(json)) return error_set(err, LLM_LOAD_FAILED, "the tokenizer has no model");
    llm_status status = read_kind(json, &out->kind, err);
    yyjson_val *words = yyjson_obj_get(json, "vocab");
    if (status == LLM_OK && yyjson_is_arr(words) != (out->kind == MODEL_UNIGRAM))
        status = error_set(err, LLM_LOAD_FAILED, "the vocabulary is of another model");
    if (status == LLM_OK) status = vocab_read(words, &out->vocab, err);
    if (status != LLM_OK) return status;
    switch (out->kind) {
    case MODEL_BPE: status = bpe_read(json, &out->vocab, &out->bpe, err); break;
    case MODEL_UNIGRAM:
        status = pieces_build(&out->vocab, &out->pieces, err);
        if (status == LLM_OK) status = unigram_read(json, &out->vocab, &out->unigram, err);
        break;
    default: status = read_words(json, out, err); break;
    }
    if (status != LLM_OK) model_free(out);
    return status;
}

void model_free(model *m) {
    bpe_free(&m->bpe);
    unigram_free(&m->unigram);
    trie_free(&m->pieces);
    vocab_free(&m->vocab);
    *m = (model){0};
}

static llm_status encode_text(const model *m, model_scratch *s, const char *text, size_t length,
                              token_list *out, llm_error *err) {
    switch (m->kind) {
    case MODEL_UNIGRAM: return unigram_encode(m, s, text, length, out, err);
    case MODEL_WORDPIECE: return wordpiece_encode(m, text, length, out, err);
    default: return wordlevel_encode(m, text, length, out, err);
    }
}

llm_status model_encode(const model *m, model_scratch *s, const char *text, size_t length, bool as_bytes,
                        token_list *out, llm_error *err) {
    if (m->kind == MODEL_BPE) return bpe_encode(m, s, text, length, as_bytes, out, err);
    if (!as_bytes) return encode_text(m, s, text, length, out, err);
    buf spelled = {0};
    byte_level_append(&spelled, text, length);
    llm_status status = spelled.failed ? error_no_memory(err, "tokens")
                                       : encode_text(m, s, spelled.data, spelled.length, out, err);
    buf_free(&spelled);
    return status;
}

void model_scratch_free(model_scratch *s) {
    mem_free(s->symbols);
    mem_free(s->heap);
    mem_free(s->nodes);
    token_list_free(&s->reversed);
    buf_free(&s->text);
    *s = (model_scratch){0};
}
