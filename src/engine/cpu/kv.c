// Blocks of keys and values: sharing, dropping, trimming.
#include "engine/cpu/kv.h"
#include "base/mem.h"
#include <string.h>

struct kv_block {
    atomic_int references;
    _Alignas(64) uint8_t data[];
};

// ---- Layout

static int find_group(kv_layout *layout, int window)
{
    int group = 0;
    while (group < layout->num_groups && layout->groups[group].window != window) group++;
    if (group == layout->num_groups) layout->groups[layout->num_groups++] = (kv_group){.window = window};
    return group;
}

static size_t cache_lines(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

llm_status kv_layout_create(kv_layout *layout, const model_desc *desc, dtype type, llm_error *err)
{
    *layout = (kv_layout){.type = type, .num_layers = desc->num_blocks};
    layout->layers = mem_alloc_zero((size_t)desc->num_blocks, sizeof *layout->layers);
    layout->groups = mem_alloc_zero((size_t)desc->num_blocks, sizeof *layout->groups);
    if (!layout->layers || !layout->groups) {
        kv_layout_free(layout);
        return error_no_memory(err, "the layout of the KV cache");
    }
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        kv_layer *layer = &layout->layers[i];
        layer->group = find_group(layout, attention->window);
        layer->num_kv_heads = attention->num_kv_heads;
        layer->head_dim = attention->head_dim;
        layer->key_bytes = cache_lines(kv_key_bytes(type, layer->head_dim));
        layer->head_bytes = layer->key_bytes + cache_lines(kv_value_bytes(type, layer->head_dim));
        layer->offset = layout->groups[layer->group].block_bytes;
        layout->groups[layer->group].block_bytes += layer->head_bytes * (size_t)layer->num_kv_heads;
    }
    return LLM_OK;
}

void kv_layout_free(kv_layout *layout)
{
    mem_free(layout->layers);
    mem_free(layout->groups);
    *layout = (kv_layout){0};
}

