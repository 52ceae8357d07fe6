// Short names of models, and what is known of them without having them.
#ifndef MODELS_PRESETS_H
#define MODELS_PRESETS_H
#include "base/error.h"

const llm_preset *preset_find(const char *name);  // also by its other names ("default"); NULL: there is none
char *preset_installed(const char *name);         // the directory under LLMLOCAL_MODELS, if it is there; owned; else NULL

#endif
