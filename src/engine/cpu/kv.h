// The KV cache: keys and values of every layer, in blocks of KV_PAGE_TOKENS tokens that sequences can share.
// Layers with the same window form a group; a group's block holds one page of each of its layers, so that windowed
// layers can drop old blocks while full ones keep theirs.
#ifndef ENGINE_CPU_KV_H
#define ENGINE_CPU_KV_H
#include "engine/cpu/kernels/kernels.h"
#include <stdatomic.h>

typedef struct kv_group {
    int window;         // 0: all positions are kept
    size_t block_bytes; // of data
} kv_group;

// Where one layer's page lies inside its group's block.
typedef struct kv_layer {
    int group;
    int num_kv_heads, head_dim;
    size_t offset;      // of the layer's page: per kv head keys, then values (kernels/kv_page.h)
    size_t key_bytes, head_bytes; // of one kv head: keys; keys and values
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

// Blocks [first, count) of a group exist; the ones before have been dropped.
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

// Makes positions [length, length + tokens) writable: new blocks, and own copies of shared ones.
llm_status kv_cache_reserve(kv_cache *cache, int tokens, llm_error *err);
void kv_cache_advance(kv_cache *cache, int tokens);   // they have been written
void kv_cache_drop_unseen(kv_cache *cache);           // frees blocks that no later token can see
bool kv_cache_can_trim(const kv_cache *cache, int length);
void kv_cache_trim(kv_cache *cache, int length);
llm_status kv_cache_fork(const kv_cache *cache, kv_cache *copy, llm_error *err);

// First position still held for a layer.
int kv_cache_first_position(const kv_cache *cache, int layer);

void *kv_cache_keys(const kv_cache *cache, int layer, int kv_head, int block);
void *kv_cache_values(const kv_cache *cache, int layer, int kv_head, int block);

// One layer's part of a saved sequence: what each token's pages hold, token by token, [tokens, kv_heads, row].
typedef enum kv_part { KV_KEYS, KV_VALUES, KV_KEY_SCALES, KV_VALUE_SCALES, KV_PARTS } kv_part;
typedef struct kv_part_shape {
    const char *name;
    dtype type;
    int row;                   // elements of one head; 0: pages of this type have no such part
} kv_part_shape;

kv_part_shape kv_layout_part(const kv_layout *layout, int layer, kv_part part);
// All positions that a layer holds, in order.
void kv_cache_read(const kv_cache *cache, int layer, kv_part part, void *data);
// Positions [first_position, first_position + tokens). Integers beyond what the cache itself writes come to its limits.
void kv_cache_write(kv_cache *cache, int layer, kv_part part, int first_position, int tokens, const void *data);

#endif
