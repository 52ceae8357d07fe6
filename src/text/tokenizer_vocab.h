// A model's vocabulary: token text to id and back. All text lies in one block.
#ifndef TEXT_TOKENIZER_VOCAB_H
#define TEXT_TOKENIZER_VOCAB_H
#include "base/error.h"
#include "base/json.h"
#include <string.h>

enum { VOCAB_LARGEST_ID = (1 << 24) - 1 }; // the largest vocabularies have 2^18 tokens

typedef struct vocab_token {
    uint32_t offset; // of the text in the block, where a NUL follows it
    uint32_t length; // VOCAB_HOLE: no token has this id
} vocab_token;

#define VOCAB_HOLE UINT32_MAX

typedef struct vocab_slot {
    uint32_t hash;
    int32_t id;              // -1: free
    uint32_t offset, length; // of the text
} vocab_slot;

typedef struct vocab {
    char *text;
    vocab_token *tokens; // [size]
    size_t size;         // largest id + 1
    size_t unique;       // how many different texts
    vocab_slot *slots;   // open addressing, at most half full
    size_t mask;
    uint64_t seed;      // of the hash: differs in every process, so that files cannot be built to collide
    int32_t *short_ids; // [0x10000] ids of the tokens that are one character below U+10000, -1: none
} vocab;

// Reads {"token": id, ...} (BPE, WordPiece, WordLevel) or [["token", score], ...] (Unigram, whose ids count
// up).
llm_status vocab_read(yyjson_val *json, vocab *out, llm_error *err);
void vocab_free(vocab *v);

int32_t vocab_find_hashed(const vocab *v, const char *text, size_t length,
                          uint32_t hash); // -1: no such token
int32_t vocab_find(const vocab *v, const char *text, size_t length);
int32_t vocab_find_character(const vocab *v, const char *text, size_t length); // `text` is one character

static inline uint64_t vocab_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t vocab_load(const char *bytes, size_t length) // 4 or 8 bytes
{
    uint64_t value = 0;
    if (length == 8)
        memcpy(&value, bytes, 8);
    else
        memcpy(&value, bytes, 4);
    return value;
}

// Most tokens are shorter than 16 bytes: two loads that may overlap.
static inline uint32_t vocab_hash(const vocab *v, const char *text, size_t length) {
    uint64_t hash = v->seed ^ length, head = 0, tail = 0;
    for (; length > 16; text += 8, length -= 8)
        hash = vocab_mix(hash ^ vocab_load(text, 8), 0x9E3779B97F4A7C15u);
    if (length >= 8)
        head = vocab_load(text, 8), tail = vocab_load(text + length - 8, 8);
    else if (length >= 4)
        head = vocab_load(text, 4), tail = vocab_load(text + length - 4, 4);
    else if (length)
        head = (uint64_t)(unsigned char)text[0] << 16 | (uint64_t)(unsigned char)text[length / 2] << 8 |
               (unsigned char)text[length - 1];
    hash = vocab_mix(hash ^ head ^ 0xD6E8FEB86659FD93u, tail ^ v->seed ^ 0xA0761D6478BD642Fu);
    return (uint32_t)(hash ^ hash >> 32);
}

static inline void vocab_expect(const vocab *v, uint32_t hash) // it will be looked up soon
{
    __builtin_prefetch(&v->slots[hash & v->mask]);
}

static inline void vocab_expect_text(const vocab *v, uint32_t hash) {
    const vocab_slot *slot = &v->slots[hash & v->mask];
    if (slot->id >= 0) __builtin_prefetch(v->text + slot->offset);
}

static inline const char *vocab_text(const vocab *v, int32_t id, size_t *length) {
    if (id < 0 || (size_t)id >= v->size || v->tokens[id].length == VOCAB_HOLE) return NULL;
    *length = v->tokens[id].length;
    return v->text + v->tokens[id].offset;
}

#endif
