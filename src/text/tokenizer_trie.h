// A byte trie over many strings, built once: for added tokens and unigram pieces.
#ifndef TEXT_TOKENIZER_TRIE_H
#define TEXT_TOKENIZER_TRIE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct trie_item {
    const char *text;
    uint32_t length;
    int32_t value; // not negative
} trie_item;

typedef struct trie_node {
    uint32_t first_child; // its children lie side by side, sorted by label
    int32_t value;        // -1: no string ends here
    uint16_t children;
    uint8_t label;
} trie_node;

typedef struct trie {
    trie_node *nodes; // the root is nodes[0], which is nobody's child; NULL: no strings
    uint32_t count;
    uint32_t roots[256]; // children of the root by label, 0: none
} trie;

// Sorts `items` (the array is reordered). Of equal strings the smallest value counts; empty ones are left
// out. False without memory.
bool trie_build(trie *t, trie_item *items, size_t count);
void trie_free(trie *t);

uint32_t trie_child_slow(const trie *t, uint32_t node, uint8_t label);

// The child of `node` for a byte, 0: none. The root is node 0.
static inline uint32_t trie_child(const trie *t, uint32_t node, uint8_t label) {
    return node == 0 ? t->roots[label] : trie_child_slow(t, node, label);
}

#endif
