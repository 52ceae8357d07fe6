// How much memory a model will take, and whether it is there.
#ifndef MODELS_MEMORY_H
#define MODELS_MEMORY_H
#include "engine/engine.h"
#include "nn/adapter.h"

// The context that is counted when nobody says how much of the model's own will be used.
enum { MEMORY_USUAL_CONTEXT = 4096 };

// Of the model in `directory`, whose files are open, with its adapter (its shapes will do; NULL: none) on this engine. `spec`
// says the context, and perhaps the total.
llm_status memory_estimate(const llm_model_spec *spec, const char *directory, const model_files *files, const adapter *own,
                           engine *device, llm_memory_estimate *estimate, llm_error *err);

// The same, on the engine that `options` (NULL: the defaults) name, with the spec's adapter, which must be on this machine; and
// without open files.
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

// What of the memory a model may take.
uint64_t memory_share(const llm_system_memory *memory);

// The rule of llm_memory_fits as an error: LLM_INSUFFICIENT_MEMORY, with both amounts, unless it fits; without `now` what is
// in use at this moment does not count.
llm_status memory_judge(const llm_memory_estimate *estimate, const llm_system_memory *memory, bool now, llm_error *err);

// The same with what there is now. Where nobody knows how much that is, everything fits, and the log says so.
llm_status memory_check(const llm_memory_estimate *estimate, llm_memory_function function, void *user, llm_error *err);

// Whether another adapter fits beside a model that is loaded: into what is available now.
llm_status memory_check_adapter(const model_desc *desc, const adapter *a, engine *device, llm_memory_function function, void *user,
                                llm_error *err);

#endif
