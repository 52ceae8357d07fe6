// What a page of the KV cache looks like: KV_PAGE_TOKENS tokens of one kv head, in planes that lie apart, so that the same
// planes of neighbouring pages can lie in one piece (kv.h). Float pages are
//     keys [head_dim][64], transposed: a token is a column; values [64][head_dim].
// Integer pages stand for integer * scale. Neighbouring dimensions of a key, and neighbouring tokens of a value, lie side
// by side, so that a product of two pairs is one instruction. Of 8 bits:
//     keys [pairs of dimensions][64][2]; an odd last dimension is paired with zeros; their scales [groups][64]
//     values [pairs of tokens][head_dim][2]; their scales [64]
// Of 16 bits, 64 * high + low with low in [-32, 31]: the high bytes as in a page of 8 bits, one scale a key, and the low bytes:
//     low keys [64 / 16][pairs of dimensions][16][2], in blocks that can be read alone
//     low values [pairs of tokens][head_dim][2]
#ifndef ENGINE_CPU_KV_PAGE_H
#define ENGINE_CPU_KV_PAGE_H
#include "formats/dtype.h"
#include <stdint.h>

enum { KV_PAGE_TOKENS = 64, KV_SEGMENT_PAGES = 4, KV_SEGMENT_TOKENS = KV_SEGMENT_PAGES * KV_PAGE_TOKENS };

enum { KV_BLOCK_TOKENS = 16 }; // whose keys' low bytes lie together

typedef enum kv_plane { KV_KEYS, KV_VALUES, KV_KEY_SCALES, KV_VALUE_SCALES, KV_LOW_KEYS, KV_LOW_VALUES, KV_PLANES } kv_plane;

typedef struct kv_page {
    void *keys, *values;             // floats, integers of 8 bits, or high bytes; NULL: no page
    float *key_scales, *value_scales; // of integers
    int8_t *low_keys, *low_values;   // of 16 bits
} kv_page;

// Largest integers of the cache, and of what they are multiplied by.
enum { KV_LOW_BITS = 6, KV_I16_MAX = (127 << KV_LOW_BITS) + 31, KV_I8_MAX = 127, KV_FACTOR_MAX = 32767 };

static inline int kv_largest(dtype type) { return type == DTYPE_I8 ? KV_I8_MAX : KV_I16_MAX; }
// What the magnitudes of the factors may add up to, before they are rounded: no sum of products overflows 32 bits.
static inline float kv_sum_limit(dtype type) { return 260000.0f * (float)(KV_I16_MAX / kv_largest(type)); }

// Dimensions of a key that share a scale: 16 bits have room for the largest ones beside the others.
static inline int kv_group_dims(dtype type, int head_dim) { return type == DTYPE_I8 && head_dim > 32 ? 32 : head_dim; }
static inline int kv_groups(dtype type, int head_dim)
{
    int dims = kv_group_dims(type, head_dim);
    return (head_dim + dims - 1) / dims;
}

static inline int kv_even(int dims) { return (dims + 1) & ~1; }

// A whole number of cache lines.
static inline size_t kv_plane_bytes(kv_plane plane, dtype type, int head_dim)
{
    size_t element = type == DTYPE_F32 ? sizeof(float) : 1, tokens = KV_PAGE_TOKENS;
    switch (plane) {
    case KV_KEYS: return tokens * (size_t)(type == DTYPE_F32 ? head_dim : kv_even(head_dim)) * element;
    case KV_VALUES: return tokens * (size_t)head_dim * element;
    case KV_KEY_SCALES: return type == DTYPE_F32 ? 0 : tokens * (size_t)kv_groups(type, head_dim) * sizeof(float);
    case KV_VALUE_SCALES: return type == DTYPE_F32 ? 0 : tokens * sizeof(float);
    case KV_LOW_KEYS: return type == DTYPE_I16 ? kv_plane_bytes(KV_KEYS, type, head_dim) : 0;
    default: return type == DTYPE_I16 ? kv_plane_bytes(KV_VALUES, type, head_dim) : 0;
    }
}

static inline kv_page kv_page_of(void *const planes[KV_PLANES])
{
    return (kv_page){planes[KV_KEYS], planes[KV_VALUES], planes[KV_KEY_SCALES], planes[KV_VALUE_SCALES], planes[KV_LOW_KEYS], planes[KV_LOW_VALUES]};
}

static inline void *kv_plane_of(const kv_page *page, kv_plane plane)
{
    void *const planes[KV_PLANES] = {[KV_KEYS] = page->keys, [KV_VALUES] = page->values, [KV_KEY_SCALES] = page->key_scales,
                                           [KV_VALUE_SCALES] = page->value_scales, [KV_LOW_KEYS] = page->low_keys, [KV_LOW_VALUES] = page->low_values};
    return planes[plane];
}

// Where dimension `dim` of the token in slot `slot` lies in its plane, in elements.
static inline size_t kv_key_at(dtype type, int slot, int dim)
{
    if (type == DTYPE_F32) return (size_t)dim * KV_PAGE_TOKENS + (size_t)slot;
    return ((size_t)(dim / 2) * KV_PAGE_TOKENS + (size_t)slot) * 2 + (size_t)(dim % 2);
}
static inline size_t kv_value_at(dtype type, int head_dim, int slot, int dim)
{
    if (type == DTYPE_F32) return (size_t)slot * (size_t)head_dim + (size_t)dim;
    return ((size_t)(slot / 2) * (size_t)head_dim + (size_t)dim) * 2 + (size_t)(slot % 2);
}

// In the plane of the low bytes. Those of values lie as the high ones do.
static inline size_t kv_low_key_at(int head_dim, int slot, int dim)
{
    size_t row = (size_t)(slot / KV_BLOCK_TOKENS * (kv_even(head_dim) / 2) + dim / 2);
    return (row * KV_BLOCK_TOKENS + (size_t)(slot % KV_BLOCK_TOKENS)) * 2 + (size_t)(dim % 2);
}

// Integers of a page that is unpacked: keys, then values, in the order of the high bytes.
static inline size_t kv_unpacked_keys(int head_dim) { return KV_PAGE_TOKENS * (size_t)kv_even(head_dim); }
static inline size_t kv_unpacked(int head_dim) { return kv_unpacked_keys(head_dim) + KV_PAGE_TOKENS * (size_t)head_dim; }

static inline int kv_high(int integer) { return (integer + (1 << (KV_LOW_BITS - 1))) >> KV_LOW_BITS; }
static inline int kv_low(int integer) { return integer - kv_high(integer) * (1 << KV_LOW_BITS); }
static inline int kv_join(int high, int low) { return high * (1 << KV_LOW_BITS) + low; }

#endif
