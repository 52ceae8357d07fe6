// What reading and running a BPE model share.
#ifndef TEXT_TOKENIZER_BPE_H
#define TEXT_TOKENIZER_BPE_H
#include "text/tokenizer_model.h"

static inline uint64_t bpe_hash(const bpe *b, int32_t left, int32_t right) {
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ b->seed;
    key *= 0x9E3779B97F4A7C15u;
    key ^= key >> 32;
    key *= 0xD6E8FEB86659FD93u;
    return key ^ key >> 32;
}

// The merge of a pair, NULL: none.
static inline const bpe_merge *bpe_find(const bpe *b, int32_t left, int32_t right) {
    for (size_t i = bpe_hash(b, left, right) & b->mask;; i = (i + 1) & b->mask) {
        const bpe_merge *merge = &b->merges[i];
        if (merge->left == left && merge->right == right) return merge;
        if (merge->left < 0) return NULL;
    }
}

#endif
