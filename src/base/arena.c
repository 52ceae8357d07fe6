// Bump allocation in chunks that grow with use.
#include "base/arena.h"
#include "base/mem.h"
#include <stdint.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, capacity;
    _Alignas(16) unsigned char data[];
};

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

void arena_init(arena *a) { *a = (arena){0}; }

static struct arena_chunk *add_chunk(arena *a, size_t size)
{
    size_t capacity = a->chunks ? a->chunks->capacity * 2 : FIRST_CHUNK;
    if (capacity > LARGEST_CHUNK) capacity = LARGEST_CHUNK;
    if (capacity < size) capacity = size;
    if (capacity > SIZE_MAX - sizeof(struct arena_chunk)) return NULL;
    struct arena_chunk *chunk = mem_alloc(sizeof *chunk + capacity);
    if (!chunk) return NULL;
    *chunk = (struct arena_chunk){.next = a->chunks, .capacity = capacity};
    a->chunks = chunk;
    return chunk;
}

void *arena_alloc(arena *a, size_t size)
{
    if (size > SIZE_MAX - 15) return NULL;
    size = (size + 15) & ~(size_t)15;
    struct arena_chunk *chunk = a->chunks;
    if (!chunk || chunk->capacity - chunk->used < size) chunk = add_chunk(a, size);
    if (!chunk) return NULL;
    void *block = chunk->data + chunk->used;
    chunk->used += size;
    a->total += size;
    return memset(block, 0, size);
}

void *arena_alloc_array(arena *a, size_t count, size_t size)
{
    size_t total;
    return mem_multiply(count, size, &total) ? arena_alloc(a, total) : NULL;
}

char *arena_copy(arena *a, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? arena_alloc(a, length + 1) : NULL;
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

void arena_free(arena *a)
{
    for (struct arena_chunk *chunk = a->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        mem_free(chunk);
    }
    arena_init(a);
}
