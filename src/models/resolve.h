// From the name a user gives to the directory that holds the model.
#ifndef MODELS_RESOLVE_H
#define MODELS_RESOLVE_H
#include "models/hub.h"

// A name is, in this order: a directory; a preset; a GGUF file, which is imported; "owner/name" on the hub,
// or "owner/name/file.gguf" there. What is in the cache and whole is used as it is, without asking the hub.
// What is none of them is LLM_LOAD_FAILED, and the message says what was looked for.

// Downloads what is missing. `progress` may be NULL. *directory is owned (mem_free).
llm_status model_resolve(const llm_model_spec *spec, llm_progress_function progress, void *user,
                         char **directory, llm_error *err);

// Never downloads: a model of the hub that is not in the cache is LLM_DOWNLOAD_FAILED.
llm_status model_resolve_directory(const char *base, char **directory, llm_error *err);
llm_status model_resolve_cached(const llm_model_spec *spec, char **directory, llm_error *err);
// Whether model_resolve and adapter_resolve would get along without the network. Imports nothing.
bool model_is_cached(const llm_model_spec *spec);

// As model_resolve, but asks the hub whether there is something newer, with progress in bytes.
typedef struct resolve_watch {
    const atomic_int *order;                                    // a transfer_order; NULL: always GO
    bool (*progress)(void *user, const hub_progress *progress); // NULL: none; false stops
    void *user;
} resolve_watch;
llm_status model_pull(const llm_model_spec *spec, const resolve_watch *watch, char **directory,
                      llm_error *err);

#endif
