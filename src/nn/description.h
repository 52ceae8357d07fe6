// config.json to model_desc: picks the family by model_type and lets it describe the model.
#ifndef NN_DESCRIPTION_H
#define NN_DESCRIPTION_H
#include "engine/model_desc.h"
#include "formats/safetensors.h"
#include "nn/config.h"

// `files` tells which tensors exist (some families tie the head when it is not stored); NULL: as the config
// alone says. An unknown family or feature is LLM_UNSUPPORTED_FORMAT naming it; a missing or impossible
// number LLM_LOAD_FAILED naming the key. The description is checked (model_desc_check) and does not depend on
// `config` afterwards.
llm_status description_build(const model_config *config, const safetensors_model *files, model_desc *desc,
                             llm_error *err);

int description_families(const char **names, int capacity); // model types known; returns how many there are

#endif
