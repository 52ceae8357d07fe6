// Blocks of keys and values: sharing, dropping, trimming.
#include "engine/cpu/kv.h"
#include "base/mem.h"
#include <string.h>

struct kv_block {
    atomic_int references;
    int pages;          // that have been reserved
    uint8_t *data;
};

// ---- Layout

enum {
    PIECE_BYTES = 64 << 10,  // of a plane of keys in a block: docs/performance.md says what shorter ones cost
    MAX_BLOCK_SHIFT = 4,
    LARGE_BLOCK = 256 << 10, // from here on blocks are the system's own pages: they take memory as they are written, and give it back
    HUGE_BLOCK = 2 << 20,    // from here on huge pages fit in
};

static size_t block_bytes(const kv_group *group) { return group->page_bytes << group->block_shift; }

static int find_group(kv_layout *layout, int window)
{
    int group = 0;
    while (group < layout->num_groups && layout->groups[group].window != window) group++;
    if (group == layout->num_groups) layout->groups[layout->num_groups++] = (kv_group){.window = window, .block_shift = MAX_BLOCK_SHIFT};
    return group;
}

// A group's blocks have as many pages as fit into pieces for its largest heads.
static void describe_layer(kv_layout *layout, kv_layer *layer, const attention_desc *attention)
{
    *layer = (kv_layer){.group = find_group(layout, attention->window), .num_kv_heads = attention->num_kv_heads, .head_dim = attention->head_dim};
    kv_group *group = &layout->groups[layer->group];
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) layer->page_bytes[plane] = kv_plane_bytes(plane, layout->type, layer->head_dim);
    while (group->block_shift > 0 && layer->page_bytes[KV_KEYS] << group->block_shift > PIECE_BYTES) group->block_shift--;
}

// Layer after layer, head after head, plane after plane.
static void place_layer(kv_group *group, kv_layer *layer)
{
    size_t begin = block_bytes(group), page_bytes = 0;
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) {
        layer->planes[plane] = begin + (page_bytes << group->block_shift);
        page_bytes += layer->page_bytes[plane];
    }
    layer->head_bytes = page_bytes << group->block_shift;
    group->page_bytes += page_bytes * (size_t)layer->num_kv_heads;
}

llm_status kv_layout_create(kv_layout *layout, const model_desc *desc, dtype type, llm_error *err)
{
    *layout = (kv_layout){.type = type, .num_layers = desc->num_blocks};
    layout->layers = mem_alloc_zero((size_t)desc->num_blocks, sizeof *layout->layers);
    layout->groups = mem_alloc_zero((size_t)desc->num_blocks, sizeof *layout->groups);
    if (!layout->layers || !layout->groups) {
        kv_layout_free(layout);
        return error_no_memory(err, "the layout of the KV cache");
    }
    for (int i = 0; i < desc->num_blocks; i++) describe_layer(layout, &layout->layers[i], &desc->blocks[i].attention);
    for (int i = 0; i < desc->num_blocks; i++) place_layer(&layout->groups[layout->layers[i].group], &layout->layers[i]);
    return LLM_OK;
}

void kv_layout_free(kv_layout *layout)
{
    mem_free(layout->layers);
    mem_free(layout->groups);
    *layout = (kv_layout){0};
}

