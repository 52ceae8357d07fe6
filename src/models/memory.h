// How much memory a model will take, and whether it is there.
#ifndef MODELS_MEMORY_H
#define MODELS_MEMORY_H
#include "engine/engine.h"
#include "nn/model.h"

// The context that is counted when nobody says how much of the model's own will be used.
enum { MEMORY_USUAL_CONTEXT = 4096 };

// Of the model in `directory`, whose files are open, on this engine. `spec` says the context, and perhaps the total.
llm_status memory_estimate(const llm_model_spec *spec, const char *directory, const model_files *files, engine *device,
                           llm_memory_estimate *estimate, llm_error *err);

// The same, on the engine that `options` (NULL: the defaults) name; and without open files.
llm_status memory_estimate_files(const llm_model_spec *spec, const llm_mlx_options *options, const char *directory,
                                 const model_files *files, llm_memory_estimate *estimate, llm_error *err);
llm_status memory_estimate_spec(const llm_model_spec *spec, const llm_mlx_options *options, llm_memory_estimate *estimate,
                                llm_error *err);

// The longest context with which the model's estimate stays within `limit` bytes, at most what the model was made for;
// 0: none.
llm_status memory_longest_context(const llm_model_spec *spec, const llm_mlx_options *options, uint64_t limit, int *tokens,
                                  llm_error *err);

// Asks `function`, or the machine where that is NULL.
llm_status memory_read(llm_memory_function function, void *user, llm_system_memory *memory, llm_error *err);

// LLM_INSUFFICIENT_MEMORY, with both amounts, when the estimate is more than `available` bytes; `what` says what those are.
llm_status memory_compare(const llm_memory_estimate *estimate, uint64_t available, const char *what, llm_error *err);

// The same with what is available now. Where nobody knows how
// much that is, everything fits, and the log says so.
llm_status memory_check(const llm_memory_estimate *estimate, llm_memory_function function, void *user, llm_error *err);

#endif
