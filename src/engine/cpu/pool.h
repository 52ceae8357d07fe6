// The thread pool of the CPU engine. The caller works too; idle workers spin for a moment, then sleep.
#ifndef ENGINE_CPU_POOL_H
#define ENGINE_CPU_POOL_H
#include "base/error.h"

typedef struct thread_pool thread_pool;

// item in [0, num_items), thread in [0, num_threads): an index for per-thread scratch
typedef void (*pool_function)(void *arg, int item, int thread);

llm_status thread_pool_create(int num_threads, thread_pool **out, llm_error *err);
void thread_pool_free(thread_pool *pool);
int thread_pool_size(const thread_pool *pool);

// Calls function for every item, on whichever thread is free; returns when all are done. One caller at a time.
// Work must not depend on which thread does an item, so that results do not either.
void thread_pool_run(thread_pool *pool, int num_items, pool_function function, void *arg);

#endif
