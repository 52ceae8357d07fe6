// Open addressing with linear probing, at most 1/2 full. The hash is seeded per process, so that a hostile
// vocabulary cannot be built to collide.
#include "base/strmap.h"
#include "base/mem.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

static uint64_t process_seed(void)
{
    static _Atomic uint64_t seed;
    uint64_t value = atomic_load_explicit(&seed, memory_order_relaxed);
    if (value) return value;
    uint64_t fresh = 0;
    if (getrandom(&fresh, sizeof fresh, GRND_NONBLOCK) != (ssize_t)sizeof fresh) fresh = (uint64_t)(uintptr_t)&seed;
    fresh |= 1;
    return atomic_compare_exchange_strong(&seed, &value, fresh) ? fresh : value;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t read_64(const unsigned char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

uint64_t hash_bytes(const void *bytes, size_t length)
{
    const unsigned char *s = bytes;
    uint64_t hash = process_seed() ^ length, tail = 0;
    for (; length >= 8; s += 8, length -= 8) hash = mix(hash ^ read_64(s), 0x9E3779B97F4A7C15u);
    if (length) memcpy(&tail, s, length);
    return mix(hash ^ tail ^ 0xD6E8FEB86659FD93u, 0xA0761D6478BD642Fu);
}

static bool allocate(strmap *map, size_t capacity)
{
    map->entries = mem_alloc_zero(capacity, sizeof *map->entries);
    map->mask = capacity - 1;
    return map->entries != NULL;
}

bool strmap_init(strmap *map, size_t expected)
{
    size_t capacity = 16;
    *map = (strmap){0};
    while (capacity / 2 < expected && capacity < (SIZE_MAX >> 8)) capacity *= 2;
    return allocate(map, capacity);
}

static strmap_entry *slot(const strmap *map, const char *key, size_t length, uint64_t hash)
{
    for (size_t i = hash & map->mask;; i = (i + 1) & map->mask) {
        strmap_entry *entry = &map->entries[i];
        if (!entry->key) return entry;
        if (entry->hash == hash && entry->length == length && memcmp(entry->key, key, length) == 0) return entry;
    }
}

static bool grow(strmap *map)
{
    strmap larger = {.count = map->count};
    if (!allocate(&larger, (map->mask + 1) * 2)) return false;
    for (size_t i = 0; i <= map->mask; i++) {
        const strmap_entry *entry = &map->entries[i];
        if (entry->key) *slot(&larger, entry->key, entry->length, entry->hash) = *entry;
    }
    mem_free(map->entries);
    *map = larger;
    return true;
}

bool strmap_put(strmap *map, const char *key, size_t length, uint32_t value)
{
    if (length > UINT32_MAX || ((map->count + 1) * 2 > map->mask + 1 && !grow(map))) return false;
    uint64_t hash = hash_bytes(key, length);
    strmap_entry *entry = slot(map, key, length, hash);
    if (!entry->key) map->count++;
    *entry = (strmap_entry){key, (uint32_t)length, value, hash};
    return true;
}

bool strmap_get(const strmap *map, const char *key, size_t length, uint32_t *value)
{
    if (!map->entries) return false;
    const strmap_entry *entry = slot(map, key, length, hash_bytes(key, length));
    if (!entry->key) return false;
    *value = entry->value;
    return true;
}

void strmap_free(strmap *map)
{
    mem_free(map->entries);
    *map = (strmap){0};
}