static int block_tokens(const kv_group *group) { return KV_PAGE_TOKENS << group->block_shift; }
static int pages_of(int tokens) { return (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS; }
static int blocks_of(const kv_group *group, int tokens) { return (tokens + block_tokens(group) - 1) / block_tokens(group); }

// Whether a block takes all its memory at once: it is not its sequence's first, and huge pages fit in.
static bool is_whole(const kv_group *group, int index) { return index > 0 && block_bytes(group) >= HUGE_BLOCK; }

static uint64_t group_bytes(const kv_group *group, int tokens, int call)
{
    int64_t kept = group->window ? (int64_t)group->window + call + block_tokens(group) - 1 : tokens;
    if (kept > tokens) kept = tokens;
    int blocks = blocks_of(group, (int)kept);
    return is_whole(group, blocks - 1) ? (uint64_t)blocks * block_bytes(group) : (uint64_t)pages_of((int)kept) * group->page_bytes;
}

uint64_t kv_layout_bytes(const kv_layout *layout, int tokens, int call)
{
    uint64_t bytes = 0;
    for (int g = 0; g < layout->num_groups; g++) bytes += group_bytes(&layout->groups[g], tokens, call);
    return bytes;
}

// ---- Blocks

static const kv_group *group_of(const kv_cache *cache, int group) { return &cache->layout->groups[group]; }

static void reserve_pages(const kv_cache *cache, int group, kv_block *block, int pages)
{
    if (pages <= block->pages) return;
    atomic_fetch_add_explicit(cache->total_bytes, group_of(cache, group)->page_bytes * (size_t)(pages - block->pages), memory_order_relaxed);
    block->pages = pages;
}

static kv_block *block_create(const kv_cache *cache, int group, int index)
{
    size_t bytes = block_bytes(group_of(cache, group));
    kv_block *block = mem_alloc(sizeof *block);
    uint8_t *data = bytes < LARGE_BLOCK ? mem_alloc_aligned(64, bytes) : mem_alloc_pages(bytes);
    if (!block || !data) {
        mem_free(block);
        if (bytes < LARGE_BLOCK) mem_free(data);
        else mem_free_pages(data, bytes);
        return NULL;
    }
    // Slots that were never written must not hold signalling garbage: they are masked, not multiplied, but clean.
    if (bytes < LARGE_BLOCK) memset(data, 0, bytes);
    *block = (kv_block){.data = data};
    atomic_init(&block->references, 1);
    if (!is_whole(group_of(cache, group), index)) return block;
    mem_use_huge_pages(data, bytes);
    reserve_pages(cache, group, block, 1 << group_of(cache, group)->block_shift);
    return block;
}

static void block_release(const kv_cache *cache, int group, kv_block *block)
{
    if (!block || atomic_fetch_sub(&block->references, 1) != 1) return;
    atomic_fetch_sub_explicit(cache->total_bytes, group_of(cache, group)->page_bytes * (size_t)block->pages, memory_order_relaxed);
    size_t bytes = block_bytes(group_of(cache, group));
    if (bytes < LARGE_BLOCK) mem_free(block->data);
    else mem_free_pages(block->data, bytes);
    mem_free(block);
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

static void copy_pages(const kv_cache *cache, int group, const kv_block *from, const kv_block *to, int pages)
{
    for (int i = 0; i < cache->layout->num_layers; i++) {
        const kv_layer *layer = &cache->layout->layers[i];
        for (int head = 0; layer->group == group && head < layer->num_kv_heads; head++)
            for (kv_plane plane = 0; plane < KV_PLANES; plane++) {
                size_t at = layer->planes[plane] + layer->head_bytes * (size_t)head;
                memcpy(to->data + at, from->data + at, layer->page_bytes[plane] * (size_t)pages);
            }
    }
}

// The block that new tokens continue may be shared with another sequence, which goes on with it.
static llm_status own_last_block(kv_cache *cache, int group, llm_error *err)
{
    int tokens = block_tokens(group_of(cache, group)), last = cache->length / tokens, pages = pages_of(cache->length % tokens);
    kv_blocks *blocks = &cache->groups[group];
    if (last >= blocks->count || atomic_load(&blocks->blocks[last]->references) == 1) return LLM_OK;
    kv_block *own = block_create(cache, group, last);
    if (!own) return error_no_memory(err, "the KV cache");
    copy_pages(cache, group, blocks->blocks[last], own, pages);
    reserve_pages(cache, group, own, pages);
    block_release(cache, group, blocks->blocks[last]);
    blocks->blocks[last] = own;
    return LLM_OK;
}

static llm_status reserve_group(kv_cache *cache, int group, int end, llm_error *err)
{
    const kv_group *shape = group_of(cache, group);
    kv_blocks *blocks = &cache->groups[group];
    int needed = blocks_of(shape, end);
    if (!mem_grow((void **)&blocks->blocks, &blocks->capacity, (size_t)needed, sizeof(kv_block *)))
        return error_no_memory(err, "the KV cache");
    llm_status status = own_last_block(cache, group, err);
    if (status != LLM_OK) return status;
    for (; blocks->count < needed; blocks->count++) {
        kv_block *block = block_create(cache, group, blocks->count);
        if (!block) return error_no_memory(err, "the KV cache");
        blocks->blocks[blocks->count] = block;
    }
    for (int i = cache->length / block_tokens(shape); i < needed; i++) {
        int pages = pages_of(end - i * block_tokens(shape)), all = 1 << shape->block_shift;
        reserve_pages(cache, group, blocks->blocks[i], pages < all ? pages : all);
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
        int window = group_of(cache, g)->window, tokens = block_tokens(group_of(cache, g));
        kv_blocks *blocks = &cache->groups[g];
        if (window == 0) continue;
        // The next token, at position `length`, sees positions > length - window.
        int first_seen = cache->length - window + 1;
        while (blocks->first < blocks->count && (blocks->first + 1) * tokens <= first_seen)
            block_release(cache, g, blocks->blocks[blocks->first++]);
    }
}

bool kv_cache_can_trim(const kv_cache *cache, int length)
{
    if (length == 0 || length == cache->length) return true;
    for (int g = 0; g < cache->layout->num_groups; g++) {
        int window = group_of(cache, g)->window;
        int first_seen = window ? length - window + 1 : 0;
        if (cache->groups[g].first * block_tokens(group_of(cache, g)) > (first_seen > 0 ? first_seen : 0)) return false;
    }
    return true;
}

void kv_cache_trim(kv_cache *cache, int length)
{
    for (int g = 0; g < cache->layout->num_groups; g++) {
        int keep = blocks_of(group_of(cache, g), length);
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
        int count = blocks_of(group_of(cache, g), cache->length); // not what has been reserved behind the last token
        if (!mem_grow((void **)&to->blocks, &to->capacity, (size_t)count, sizeof(kv_block *))) {
            status = error_no_memory(err, "a sequence");
            break;
        }
        to->first = from->first;
        to->count = count;
        for (int i = from->first; i < count; i++) {
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
    int group = cache->layout->layers[layer].group;
    return cache->groups[group].first * block_tokens(group_of(cache, group));
}

// ---- Access

kv_page kv_cache_page(const kv_cache *cache, int layer, int kv_head, int page)
{
    const kv_layer *where = &cache->layout->layers[layer];
    int shift = group_of(cache, where->group)->block_shift, in_block = page & ((1 << shift) - 1);
    uint8_t *head = cache->groups[where->group].blocks[page >> shift]->data + where->head_bytes * (size_t)kv_head;
    void *planes[KV_PLANES];
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) planes[plane] = head + where->planes[plane] + where->page_bytes[plane] * (size_t)in_block;
    return kv_page_of(planes);
}

// In a block, a plane of the next page lies behind that of the last one.
void kv_cache_pages(const kv_cache *cache, int layer, int kv_head, int first, int count, kv_page *pages)
{
    const kv_layer *where = &cache->layout->layers[layer];
    const size_t *bytes = where->page_bytes;
    int mask = (1 << group_of(cache, where->group)->block_shift) - 1;
    for (int i = 0; i < count; i++) {
        if (i == 0 || ((first + i) & mask) == 0) {
            pages[i] = kv_cache_page(cache, layer, kv_head, first + i);
            continue;
        }
        const kv_page *last = &pages[i - 1];
        pages[i] = (kv_page){
            .keys = (uint8_t *)last->keys + bytes[KV_KEYS],
            .values = (uint8_t *)last->values + bytes[KV_VALUES],
            .key_scales = last->key_scales + bytes[KV_KEY_SCALES] / sizeof(float),
            .value_scales = last->value_scales + bytes[KV_VALUE_SCALES] / sizeof(float),
            .low_keys = last->low_keys + bytes[KV_LOW_KEYS],
            .low_values = last->low_values + bytes[KV_LOW_VALUES],
        };
    }
}

kv_part_shape kv_layout_part(const kv_layout *layout, int layer, kv_plane part)
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

// Where element `i` of a token lies in its plane.
static size_t element_offset(dtype type, int head_dim, kv_plane part, int slot, int i)
{
    size_t size = type == DTYPE_F32 ? sizeof(float) : 1;
    switch (part) {
    case KV_KEYS: return kv_key_at(type, slot, i) * size;
    case KV_VALUES: return kv_value_at(type, head_dim, slot, i) * size;
    default: return (size_t)(i * KV_PAGE_TOKENS + slot) * sizeof(float);
    }
}

static int8_t *low_byte(const kv_page *page, int head_dim, kv_plane part, int slot, int i)
{
    return part == KV_KEYS ? page->low_keys + kv_low_key_at(head_dim, slot, i) : page->low_values + kv_value_at(DTYPE_I16, head_dim, slot, i);
}

static int clamp(int value, int limit) { return value > limit ? limit : value < -limit ? -limit : value; }

static void element_to_page(dtype type, uint8_t *page, int8_t *low, const uint8_t *data)
{
    int16_t wide;
    switch (type) {
    case DTYPE_I8: *page = (uint8_t)clamp((int8_t)*data, KV_I8_MAX); break;
    case DTYPE_I16:
        memcpy(&wide, data, sizeof wide);
        *page = (uint8_t)kv_high(clamp(wide, KV_I16_MAX)), *low = (int8_t)kv_low(clamp(wide, KV_I16_MAX));
        break;
    default: memcpy(page, data, dtype_size(type));
    }
}

static void element_from_page(dtype type, const uint8_t *page, const int8_t *low, uint8_t *data)
{
    if (type == DTYPE_I16) memcpy(data, &(int16_t){(int16_t)kv_join((int8_t)*page, *low)}, sizeof(int16_t));
    else memcpy(data, page, dtype_size(type));
}

static void copy_part(const kv_cache *cache, int layer, kv_plane part, int first, int tokens, uint8_t *data, bool to_page)
{
    kv_part_shape shape = kv_layout_part(cache->layout, layer, part);
    int dim = cache->layout->layers[layer].head_dim;
    for (int position = first; position < first + tokens; position++)
        for (int head = 0; head < cache->layout->layers[layer].num_kv_heads; head++) {
            kv_page page = kv_cache_page(cache, layer, head, position / KV_PAGE_TOKENS);
            uint8_t *plane = kv_plane_of(&page, part);
            int slot = position % KV_PAGE_TOKENS;
            for (int i = 0; i < shape.row; i++, data += dtype_size(shape.type)) {
                uint8_t *element = plane + element_offset(cache->layout->type, dim, part, slot, i);
                int8_t *low = shape.type == DTYPE_I16 ? low_byte(&page, dim, part, slot, i) : NULL;
                if (to_page) element_to_page(shape.type, element, low, data);
                else element_from_page(shape.type, element, low, data);
            }
        }
}

void kv_cache_read(const kv_cache *cache, int layer, kv_plane part, void *data)
{
    int first = kv_cache_first_position(cache, layer);
    copy_part(cache, layer, part, first, cache->length - first, data, false);
}

void kv_cache_write(kv_cache *cache, int layer, kv_plane part, int first_position, int tokens, const void *data)
{
    copy_part(cache, layer, part, first_position, tokens, (uint8_t *)(uintptr_t)data, true);
}
