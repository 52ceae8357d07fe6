// Checked allocation over malloc, with a switch that makes allocations fail for tests.
#include "base/mem.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long allocations_left = -1; // -1: no limit
static atomic_long allocations_made = 0;

static bool allowed(void)
{
    atomic_fetch_add_explicit(&allocations_made, 1, memory_order_relaxed);
    long left = atomic_load_explicit(&allocations_left, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak(&allocations_left, &left, left - 1)) return true;
    return left < 0;
}

void mem_fail_after(long count) { atomic_store(&allocations_left, count < 0 ? -1 : count); }
long mem_allocation_count(void) { return atomic_load(&allocations_made); }

bool mem_multiply(size_t a, size_t b, size_t *product) { return !__builtin_mul_overflow(a, b, product); }
bool mem_add(size_t a, size_t b, size_t *sum) { return !__builtin_add_overflow(a, b, sum); }

void *mem_alloc(size_t size) { return allowed() ? malloc(size ? size : 1) : NULL; }

void *mem_alloc_zero(size_t count, size_t size)
{
    size_t total;
    if (!mem_multiply(count, size, &total) || !allowed()) return NULL;
    return calloc(1, total ? total : 1);
}

void *mem_realloc(void *block, size_t count, size_t size)
{
    size_t total;
    if (!mem_multiply(count, size, &total) || !allowed()) return NULL;
    return realloc(block, total ? total : 1);
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    size_t padded;
    if (!mem_add(size, alignment - 1, &padded) || !allowed()) return NULL;
    padded &= ~(alignment - 1);
    return aligned_alloc(alignment, padded ? padded : alignment);
}

void mem_use_huge_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
    madvise(block, size, MADV_HUGEPAGE); // a wish: without it all works, slower
#else
    (void)block, (void)size;
#endif
}

// One entry of the processor's address cache covers a huge page: streaming through small pages waits for walks of the
// page table.
void *mem_alloc_large(size_t size)
{
    const size_t huge = (size_t)2 << 20;
    void *block = mem_alloc_aligned(size < huge ? 64 : huge, size);
    if (block && size >= huge) mem_use_huge_pages(block, size);
    return block;
}

void *mem_alloc_pages(size_t size)
{
    if (!allowed()) return NULL;
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void mem_free_pages(void *block, size_t size)
{
    if (block) munmap(block, size);
}

char *mem_copy_bytes(const void *bytes, size_t length)
{
    char *copy = length < SIZE_MAX ? mem_alloc(length + 1) : NULL;
    if (!copy) return NULL;
    if (length) memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

char *mem_copy_string(const char *text) { return mem_copy_bytes(text, strlen(text)); }
void mem_free(void *block) { free(block); }

bool mem_grow(void **items, size_t *capacity, size_t needed, size_t item_size)
{
    if (needed <= *capacity) return true;
    size_t wanted = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (wanted < needed) wanted = needed;
    void *grown = mem_realloc(*items, wanted, item_size);
    if (!grown) return false;
    *items = grown;
    *capacity = wanted;
    return true;
}
