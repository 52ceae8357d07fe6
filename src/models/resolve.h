// From the name a user gives to the directory that holds the model.
#ifndef MODELS_RESOLVE_H
#define MODELS_RESOLVE_H
#include "base/error.h"

// A directory, or the name of a preset that has been installed. *directory is owned (mem_free). What is neither is
// LLM_LOAD_FAILED and the message says what was looked for.
llm_status model_resolve_directory(const char *base, char **directory, llm_error *err);

#endif
