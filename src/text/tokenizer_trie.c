// Builds the trie level by level from the sorted strings, so that siblings lie side by side.
#include "text/tokenizer_trie.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

// A node that is still to be filled: the strings [low, high) share its first `depth` bytes.
typedef struct pending {
    uint32_t low, high, depth;
} pending;

typedef struct builder {
    trie *out;
    pending *queue; // queue[i] belongs to nodes[i]
    size_t nodes_capacity, queue_capacity;
} builder;

static int compare_items(const void *a, const void *b) {
    const trie_item *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    if (order) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static bool add_node(builder *b, uint8_t label, pending rest) {
    trie *t = b->out;
    if (t->count == UINT32_MAX) return false;
    if (!mem_grow((void **)&t->nodes, &b->nodes_capacity, (size_t)t->count + 1, sizeof *t->nodes) ||
        !mem_grow((void **)&b->queue, &b->queue_capacity, (size_t)t->count + 1, sizeof *b->queue))
        return false;
    t->nodes[t->count] = (trie_node){.value = -1, .label = label};
    b->queue[t->count++] = rest;
    return true;
}

static bool fill_node(builder *b, const trie_item *items, uint32_t node) {
    pending own = b->queue[node];
    uint32_t i = own.low, first = b->out->count;
    for (; i < own.high && items[i].length == own.depth; i++)
        if (own.depth && i == own.low) b->out->nodes[node].value = items[i].value;
    while (i < own.high) {
        uint32_t start = i;
        uint8_t label = (uint8_t)items[i].text[own.depth];
        while (i < own.high && (uint8_t)items[i].text[own.depth] == label) i++;
        if (!add_node(b, label, (pending){start, i, own.depth + 1})) return false;
    }
    b->out->nodes[node].first_child = first;
    b->out->nodes[node].children = (uint16_t)(b->out->count - first);
    return true;
}

bool trie_build(trie *t, trie_item *items, size_t count) {
    *t = (trie){0};
    if (!count) return true;
    builder b = {.out = t};
    qsort(items, count, sizeof *items, compare_items);
    bool fits = count < UINT32_MAX && add_node(&b, 0, (pending){0, (uint32_t)count, 0});
    for (uint32_t node = 0; fits && node < t->count; node++) fits = fill_node(&b, items, node);
    mem_free(b.queue);
    if (!fits) {
        trie_free(t);
        return false;
    }
    for (uint32_t i = 0; i < t->nodes[0].children; i++) {
        uint32_t child = t->nodes[0].first_child + i;
        t->roots[t->nodes[child].label] = child;
    }
    return true;
}

uint32_t trie_child_slow(const trie *t, uint32_t node, uint8_t label) {
    const trie_node *own = &t->nodes[node];
    uint32_t low = own->first_child, high = low + own->children;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (t->nodes[middle].label < label)
            low = middle + 1;
        else
            high = middle;
    }
    return low < own->first_child + own->children && t->nodes[low].label == label ? low : 0;
}

void trie_free(trie *t) {
    mem_free(t->nodes);
    *t = (trie){0};
}
