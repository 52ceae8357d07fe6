// Checked allocation. All of the library's memory comes from here, so that tests can fail any allocation.
// Every function returns NULL on failure; mem_free(NULL) does nothing.
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t size);                               // not cleared
void *mem_alloc_zero(size_t count, size_t size);            // cleared; NULL if count * size overflows
void *mem_realloc(void *block, size_t count, size_t size);  // NULL (block kept) if it overflows or fails
void *mem_alloc_aligned(size_t alignment, size_t size);     // not cleared; alignment a power of two >= sizeof(void *)
void *mem_alloc_large(size_t size);                         // not cleared, 64-byte aligned; on huge pages where the system has them
// Cleared, straight from the system, and back to it at once when it is freed with its size: for large blocks that come
// and go on many threads, whose heaps would keep tens of megabytes of them.
void *mem_alloc_pages(size_t size);
void mem_use_huge_pages(void *block, size_t size); // of such a block, before it is written: where the system has them
void mem_free_pages(void *block, size_t size);
char *mem_copy_string(const char *text);
char *mem_copy_bytes(const void *bytes, size_t length);     // adds a final NUL
void mem_free(void *block);

// Grows an array geometrically so that it holds `needed` items: *items and *capacity are updated on success.
bool mem_grow(void **items, size_t *capacity, size_t needed, size_t item_size);

bool mem_multiply(size_t a, size_t b, size_t *product);     // false on overflow
bool mem_add(size_t a, size_t b, size_t *sum);              // false on overflow

// Test hook: lets `count` more allocations succeed, then fails every one; a negative count switches it off.
void mem_fail_after(long count);
long mem_allocation_count(void); // allocations asked for since the start

#endif
