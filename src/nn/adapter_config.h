// What adapter_config.json says, for adapter.c.
#ifndef NN_ADAPTER_CONFIG_H
#define NN_ADAPTER_CONFIG_H
#include "base/json.h"
#include "engine/model_desc.h"

typedef enum adapter_part { PART_A, PART_B, PART_MAGNITUDE, NUM_PARTS } adapter_part;

typedef struct adapter_config {
    bool peft;                // else MLX
    bool dora;
    int64_t rank, num_layers; // num_layers: MLX, the last ones; 0: all
    double scale;             // MLX
    double alpha;             // PEFT
    bool rslora;
    yyjson_val *keys;         // MLX: modules; PEFT: target modules; NULL: any. Strings, checked
    yyjson_val *rank_pattern, *alpha_pattern; // PEFT: module name (its end) -> number; NULL: none
} adapter_config;

// Everything in it borrows from `root`.
llm_status adapter_config_read(yyjson_val *root, adapter_config *config, llm_error *err);

// What an adapter does to one module. `module` is its path as the adapter's own names have it, `block` its layer or -1.
// False: the config leaves this module out.
bool adapter_config_covers(const adapter_config *config, const char *module, int block, int num_blocks);
int64_t adapter_config_rank(const adapter_config *config, const char *module);
double adapter_config_scale(const adapter_config *config, const char *module);

#endif
