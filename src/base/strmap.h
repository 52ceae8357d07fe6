// A hash map from byte strings to 32-bit numbers, open addressing. Keys are borrowed: they must outlive the map.
#ifndef BASE_STRMAP_H
#define BASE_STRMAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct strmap_entry {
    const char *key; // NULL: free
    uint32_t length;
    uint32_t value;
    uint64_t hash;
} strmap_entry;

typedef struct strmap {
    strmap_entry *entries;
    size_t mask;  // capacity - 1, a power of two
    size_t count;
} strmap;

bool strmap_init(strmap *map, size_t expected); // false without memory
bool strmap_put(strmap *map, const char *key, size_t length, uint32_t value); // replaces; false without memory
bool strmap_get(const strmap *map, const char *key, size_t length, uint32_t *value);
void strmap_free(strmap *map);

uint64_t hash_bytes(const void *bytes, size_t length); // fast, not for adversaries' files to be trusted by

#endif
