// Engines that are opened at run time: what such a library exports, and how it is found.
#ifndef ENGINE_PLUGIN_H
#define ENGINE_PLUGIN_H
#include "engine/engine.h"

// A plugin exports one of these as `llm_engine_plugin`. It is used only if both versions are the ones of this build:
// what crosses the seam is no stable interface.
typedef struct engine_plugin {
    int api_version;       // ENGINE_API_VERSION
    const char *version;   // LLM_VERSION
    const engine_methods *methods;
} engine_plugin;

#define PLUGIN_EXPORT __attribute__((visibility("default")))

// The methods of libllmlocal-<name>, looked for in the folders of LLMLOCAL_PLUGIN_PATH (separated by colons), beside the
// program or library that holds this code, in ../lib/llmlocal and ../lib/<...>/llmlocal of it, and where it was to be installed. Once
// found it stays open for good. LLM_UNSUPPORTED_FORMAT says why there is none. Any thread.
llm_status plugin_open(const char *name, const engine_methods **methods, llm_error *err);

#endif
