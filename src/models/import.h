// GGUF files as models: each is converted once into our own cache, and found there from then on.
#ifndef MODELS_IMPORT_H
#define MODELS_IMPORT_H
#include "models/hub_settings.h"

// The directory of the imported model, owned. A file that has changed since is imported anew. Blocks while
// another process imports the same.
llm_status import_gguf(const hub_settings *settings, const char *path, llm_progress_function progress,
                       void *user, char **directory, llm_error *err);

char *
import_folder(const hub_settings *settings); // where imports are: <name>/ and <name>.json beside it; owned
// The file that an import (<name>.json) came from, owned; NULL: unknown.
char *import_source(const char *folder, const char *name);

#endif
