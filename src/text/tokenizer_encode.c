// Encoding: added tokens are cut out of the text, the rest is normalized, cut into pieces and given to the
// model. Short pieces and their ids are remembered.
#include "text/tokenizer_parts.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

enum { CACHE_SLOTS = 1 << 14, CACHED_BYTES = 26, CACHED_IDS = 8, POOL_LARGEST = 16 };

// A piece and its ids, one cache line; a new piece takes the place of the old one.
typedef struct cache_slot {
    uint32_t hash;
    uint8_t length, count; // length 0: free
    char text[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cache_slot;

_Static_assert(sizeof(cache_slot) == 64, "a cache slot is a cache line");

// The working memory of one encode at a time.
struct encoder {
    encoder *next;
    const tokenizer *tok;
    token_list *out;
    pattern_scratch patterns;
    normalizer_scratch normalizer;
    pretokenizer_scratch pretokenizer;
    model_scratch model;
    cache_slot *cache; // [CACHE_SLOTS]
};

static void free_one(encoder *e) {
    pattern_scratch_free(&e->patterns);
    for (int i = 0; i < 2; i++) buf_free(&e->normalizer.texts[i]);
    for (int i = 0; i < PRETOKENIZER_MOST_STEPS; i++) buf_free(&e->pretokenizer.texts[i]);
    model_scratch_free(&e->model);
    mem_free(e->cache);
    mem_free(e);
}

void encoder_free(encoder *e) {
    for (encoder *next; e; e = next) {
        next = e->next;
        free_one(e);
    }
}

static encoder *create(const tokenizer *tok) {
    encoder *e = mem_alloc_zero(1, sizeof *e);
    if (!e) return NULL;
    e->tok = tok;
    e->normalizer.patterns = e->pretokenizer.patterns = &e->patterns;
    e->cache = mem_alloc_zero(CACHE_SLOTS, sizeof *e->cache);
    if (e->cache) return e;
    mem_free(e);
    return NULL;
}

static encoder *borrow(tokenizer *tok) {
    pthread_mutex_lock(&tok->pool_lock);
    encoder *e = tok->pool;
    if (e) {
        tok->pool = e->next;
        tok->pool_count--;
    }
    pthread_mutex_unlock(&tok->pool_lock);
    return e ? e : create(tok);
}

static size_t memory_held(const encoder *e) {
    size_t total = e->normalizer.texts[0].capacity + e->normalizer.texts[1].capacity;
    total += e->model.symbols_capacity * sizeof(bpe_symbol) + e->model.heap_capacity * sizeof(bpe_candidate);
    total += e->model.nodes_capacity * sizeof(viterbi_node) + e->model.reversed.capacity * sizeof(int32_t);
    for (int i = 0; i < PRETOKENIZER_MOST_STEPS; i++) total += e->pretokenizer.texts[i].capacity;
    return total;
}

// Keeps an encoder for the next text, unless a huge text has made it large.
static void give_back(tokenizer *tok, encoder *e) {
    enum { LARGEST_KEPT = 4 << 20 };
    bool keep = memory_held(e) <= LARGEST_KEPT;
    pthread_mutex_lock(&tok->pool_lock);
    keep = keep && tok->pool_count < POOL_LARGEST;
    if (keep) {
        e->next = tok->pool;
        tok->pool = e;
        tok->pool_count++;
    }
    pthread_mutex_unlock(&tok->pool_lock);
    if (!keep) free_one(e);
}

// --- pieces ---

static llm_status encode_piece(encoder *e, const char *text, size_t length, llm_error *err) {
    return model_encode(&e->tok->model, &e->model, text, length, e->tok->pretokenizer.ends_in_bytes, e->out,
                        err);
}

static llm_status encode_cached(encoder *e, const char *text, size_t length, llm_error *err) {
    if (length > CACHED_BYTES) return encode_piece(e, text, length, err);
    uint32_t hash = vocab_hash(&e->tok->model.vocab, text, length);
    cache_slot *slot = &e->cache[hash % CACHE_SLOTS];
    if (slot->hash == hash && slot->length == length && memcmp(slot->text, text, length) == 0)
        return token_list_append(e->out, slot->ids, slot->count) ? LLM_OK : error_no_memory(err, "tokens");
    size_t before = e->out->count;
    llm_status status = encode_piece(e, text, length, err);
    size_t count = e->out->count - before;
    if (status != LLM_OK || count > CACHED_IDS) return status;
    *slot = (cache_slot){.hash = hash, .length = (uint8_t)length, .count = (uint8_t)count};
    memcpy(slot->text, text, length);
    if (count) memcpy(slot->ids, e->out->ids + before, count * sizeof *slot->ids);
    return LLM_OK;
}

static bool may_cut(const bpe *b, const char *text, size_t place) {
    uint32_t c = 0;
    size_t start = place;
    while (start > 0 && ((unsigned char)text[--start] & 0xC0) == 0x80) continue;
    utf8_decode(text + start, place - start, &c);
    if (c == 0x2581) return false;
    for (size_t i = 0; i < b->num_joined; i++)
        if (b->joined[i] == c) return false;
    return true;
}

// Without a pre-tokenizer a whole text is one piece; where no merge can reach across, it is cut before
// U+2581.
static llm_status receive_marked(void *user, const char *text, size_t length, llm_error *err) {
    encoder *e = user;
    const bpe *b = &e->tok->model.bpe;
    size_t start = 0, i = 1;
    llm_status status = LLM_OK;
    while (status == LLM_OK && i < length) {
        const char *found = memchr(text + i, 0xE2, length - i);
        if (!found || (size_t)(found - text) + 3 > length) break;
        i = (size_t)(found - text);
        if (memcmp(found, "\xE2\x96\x81", 3) == 0 && may_cut(b, text, i)) {
            status = encode_cached(e, text + start, i - start, err);
            start = i;
        }
        i++;
    }
    return status == LLM_OK ? encode_cached(e, text + start, length - start, err) : status;
}

static llm_status receive(void *user, const char *text, size_t length, llm_error *err) {
    return encode_cached(user, text, length, err);
}

// --- texts ---

static llm_status append_added(encoder *e, const added_token *token, llm_error *err) {
    return token_list_append(e->out, &token->id, 1) ? LLM_OK : error_no_memory(err, "tokens");
}

// A part of the text without (not normalized) added tokens.
static llm_status encode_part(encoder *e, normal_text text, llm_error *err) {
    const tokenizer *tok = e->tok;
    bool marked =
        tok->model.kind == MODEL_BPE && tok->model.bpe.cuts_at_marks && !tok->pretokenizer.ends_in_bytes;
    llm_status status = normalizer_apply(&tok->normalizer, &e->normalizer, &text, err);
    added_search search = added_begin(&tok->added, &tok->added.normal, text.text, text.length);
    added_part part;
    while (status == LLM_OK && added_next(&search, &part)) {
        if (part.token) {
            status = append_added(e, part.token, err);
            continue;
        }
        normal_text piece = {text.text + part.start, part.end - part.start, 0};
        if (text.head > part.start) piece.head = (text.head < part.end ? text.head : part.end) - part.start;
        status = pretokenizer_apply(&tok->pretokenizer, &e->pretokenizer, &piece,
                                    marked ? receive_marked : receive, e, err);
    }
    return status;
}

static llm_status encode_text(encoder *e, const char *text, size_t length, llm_error *err) {
    added_search search = added_begin(&e->tok->added, &e->tok->added.raw, text, length);
    added_part part;
    llm_status status = LLM_OK;
    while (status == LLM_OK && added_next(&search, &part)) {
        if (part.token) {
            status = append_added(e, part.token, err);
            continue;
        }
        normal_text piece = {text + part.start, part.end - part.start, 0};
        uint32_t c;
        if (part.start == 0) piece.head = utf8_decode(text, length, &c);
        status = encode_part(e, piece, err);
    }
    return status;
}

llm_status tokenizer_encode(const tokenizer *tok, const char *text, size_t length, unsigned flags,
                            token_list *out, llm_error *err) {
    if (length > INT32_MAX) return error_set(err, LLM_INVALID_ARGUMENT, "a text of %zu bytes", length);
    if (!utf8_valid(text, length)) return error_set(err, LLM_INVALID_ARGUMENT, "the text is not valid UTF-8");
    tokenizer *shared = (tokenizer *)(uintptr_t)tok; // only its pool changes, under its lock
    encoder *e = borrow(shared);
    if (!e) return error_no_memory(err, "encoding");
    size_t before = out->count;
    e->out = out;
    const template_list *list =
        flags & TOKENIZER_ADD_SPECIAL ? &tok->post.with_special : &tok->post.without_special;
    llm_status status = LLM_OK;
    for (size_t i = 0; i < list->count && status == LLM_OK; i++) {
        if (list->items[i] == TEMPLATE_TEXT)
            status = encode_text(e, text, length, err);
        else if (!token_list_append(out, &list->items[i], 1))
            status = error_no_memory(err, "tokens");
    }
    give_back(shared, e);
    if (status != LLM_OK) out->count = before;
    return status;
}
