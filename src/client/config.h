// Generation settings: checking a caller's and keeping them.
#ifndef CLIENT_CONFIG_H
#define CLIENT_CONFIG_H
#include "base/arena.h"
#include "base/error.h"

// A checked copy of `config` (NULL: the defaults) with all it points to, in `memory`; *copy lives as long as
// that does. An unusable member is LLM_INVALID_ARGUMENT and the message names it, its value and its range.
llm_status config_copy(arena *memory, const llm_generation_config *config, const llm_generation_config **copy,
                       llm_error *err);

#endif
