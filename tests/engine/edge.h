// Arrays that end where memory ends: an access past the last element faults. And small pseudo-random numbers.
#ifndef TESTS_ENGINE_EDGE_H
#define TESTS_ENGINE_EDGE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct edge {
    void *data, *mapping;
    size_t mapped;
} edge;

static inline edge edge_alloc(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    edge e = {.mapped = body + page};
    e.mapping = mmap(NULL, e.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e.mapping == MAP_FAILED || mprotect((char *)e.mapping + body, page, PROT_NONE) != 0)
        fail_msg("no memory");
    e.data = (char *)e.mapping + body - bytes;
    return e;
}

static inline void edge_free(edge *e)
{
    munmap(e->mapping, e->mapped);
}

static uint64_t random_state = 1;

static inline uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static inline int random_below(int limit)
{
    return (int)(random_bits() % (uint32_t)limit);
}
static inline float random_float(void)
{
    return (float)(int32_t)random_bits() * 0x1p-31f;
} // [-1, 1)

static inline edge edge_random(int count, float scale)
{
    edge e = edge_alloc((size_t)count * sizeof(float));
    for (int i = 0; i < count; i++) ((float *)e.data)[i] = random_float() * scale;
    return e;
}

#endif
