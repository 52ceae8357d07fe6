// Where an adapter's files are.
#ifndef MODELS_ADAPTER_SOURCE_H
#define MODELS_ADAPTER_SOURCE_H
#include "base/error.h"

// The directory that holds it; owned (mem_free). The adapter is of some kind, and checked (client/spec.h).
llm_status adapter_directory(const llm_adapter *adapter, char **directory, llm_error *err);

#endif
