// From an adapter of a spec to the directory that holds it: a directory, a repository of the hub, an asset of
// a GitHub release.
#ifndef MODELS_ADAPTER_SOURCE_H
#define MODELS_ADAPTER_SOURCE_H
#include "models/resolve.h"

// Downloads and unpacks what is missing; what is in the cache is used as it is. *directory holds
// adapter_config.json; owned (mem_free).
llm_status adapter_resolve(const llm_adapter *adapter, llm_progress_function progress, void *user,
                           char **directory, llm_error *err);
llm_status adapter_directory(const llm_adapter *adapter, char **directory,
                             llm_error *err); // the same, without progress
// As adapter_resolve, but asks whether there is something newer.
llm_status adapter_pull(const llm_adapter *adapter, const resolve_watch *watch, char **directory,
                        llm_error *err);
// Without touching the network; LLM_DOWNLOAD_FAILED: it is not in the cache.
llm_status adapter_resolve_cached(const llm_adapter *adapter, char **directory, llm_error *err);
bool adapter_is_cached(const llm_adapter *adapter);

#endif
