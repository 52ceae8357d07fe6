// The adapters beside a loaded model, by name, and which of them a request's sequence goes through.
#ifndef BACKEND_ADAPTERS_H
#define BACKEND_ADAPTERS_H
#include "backend/loaded_model.h"
#include "nn/adapter.h"

// The spec's own adapter. No other has this name, and it stays as long as the model.
#define ADAPTERS_DEFAULT "default"

llm_status adapters_put(loaded_model *model, const char *name, const model_desc *desc, const adapter *a, llm_error *err);
// Reads the model's headers again, which adapters are fitted to. `options` say how much memory there is.
llm_status adapters_add(loaded_model *model, const char *name, const llm_adapter *source, const llm_mlx_options *options, llm_error *err);
llm_status adapters_remove(loaded_model *model, const char *name, llm_error *err);
void adapters_free(loaded_model *model);

// Whether the sequence goes through what it would by default: what another process that has loaded the same spec gives it.
bool adapters_are_default(loaded_model *model, const engine_seq *seq);

// Sets what the config asks for (NULL: as by default) on a sequence, which is emptied if that is something new.
llm_status adapters_use(loaded_model *model, engine_seq *seq, const llm_generation_config *config, llm_error *err);

#endif