uint64_t kv_layout_bytes(const kv_layout *layout, int tokens, int call)
{
    uint64_t bytes = 0;
    for (int g = 0; g < layout->num_groups; g++) {
        int64_t kept = layout->groups[g].window ? (int64_t)layout->groups[g].window + call + KV_PAGE_TOKENS - 1 : tokens;
        if (kept > tokens) kept = tokens;
        uint64_t blocks = (uint64_t)(kept + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        bytes += blocks * layout->groups[g].block_bytes;
    }
    return bytes;
}

// ---- Blocks

// From here on blocks are pages of their own, so that what a chat has used goes back to the system.
enum { LARGE_BLOCK = 256 << 10 };

static kv_block *block_create(const kv_cache *cache, int group)
{
    size_t bytes = cache->layout->groups[group].block_bytes, size = sizeof(kv_block) + bytes;
    kv_block *block = size < LARGE_BLOCK ? mem_alloc_aligned(64, size) : mem_alloc_pages(size);
    if (!block) return NULL;
    // Slots that were never written must not hold signalling garbage: they are masked, not multiplied, but clean.
    if (size < LARGE_BLOCK) memset(block->data, 0, bytes);
    atomic_init(&block->references, 1);
    atomic_fetch_add_explicit(cache->total_bytes, bytes, memory_order_relaxed);
    return block;
}

static void block_release(const kv_cache *cache, int group, kv_block *block)
{
    if (!block || atomic_fetch_sub(&block->references, 1) != 1) return;
    size_t bytes = cache->layout->groups[group].block_bytes, size = sizeof *block + bytes;
    atomic_fetch_sub_explicit(cache->total_bytes, bytes, memory_order_relaxed);
    if (size < LARGE_BLOCK) mem_free(block);
    else mem_free_pages(block, size);
}

llm_status kv_cache_create(kv_cache *cache, const kv_layout *layout, _Atomic uint64_t *total_bytes, llm_error *err)
{
    *cache = (kv_cache){.layout = layout, .total_bytes = total_bytes};
    cache->groups = mem_alloc_zero((size_t)layout->num_groups, sizeof *cache->groups);
    return cache->groups ? LLM_OK : error_no_memory(err, "a sequence");
}

void kv_cache_free(kv_cache *cache)
{
    for (int g = 0; cache->groups && g < cache->layout->num_groups; g++) {
        kv_blocks *blocks = &cache->groups[g];
        for (int i = blocks->first; i < blocks->count; i++) block_release(cache, g, blocks->blocks[i]);
        mem_free(blocks->blocks);
    }
    mem_free(cache->groups);
    *cache = (kv_cache){0};
}

static llm_status reserve_group(kv_cache *cache, int group, int end, llm_error *err)
{
    kv_blocks *blocks = &cache->groups[group];
    int needed = (end + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    if (!mem_grow((void **)&blocks->blocks, &blocks->capacity, (size_t)needed, sizeof(kv_block *)))
        return error_no_memory(err, "the KV cache");
    // The block that new tokens continue may be shared with another sequence: write into an own copy.
    int partial = cache->length / KV_PAGE_TOKENS;
    if (partial < blocks->count && atomic_load(&blocks->blocks[partial]->references) > 1) {
        kv_block *own = block_create(cache, group);
        if (!own) return error_no_memory(err, "the KV cache");
        memcpy(own->data, blocks->blocks[partial]->data, cache->layout->groups[group].block_bytes);
        block_release(cache, group, blocks->blocks[partial]);
        blocks->blocks[partial] = own;
    }
    for (; blocks->count < needed; blocks->count++) {
        kv_block *block = block_create(cache, group);
        if (!block) return error_no_memory(err, "the KV cache");
        blocks->blocks[blocks->count] = block;
    }
    return LLM_OK;
}

llm_status kv_cache_reserve(kv_cache *cache, int tokens, llm_error *err)
{
    llm_status status = LLM_OK;
    for (int g = 0; status == LLM_OK && g < cache->layout->num_groups; g++)
        status = reserve_group(cache, g, cache->length + tokens, err);
    return status;
}

void kv_cache_advance(kv_cache *cache, int tokens) { cache->length += tokens; }

void kv_cache_drop_unseen(kv_cache *cache)
{
    for (int g = 0; g < cache->layout->num_groups; g++) {
        int window = cache->layout->groups[g].window;
        kv_blocks *blocks = &cache->groups[g];
        if (window == 0) continue;
        // The next token, at position `length`, sees positions > length - window.
        int first_seen = cache->length - window + 1;
        while (blocks->first < blocks->count && (blocks->first + 1) * KV_PAGE_TOKENS <= first_seen)
            block_release(cache, g, blocks->blocks[blocks->first++]);
    }
}

bool kv_cache_can_trim(const kv_cache *cache, int length)
{
    if (length == 0 || length == cache->length) return true;
    for (int g = 0; g < cache->layout->num_groups; g++) {
        int window = cache->layout->groups[g].window;
        int first_seen = window ? length - window + 1 : 0;
        if (cache->groups[g].first * KV_PAGE_TOKENS > (first_seen > 0 ? first_seen : 0)) return false;
    }
    return true;
}

void kv_cache_trim(kv_cache *cache, int length)
{
    int keep = (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    for (int g = 0; g < cache->layout->num_groups; g++) {
        kv_blocks *blocks = &cache->groups[g];
        while (blocks->count > keep && blocks->count > blocks->first)
            block_release(cache, g, blocks->blocks[--blocks->count]);
        if (length == 0) blocks->first = blocks->count = 0;
    }
    cache->length = length;
}

llm_status kv_cache_fork(const kv_cache *cache, kv_cache *copy, llm_error *err)
{
    llm_status status = kv_cache_create(copy, cache->layout, cache->total_bytes, err);
    for (int g = 0; status == LLM_OK && g < cache->layout->num_groups; g++) {
        const kv_blocks *from = &cache->groups[g];
        kv_blocks *to = &copy->groups[g];
        if (!mem_grow((void **)&to->blocks, &to->capacity, (size_t)from->count, sizeof(kv_block *))) {
            status = error_no_memory(err, "a sequence");
            break;
        }
        to->first = from->first;
        to->count = from->count;
        for (int i = from->first; i < from->count; i++) {
            to->blocks[i] = from->blocks[i];
            atomic_fetch_add(&to->blocks[i]->references, 1);
        }
    }
    copy->length = cache->length;
    if (status != LLM_OK) kv_cache_free(copy);
    return status;
}

int kv_cache_first_position(const kv_cache *cache, int layer)
{
    return cache->groups[cache->layout->layers[layer].group].first * KV_PAGE_TOKENS;
}

// ---- Access

void *kv_cache_keys(const kv_cache *cache, int layer, int kv_head, int block)
{
    const kv_layer *where = &cache->layout->layers[layer];
    return cache->groups[where->group].blocks[block]->data + where->offset + (size_t)kv_head * where->head_bytes;
}

void *kv_cache_values(const kv_cache *cache, int layer, int kv_head, int block)
{
    return (uint8_t *)kv_cache_keys(cache, layer, kv_head, block) + cache->layout->layers[layer].key_bytes;
}

kv_part_shape kv_layout_part(const kv_layout *layout, int layer, kv_part part)
{
    dtype type = layout->type;
    int dim = layout->layers[layer].head_dim;
    bool scaled = type != DTYPE_F32;
    const kv_part_shape shapes[KV_PARTS] = {
        [KV_KEYS] = {"keys", type, dim},
        [KV_VALUES] = {"values", type, dim},
        [KV_KEY_SCALES] = {"key_scales", DTYPE_F32, scaled ? kv_groups(type, dim) : 0},
        [KV_VALUE_SCALES] = {"value_scales", DTYPE_F32, scaled ? 1 : 0},
    };
    return shapes[part];
}

// Where a head's part begins in the page of a position, and where element `i` of the token lies behind it.
static uint8_t *part_in_page(const kv_cache *cache, int layer, kv_part part, int head, int position)
{
    dtype type = cache->layout->type;
    int page = position / KV_PAGE_TOKENS;
    switch (part) {
    case KV_KEYS: return (uint8_t *)kv_cache_keys(cache, layer, head, page) + kv_key_scale_bytes(type, cache->layout->layers[layer].head_dim);
    case KV_VALUES: return (uint8_t *)kv_cache_values(cache, layer, head, page) + kv_value_scale_bytes(type);
    case KV_KEY_SCALES: return kv_cache_keys(cache, layer, head, page);
    default: return kv_cache_values(cache, layer, head, page);
    }
}

// Element `i` of the token behind its part's beginning.
static size_t element_offset(const kv_layout *layout, int layer, kv_part part, int position, int i)
{
    int dim = layout->layers[layer].head_dim, slot = position % KV_PAGE_TOKENS;
    size_t size = layout->type == DTYPE_I16 ? 1 : dtype_size(layout->type);
    switch (part) {
    case KV_KEYS: return kv_key_at(layout->type, slot, i) * size;
    case KV_VALUES: return kv_value_at(layout->type, dim, slot, i) * size;
    default: return (size_t)(i * KV_PAGE_TOKENS + slot) * sizeof(float);
    }
}

// Where the low byte of a 16-bit element lies.
static size_t low_offset(const kv_layout *layout, int layer, kv_part part, int position, int i)
{
    int dim = layout->layers[layer].head_dim, slot = position % KV_PAGE_TOKENS;
    return part == KV_KEYS ? kv_key_low_at(dim, slot, i) : kv_value_low_at(dim, slot, i);
}

static int clamp(int value, int limit) { return value > limit ? limit : value < -limit ? -limit : value; }

static void element_to_page(dtype type, uint8_t *page, uint8_t *low, const uint8_t *data)
{
    int16_t wide;
    switch (type) {
    case DTYPE_I8: *page = (uint8_t)clamp((int8_t)*data, KV_I8_MAX); break;
    case DTYPE_I16:
        memcpy(&wide, data, sizeof wide);
        *page = (uint8_t)kv_high(clamp(wide, KV_I16_MAX)), *low = (uint8_t)kv_low(clamp(wide, KV_I16_MAX));
        break;
    default: memcpy(page, data, dtype_size(type));
    }
}

static void element_from_page(dtype type, const uint8_t *page, const uint8_t *low, uint8_t *data)
{
    if (type == DTYPE_I16) memcpy(data, &(int16_t){(int16_t)kv_join((int8_t)*page, (int8_t)*low)}, sizeof(int16_t));
    else memcpy(data, page, dtype_size(type));
}

static void copy_part(const kv_cache *cache, int layer, kv_part part, int first, int tokens, uint8_t *data, bool to_page)
{
    kv_part_shape shape = kv_layout_part(cache->layout, layer, part);
    for (int t = 0; t < tokens; t++)
        for (int head = 0; head < cache->layout->layers[layer].num_kv_heads; head++) {
            uint8_t *begin = part_in_page(cache, layer, part, head, first + t);
            for (int i = 0; i < shape.row; i++, data += dtype_size(shape.type)) {
                uint8_t *element = begin + element_offset(cache->layout, layer, part, first + t, i);
                uint8_t *low = shape.type == DTYPE_I16 ? begin + low_offset(cache->layout, layer, part, first + t, i) : NULL;
                if (to_page) element_to_page(shape.type, element, low, data);
                else element_from_page(shape.type, element, low, data);
            }
        }
}

void kv_cache_read(const kv_cache *cache, int layer, kv_part part, void *data)
{
    int first = kv_cache_first_position(cache, layer);
    copy_part(cache, layer, part, first, cache->length - first, data, false);
}

void kv_cache_write(kv_cache *cache, int layer, kv_part part, int first_position, int tokens, const void *data)
{
    copy_part(cache, layer, part, first_position, tokens, (uint8_t *)(uintptr_t)data, true);
}
