// A model's vocabulary: token text to id and back. All text lies in one block.
#ifndef TEXT_TOKENIZER_VOCAB_H
#define TEXT_TOKENIZER_VOCAB_H
#include "base/error.h"
#include "base/json.h"

enum { VOCAB_LARGEST_ID = (1 << 24) - 1 }; // the largest vocabularies have 2^18 tokens

typedef struct vocab_token {
    uint32_t offset; // of the text in the block, where a NUL follows it
    uint32_t length; // VOCAB_HOLE: no token has this id
} vocab_token;

#define VOCAB_HOLE UINT32_MAX

typedef struct vocab_slot {
    uint32_t hash;
    int32_t id; // -1: free
} vocab_slot;

typedef struct vocab {
    char *text;
    vocab_token *tokens; // [size]
    size_t size;         // largest id + 1
    size_t unique;       // how many different texts
    vocab_slot *slots;   // open addressing, at most half full
    size_t mask;
    int32_t *short_ids;  // [0x10000] ids of the tokens that are one character below U+10000, -1: none
} vocab;

// Reads {"token": id, ...} (BPE, WordPiece, WordLevel) or [["token", score], ...] (Unigram, whose ids count up).
llm_status vocab_read(yyjson_val *json, vocab *out, llm_error *err);
void vocab_free(vocab *v);

uint32_t vocab_hash(const char *text, size_t length);
int32_t vocab_find_hashed(const vocab *v, const char *text, size_t length, uint32_t hash); // -1: no such token
int32_t vocab_find(const vocab *v, const char *text, size_t length);
int32_t vocab_find_character(const vocab *v, const char *text, size_t length); // `text` is one character

static inline const char *vocab_text(const vocab *v, int32_t id, size_t *length)
{
    if (id < 0 || (size_t)id >= v->size || v->tokens[id].length == VOCAB_HOLE) return NULL;
    *length = v->tokens[id].length;
    return v->text + v->tokens[id].offset;
}

#endif
