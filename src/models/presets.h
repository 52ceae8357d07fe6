// Short names of models, and what is known of them without having them.
#ifndef MODELS_PRESETS_H
#define MODELS_PRESETS_H
#include "base/error.h"

typedef struct model_preset {
    llm_preset about;
    const char *folder; // under LLMLOCAL_MODELS or the user's data directory, where something installs it;
                        // NULL: only the hub has it
} model_preset;

const model_preset *preset_find(const char *name);  // NULL: there is none
char *preset_directory(const model_preset *preset); // where it would be installed; owned; NULL: nowhere

#endif
