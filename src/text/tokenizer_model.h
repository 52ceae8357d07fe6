// The four models of tokenizer.json: from one piece of text to ids.
#ifndef TEXT_TOKENIZER_MODEL_H
#define TEXT_TOKENIZER_MODEL_H
#include "text/tokenizer.h"
#include "text/tokenizer_trie.h"
#include "text/tokenizer_vocab.h"

typedef enum model_kind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE, MODEL_WORDLEVEL } model_kind;

// A slot of the merge table: this pair of ids becomes `id`; smaller ranks go first.
typedef struct bpe_merge {
    int32_t left, right; // left -1: a free slot
    uint32_t rank;
    int32_t id;
} bpe_merge;

typedef struct bpe {
    bpe_merge *merges; // open addressing, at most half full
    size_t mask;
    uint64_t seed;         // of their hash
    char *prefix, *suffix; // continuing_subword_prefix, end_of_word_suffix; NULL: none
    size_t prefix_length, suffix_length;
    bool has_unknown, fuse_unknown, byte_fallback, ignore_merges;
    int32_t unknown_id;        // -1: not in the vocabulary, which fails when it is needed
    int32_t byte_ids[256];     // of "<0x00>" ... "<0xFF>", -1: none
    int32_t alphabet_ids[256]; // of the byte alphabet's characters, -1: none
    bool whole_alphabet;
    // No merge joins a character and a U+2581 after it, but for these characters (and U+2581 itself): a text
    // is cut there, and its words go through the cache.
    bool cuts_at_marks;
    uint32_t joined[8];
    size_t num_joined;
} bpe;

typedef struct unigram {
    double *scores; // [vocabulary size]
    double unknown_score;
    bool byte_fallback;
    int32_t unknown_id; // -1: none
    int32_t byte_ids[256];
} unigram;

typedef struct wordpiece { // WordLevel uses the unknown_id only
    int32_t unknown_id;    // -1: none
    uint32_t prefix_node;  // in the trie: what may continue a word is below it
    size_t most_characters;
} wordpiece;

typedef struct model {
    model_kind kind;
    vocab vocab;
    trie pieces; // Unigram and WordPiece: all tokens
    bpe bpe;
    unigram unigram;
    wordpiece words;
} model;

llm_status model_read(yyjson_val *json, model *out, llm_error *err);
void model_free(model *m);

llm_status bpe_read(yyjson_val *json, const vocab *v, bpe *out, llm_error *err);
void bpe_free(bpe *b);
void read_byte_tokens(const vocab *v, int32_t ids[256]);

typedef struct bpe_symbol {
    int32_t id;             // -1: merged away
    int32_t previous, next; // -1: none
} bpe_symbol;

typedef struct bpe_candidate {
    uint64_t order; // rank, then position: the smallest is merged first
    int32_t id;
} bpe_candidate;

typedef struct viterbi_node {
    double score;
    uint32_t start; // of the last piece; UINT32_MAX: not reached
    int32_t id;
} viterbi_node;

// Working memory of one encode at a time; begins as {0}.
typedef struct model_scratch {
    bpe_symbol *symbols;
    size_t symbols_capacity, count;
    bpe_candidate *heap;
    size_t heap_capacity, heap_count;
    viterbi_node *nodes;
    size_t nodes_capacity;
    token_list reversed;
    buf text;
} model_scratch;

void model_scratch_free(model_scratch *scratch);

// Appends the ids of a piece. `as_bytes`: the piece is not yet in the byte alphabet, and has to go through
// it.
llm_status model_encode(const model *m, model_scratch *scratch, const char *text, size_t length,
                        bool as_bytes, token_list *out, llm_error *err);
llm_status bpe_encode(const model *m, model_scratch *scratch, const char *text, size_t length, bool as_bytes,
                      token_list *out, llm_error *err);
llm_status unigram_read(yyjson_val *json, const vocab *v, unigram *out, llm_error *err);
llm_status unigram_encode(const model *m, model_scratch *scratch, const char *text, size_t length,
                          token_list *out, llm_error *err);
void unigram_free(unigram *u);

#endif
