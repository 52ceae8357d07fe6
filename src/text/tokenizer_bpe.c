// Byte pair encoding of one piece: characters become symbols, then the pair of the smallest rank is merged,
// the leftmost of equals, until none is left. Short pieces are scanned for it, long ones use a heap: n log n.
#include "text/tokenizer_bpe.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer_bytes.h"
#include <string.h>

enum { SHORT = 48 }; // symbols

static llm_status no_memory(llm_error *err) {
    return error_no_memory(err, "tokens");
}

// --- merging ---

typedef struct short_piece {
    int32_t ids[SHORT];
    uint32_t ranks[SHORT]; // of the pair that begins here, UINT32_MAX: no merge
    int32_t merged[SHORT];
} short_piece;

static void rate_pair(const bpe *b, short_piece *p, size_t i) {
    const bpe_merge *merge = bpe_find(b, p->ids[i], p->ids[i + 1]);
    p->ranks[i] = merge ? merge->rank : UINT32_MAX;
    p->merged[i] = merge ? merge->id : -1;
}

// Merges p->ids[0..count) in place; returns how many are left.
static size_t merge_short(const bpe *b, short_piece *p, size_t count) {
    for (size_t i = 0; i + 1 < count; i++) rate_pair(b, p, i);
    while (count > 1) {
        size_t best = 0, pairs = count - 1;
        for (size_t i = 1; i < pairs; i++)
            if (p->ranks[i] < p->ranks[best]) best = i;
        if (p->ranks[best] == UINT32_MAX) break;
        p->ids[best] = p->merged[best];
        size_t after = count - best - 2; // symbols behind the pair
        memmove(p->ids + best + 1, p->ids + best + 2, after * sizeof *p->ids);
        memmove(p->ranks + best, p->ranks + best + 1, (pairs - best - 1) * sizeof *p->ranks);
        memmove(p->merged + best, p->merged + best + 1, (pairs - best - 1) * sizeof *p->merged);
        count--;
        if (best + 1 < count) rate_pair(b, p, best);
        if (best > 0) rate_pair(b, p, best - 1);
    }
    return count;
}

