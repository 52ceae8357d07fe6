// A plugin of another version, which must be refused.
#include "engine/plugin.h"

static const engine_methods methods = {.api_version = ENGINE_API_VERSION, .name = "mlx"};

PLUGIN_EXPORT extern const engine_plugin llm_engine_plugin;
const engine_plugin llm_engine_plugin = {ENGINE_API_VERSION + 1, "9.9.9", &methods};
