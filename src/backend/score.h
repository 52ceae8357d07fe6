// Log-probabilities of given tokens.
#ifndef BACKEND_SCORE_H
#define BACKEND_SCORE_H
#include "backend/loaded_model.h"

llm_status score_tokens(loaded_model *model, const int32_t *tokens, int num_tokens, int num_top, llm_score_function on_position,
                        void *user, llm_error *err);

#endif
