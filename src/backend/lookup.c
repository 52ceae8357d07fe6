// The index of pairs.
#include "backend/lookup.h"
#include "base/mem.h"

enum { MOST_PLACES = 64, FEWEST_HEADS = 1024 };

static size_t head_of(const lookup *l, int32_t first, int32_t second)
{
    uint64_t pair = (uint64_t)(uint32_t)first << 32 | (uint32_t)second;
    return (size_t)((pair * 0x9E3779B97F4A7C15u) >> 32) & (l->num_heads - 1);
}

static void add_pair(lookup *l, const int32_t *tokens, size_t second)
{
    int32_t *head = &l->heads[head_of(l, tokens[second - 1], tokens[second])];
    l->previous[second] = *head;
    *head = (int32_t)second;
}

// Room for `count` tokens; a larger table is filled anew.
static bool reserve(lookup *l, const int32_t *tokens, size_t count)
{
    if (!mem_grow((void **)&l->previous, &l->capacity, count, sizeof *l->previous)) return false;
    if (count <= l->num_heads) return true;
    size_t num_heads = l->num_heads ? l->num_heads : FEWEST_HEADS;
    while (num_heads < count) num_heads *= 2;
    int32_t *heads = mem_alloc_zero(num_heads, sizeof *heads);
    if (!heads) return false;
    for (size_t i = 0; i < num_heads; i++) heads[i] = -1;
    mem_free(l->heads);
    l->heads = heads;
    l->num_heads = num_heads;
    for (size_t i = 1; i < l->indexed; i++) add_pair(l, tokens, i);
    return true;
}

// How many tokens before and at `a` are those before and at `b`; a < b.
static int agreement(const int32_t *tokens, size_t a, size_t b)
{
    int length = 0;
    while (length < LOOKUP_LONGEST && tokens[a] == tokens[b]) {
        length++;
        if (a == 0) break;
        a--, b--;
    }
    return length;
}

int lookup_find(lookup *l, const int32_t *tokens, size_t count, size_t *next)
{
    if (count < LOOKUP_SHORTEST + 1 || count > INT32_MAX) return 0;
    if (!reserve(l, tokens, count)) return -1;
    size_t last = count - 1; // its pair is asked for, and not in the index
    for (size_t i = l->indexed ? l->indexed : 1; i < last; i++) add_pair(l, tokens, i);
    if (l->indexed < last) l->indexed = last;
    int best = 0;
    int32_t place = l->heads[head_of(l, tokens[last - 1], tokens[last])];
    for (int i = 0; place >= 0 && i < MOST_PLACES && best < LOOKUP_LONGEST; i++, place = l->previous[place]) {
        int length = agreement(tokens, (size_t)place, last);
        if (length < LOOKUP_SHORTEST || length <= best) continue;
        best = length;
        *next = (size_t)place + 1;
    }
    return best;
}

void lookup_free(lookup *l)
{
    mem_free(l->heads);
    mem_free(l->previous);
    *l = (lookup){0};
}