static void sift_up(bpe_candidate *heap, size_t i) {
    bpe_candidate item = heap[i];
    for (; i > 0 && heap[(i - 1) / 2].order > item.order; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
}

static void sift_down(bpe_candidate *heap, size_t count, size_t i) {
    bpe_candidate item = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && heap[child + 1].order < heap[child].order) child++;
        if (heap[child].order >= item.order) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static bool push_pair(const bpe *b, model_scratch *s, int32_t position) {
    const bpe_symbol *symbol = &s->symbols[position];
    if (symbol->next < 0) return true;
    const bpe_merge *merge = bpe_find(b, symbol->id, s->symbols[symbol->next].id);
    if (!merge) return true;
    if (!mem_grow((void **)&s->heap, &s->heap_capacity, s->heap_count + 1, sizeof *s->heap)) return false;
    s->heap[s->heap_count++] = (bpe_candidate){(uint64_t)merge->rank << 32 | (uint32_t)position, merge->id};
    sift_up(s->heap, s->heap_count - 1);
    return true;
}

static bool merge_at(const bpe *b, model_scratch *s, bpe_candidate candidate) {
    int32_t position = (int32_t)(uint32_t)candidate.order;
    bpe_symbol *symbol = &s->symbols[position];
    if (symbol->id < 0 || symbol->next < 0) return true; // out of date
    bpe_symbol *right = &s->symbols[symbol->next];
    const bpe_merge *merge = bpe_find(b, symbol->id, right->id);
    if (!merge || merge->id != candidate.id) return true;
    symbol->id = candidate.id;
    symbol->next = right->next;
    right->id = -1;
    if (symbol->next >= 0) s->symbols[symbol->next].previous = position;
    return (symbol->previous < 0 || push_pair(b, s, symbol->previous)) && push_pair(b, s, position);
}

static llm_status merge_long(const bpe *b, model_scratch *s, token_list *out, llm_error *err) {
    s->heap_count = 0;
    for (size_t i = 0; i < s->count; i++)
        if (!push_pair(b, s, (int32_t)i)) return no_memory(err);
    while (s->heap_count) {
        bpe_candidate top = s->heap[0];
        s->heap[0] = s->heap[--s->heap_count];
        if (s->heap_count) sift_down(s->heap, s->heap_count, 0);
        if (!merge_at(b, s, top)) return no_memory(err);
    }
    for (int32_t i = s->count ? 0 : -1; i >= 0; i = s->symbols[i].next)
        if (!token_list_append(out, &s->symbols[i].id, 1)) return no_memory(err);
    return LLM_OK;
}

static llm_status merge_symbols(const bpe *b, model_scratch *s, token_list *out, llm_error *err) {
    if (s->count > SHORT) return merge_long(b, s, out, err);
    short_piece piece;
    for (size_t i = 0; i < s->count; i++) piece.ids[i] = s->symbols[i].id;
    size_t count = merge_short(b, &piece, s->count);
    return token_list_append(out, piece.ids, count) ? LLM_OK : no_memory(err);
}

// --- from text to symbols ---

static bool add_symbol(model_scratch *s, int32_t id) {
    if (s->count >= INT32_MAX ||
        !mem_grow((void **)&s->symbols, &s->symbols_capacity, s->count + 1, sizeof *s->symbols))
        return false;
    int32_t place = (int32_t)s->count;
    if (place > 0) s->symbols[place - 1].next = place;
    s->symbols[s->count++] = (bpe_symbol){id, place - 1, -1};
    return true;
}

static int32_t find_character(const model *m, model_scratch *s, const char *text, size_t length, bool first,
                              bool last) {
    const bpe *b = &m->bpe;
    if (!b->prefix && !b->suffix) return vocab_find_character(&m->vocab, text, length);
    buf_clear(&s->text);
    if (!first) buf_append(&s->text, b->prefix, b->prefix_length);
    buf_append(&s->text, text, length);
    if (last) buf_append(&s->text, b->suffix, b->suffix_length);
    return s->text.failed ? -1 : vocab_find(&m->vocab, s->text.data, s->text.length);
}

// The bytes of a character, as the byte tokens, when all of them exist. With a prefix or suffix, its bytes
// too.
static bool has_byte_tokens(const bpe *b, const char *bytes, size_t length) {
    if (!b->byte_fallback) return false;
    for (size_t i = 0; i < length; i++)
        if (b->byte_ids[(unsigned char)bytes[i]] < 0) return false;
    return true;
}

static llm_status add_unknown(const model *m, model_scratch *s, bool *pending, llm_error *err) {
    if (!m->bpe.has_unknown) return LLM_OK; // the character is lost
    if (m->bpe.unknown_id < 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "the tokenizer's unknown token is not in its vocabulary");
    if (*pending && !m->bpe.fuse_unknown && !add_symbol(s, m->bpe.unknown_id)) return no_memory(err);
    *pending = true;
    return LLM_OK;
}

// An unknown waits until the next known character or the end, as in the Hugging Face library; so byte tokens
// that come between go before it.
static llm_status read_symbols(const model *m, model_scratch *s, const char *text, size_t length,
                               llm_error *err) {
    bool pending = false;
    s->count = 0;
    for (size_t i = 0, bytes; i < length; i += bytes) {
        uint32_t c;
        bytes = utf8_decode(text + i, length - i, &c);
        if (!bytes) bytes = 1;
        const char *spelled = text + i;
        size_t spelled_length = bytes;
        int32_t id = find_character(m, s, text + i, bytes, i == 0, i + bytes == length);
        if (m->bpe.prefix || m->bpe.suffix) spelled = s->text.data, spelled_length = s->text.length;
        if (s->text.failed) return no_memory(err);
        if (id >= 0) {
            if (pending && !add_symbol(s, m->bpe.unknown_id)) return no_memory(err);
            pending = false;
            if (!add_symbol(s, id)) return no_memory(err);
        } else if (has_byte_tokens(&m->bpe, spelled, spelled_length)) {
            for (size_t k = 0; k < spelled_length; k++)
                if (!add_symbol(s, m->bpe.byte_ids[(unsigned char)spelled[k]])) return no_memory(err);
        } else {
            llm_status status = add_unknown(m, s, &pending, err);
            if (status != LLM_OK) return status;
        }
    }
    return !pending || add_symbol(s, m->bpe.unknown_id) ? LLM_OK : no_memory(err);
}

// Bytes whose characters of the byte alphabet are all tokens, which is so in every byte-level model.
static llm_status encode_bytes(const bpe *b, model_scratch *s, const char *text, size_t length,
                               token_list *out, llm_error *err) {
    if (length <= SHORT) {
        short_piece piece;
        for (size_t i = 0; i < length; i++) piece.ids[i] = b->alphabet_ids[(unsigned char)text[i]];
        size_t count = merge_short(b, &piece, length);
        return token_list_append(out, piece.ids, count) ? LLM_OK : no_memory(err);
    }
    s->count = 0;
    for (size_t i = 0; i < length; i++)
        if (!add_symbol(s, b->alphabet_ids[(unsigned char)text[i]])) return no_memory(err);
    return merge_symbols(b, s, out, err);
}

llm_status bpe_encode(const model *m, model_scratch *s, const char *text, size_t length, bool as_bytes,
                      token_list *out, llm_error *err) {
    const bpe *b = &m->bpe;
    bool direct = as_bytes && b->whole_alphabet && !b->prefix && !b->suffix;
    if (direct && !b->ignore_merges) return encode_bytes(b, s, text, length, out, err);
    buf spelled = {0};
    llm_status status = LLM_OK;
    if (as_bytes) {
        byte_level_append(&spelled, text, length);
        if (spelled.failed) return no_memory(err);
    }
    const char *piece = as_bytes ? spelled.data : text;
    size_t piece_length = as_bytes ? spelled.length : length;
    int32_t whole = b->ignore_merges ? vocab_find(&m->vocab, piece, piece_length) : -1;
    if (whole >= 0)
        status = token_list_append(out, &whole, 1) ? LLM_OK : no_memory(err);
    else if (direct)
        status = encode_bytes(b, s, text, length, out, err);
    else {
        status = read_symbols(m, s, piece, piece_length, err);
        if (status == LLM_OK) status = merge_symbols(b, s, out, err);
    }
    buf_free(&spelled);
    return status;
}
