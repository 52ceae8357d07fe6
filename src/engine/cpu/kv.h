// The KV cache: keys and values of every layer, in pages of KV_PAGE_TOKENS tokens (kernels/kv_page.h). Some neighbouring pages
// of all layers with the same window, which are a group, make a block that sequences can share, so that windowed layers can
// drop old blocks while full ones keep theirs. In a block each plane of a layer's kv head lies in one piece, page after page:
// memory comes fastest in long pieces. A sequence's first block takes memory page by page; those behind it lie on huge pages
// and take all theirs at once, if they are large.
#ifndef ENGINE_CPU_KV_H
#define ENGINE_CPU_KV_H
#include "engine/cpu/kernels/kernels.h"
#include <stdatomic.h>

typedef struct kv_group {
    int window;        // 0: all positions are kept
    int block_shift;   // a block has 1 << block_shift pages
    size_t page_bytes; // of a page of each of its layers
} kv_group;

// Where one layer's pages lie inside its group's block.
typedef struct kv_layer {
    int group;
    int num_kv_heads, head_dim;
    size_t planes[KV_PLANES];     // the first head's, behind the block's beginning
    size_t page_bytes[KV_PLANES]; // of a plane
    size_t head_bytes;            // from a head's planes to the next one's
} kv_layer;

typedef struct kv_layout {
    dtype type; // DTYPE_F32, I16 or I8
    int num_layers, num_groups;
    kv_layer *layers; // owned
    kv_group *groups; // owned
} kv_layout;

llm_status kv_layout_create(kv_layout *layout, const model_desc *desc, dtype type, llm_error *err);
void kv_layout_free(kv_layout *layout);
// Of a sequence of `tokens` tokens, of which one call brings at most `call`: windowed groups keep what the call sees.
uint64_t kv_layout_bytes(const kv_layout *layout, int tokens, int call);

typedef struct kv_block kv_block; // reference counted

// Blocks [first, count) of a group exist; the ones before have been dropped. Only the one that holds the end of the sequence
// has room for more tokens.
typedef struct kv_blocks {
    kv_block **blocks;
    size_t capacity;
    int first, count;
} kv_blocks;

typedef struct kv_cache {
    const kv_layout *layout;   // borrowed
    kv_blocks *groups;         // [layout->num_groups]
    int length;                // tokens
    _Atomic uint64_t *total_bytes; // the model's count of bytes in blocks; borrowed
} kv_cache;

llm_status kv_cache_create(kv_cache *cache, const kv_layout *layout, _Atomic uint64_t *total_bytes, llm_error *err);
void kv_cache_free(kv_cache *cache);

// Makes positions [length, length + tokens) writable: new blocks, and an own copy of a shared one.
llm_status kv_cache_reserve(kv_cache *cache, int tokens, llm_error *err);
void kv_cache_advance(kv_cache *cache, int tokens);   // they have been written
void kv_cache_drop_unseen(kv_cache *cache);           // frees blocks that no later token can see
bool kv_cache_can_trim(const kv_cache *cache, int length);
void kv_cache_trim(kv_cache *cache, int length);
llm_status kv_cache_fork(const kv_cache *cache, kv_cache *copy, llm_error *err);

// First position still held for a layer.
int kv_cache_first_position(const kv_cache *cache, int layer);

kv_page kv_cache_page(const kv_cache *cache, int layer, int kv_head, int page);
// Pages [first, first + count).
void kv_cache_pages(const kv_cache *cache, int layer, int kv_head, int first, int count, kv_page *pages);

// One layer's part of a saved sequence: what a plane holds of each token, token by token, [tokens, kv_heads, row]. Low bytes
// are saved together with the high ones.
enum { KV_PARTS = KV_LOW_KEYS };
typedef struct kv_part_shape {
    const char *name;
    dtype type;
    int row;                   // elements of one head; 0: pages of this type have no such part
} kv_part_shape;

kv_part_shape kv_layout_part(const kv_layout *layout, int layer, kv_plane part);
// All positions that a layer holds, in order.
void kv_cache_read(const kv_cache *cache, int layer, kv_plane part, void *data);
// Positions [first_position, first_position + tokens). Integers beyond what the cache itself writes come to its limits.
void kv_cache_write(kv_cache *cache, int layer, kv_plane part, int first_position, int tokens, const void *data);

#endif
