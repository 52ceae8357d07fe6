// Bump allocation for things that die together. Not thread-safe; blocks are aligned to 16 bytes.
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>

typedef struct arena {
    struct arena_chunk *chunks; // newest first
    size_t total;               // bytes handed out so far, for limits on untrusted input
} arena;

void arena_init(arena *a);
void *arena_alloc(arena *a, size_t size);                      // cleared; NULL on failure
void *arena_alloc_array(arena *a, size_t count, size_t size);  // cleared; NULL on overflow or failure
char *arena_copy(arena *a, const char *text, size_t length);   // adds a final NUL
void arena_free(arena *a);                                     // frees everything; the arena can be used again

#endif
