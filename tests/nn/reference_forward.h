// The meaning of a model description, as plain loops: what families and engines are tested against. Slow on
// purpose.
#ifndef NN_REFERENCE_FORWARD_H
#define NN_REFERENCE_FORWARD_H
#include "engine/engine.h"

// One pass over a whole sequence: logits [num_tokens, vocab_size] of every position. Sums are float64, what
// is kept between parts float32. False without memory, or when a token is out of range.
bool reference_forward(const model_desc *desc, const weight_view *views, const int32_t *tokens,
                       int num_tokens, float *logits);

#endif
