// Unigram: the segmentation of the best total score, found from left to right in one pass.
#include "text/tokenizer_model.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <math.h>
#include <string.h>

static const double unknown_penalty = 10.0; // below the worst piece

static llm_status read_scores(yyjson_val *list, const vocab *v, unigram *out, llm_error *err) {
    size_t index, count;
    yyjson_val *entry;
    double worst = INFINITY;
    out->scores = mem_alloc_zero(v->size, sizeof *out->scores);
    if (!out->scores) return error_no_memory(err, "the vocabulary");
    yyjson_arr_foreach(list, index, count, entry) {
        yyjson_val *score = yyjson_arr_get_last(entry);
        if (!yyjson_is_num(score))
            return error_set(err, LLM_LOAD_FAILED, "entry %zu of the vocabulary has no score", index);
        out->scores[index] = yyjson_get_num(score);
        if (out->scores[index] < worst) worst = out->scores[index];
    }
    out->unknown_score = worst - unknown_penalty;
    return LLM_OK;
}

llm_status unigram_read(yyjson_val *json, const vocab *v, unigram *out, llm_error *err) {
    int64_t unknown;
    *out = (unigram){0};
    llm_status status = json_get_bool(json, "byte_fallback", false, &out->byte_fallback, err);
    if (status == LLM_OK) status = json_get_int(json, "unk_id", -1, &unknown, err);
    if (status == LLM_OK && (unknown < -1 || unknown >= (int64_t)v->size))
        status = error_set(err, LLM_LOAD_FAILED, "the unknown token's id is not in the vocabulary");
    if (status != LLM_OK) return status;
    out->unknown_id = (int32_t)unknown;
    read_byte_tokens(v, out->byte_ids);
    status = read_scores(yyjson_obj_get(json, "vocab"), v, out, err);
    if (status != LLM_OK) unigram_free(out);
    return status;
}

void unigram_free(unigram *u) {
    mem_free(u->scores);
    *u = (unigram){0};
}

static void reach(viterbi_node *node, double score, size_t start, int32_t id) {
    if (node->start == UINT32_MAX || score > node->score) *node = (viterbi_node){score, (uint32_t)start, id};
}

// Fills nodes[1 .. length]: the best way to each place. Every character is a piece or an unknown, so all
// places between characters are reached.
static llm_status find_best(const model *m, viterbi_node *nodes, const char *text, size_t length,
                            llm_error *err) {
    const unigram *u = &m->unigram;
    memset(nodes, 0xFF, (length + 1) * sizeof *nodes);
    nodes[0].score = 0;
    for (size_t start = 0, bytes; start < length; start += bytes) {
        uint32_t c, node = 0;
        bytes = utf8_decode(text + start, length - start, &c);
        if (!bytes) bytes = 1;
        bool single = false;
        for (size_t i = start; i < length; i++) {
            node = m->pieces.nodes ? trie_child(&m->pieces, node, (uint8_t)text[i]) : 0;
            if (!node) break;
            int32_t id = m->pieces.nodes[node].value;
            if (id < 0) continue;
            reach(&nodes[i + 1], nodes[start].score + u->scores[id], start, id);
            if (i + 1 == start + bytes) single = true;
        }
        if (single) continue;
        if (u->unknown_id < 0)
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "the tokenizer knows neither U+%04X nor an unknown token", c);
        reach(&nodes[start + bytes], nodes[start].score + u->unknown_score, start, u->unknown_id);
    }
    return LLM_OK;
}

// Unknowns that follow each other are one text, which may still be a token or its bytes. Ids come last first.
static bool add_unknown(const model *m, const char *text, size_t length, token_list *reversed) {
    const unigram *u = &m->unigram;
    int32_t id = vocab_find(&m->vocab, text, length);
    bool fits = true, bytes = id < 0 && u->byte_fallback;
    for (size_t i = 0; bytes && i < length; i++) bytes = u->byte_ids[(unsigned char)text[i]] >= 0;
    if (!bytes) return token_list_append(reversed, id < 0 ? &u->unknown_id : &id, 1);
    for (size_t i = length; i > 0 && fits; i--)
        fits = token_list_append(reversed, &u->byte_ids[(unsigned char)text[i - 1]], 1);
    return fits;
}

static bool collect(const model *m, const viterbi_node *nodes, const char *text, size_t length,
                    token_list *reversed) {
    token_list_clear(reversed);
    for (size_t end = length; end > 0;) {
        const viterbi_node *node = &nodes[end];
        size_t start = node->start;
        if (node->id != m->unigram.unknown_id) {
            if (!token_list_append(reversed, &node->id, 1)) return false;
        } else {
            while (start > 0 && nodes[start].id == m->unigram.unknown_id) start = nodes[start].start;
            if (!add_unknown(m, text + start, end - start, reversed)) return false;
        }
        end = start;
    }
    return true;
}

llm_status unigram_encode(const model *m, model_scratch *s, const char *text, size_t length, token_list *out,
                          llm_error *err) {
    if (length >= UINT32_MAX ||
        !mem_grow((void **)&s->nodes, &s->nodes_capacity, length + 1, sizeof *s->nodes))
        return error_no_memory(err, "tokens");
    llm_status status = find_best(m, s->nodes, text, length, err);
    if (status != LLM_OK) return status;
    if (!collect(m, s->nodes, text, length, &s->reversed)) return error_no_memory(err, "tokens");
    for (size_t i = s->reversed.count; i > 0; i--)
        if (!token_list_append(out, &s->reversed.ids[i - 1], 1)) return error_no_memory(err, "tokens");
    return LLM_OK;
}
