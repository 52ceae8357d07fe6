// The one thread that calls MLX, whose streams belong to threads. It starts with the first call and then waits for more
// as long as the process lives: what MLX keeps for each thread (streams, compiled kernels) is made once.
#ifndef ENGINE_MLX_WORKER_H
#define ENGINE_MLX_WORKER_H
#include "base/error.h"

// Runs function(arg) on the thread and waits for its end. Any thread; calls from several run one after another. A
// failure means that there is no thread, and nothing ran.
llm_status worker_call(void (*function)(void *arg), void *arg, llm_error *err);

#endif
