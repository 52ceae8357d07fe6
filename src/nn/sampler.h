// Logits to a token, as mlx-lm orders it: logit bias, repetition, presence and frequency penalties change the
// logits; log-probabilities are theirs (log-softmax, before temperature and filters); then top-p, min-p and
// top-k keep a set, and temperature shapes the draw from it. All arithmetic is float32 and float64 in a fixed
// order without library functions: the same logits, options and seed give the same tokens on any machine.
#ifndef NN_SAMPLER_H
#define NN_SAMPLER_H
#include "base/error.h"

enum { SAMPLER_MAX_TOP_LOGPROBS = 100 };

typedef struct sampler_bias {
    int32_t token;
    float bias; // added to its logit; -INFINITY forbids it
} sampler_bias;

typedef struct sampler_options {
    float temperature; // 0: always the most likely token (the lowest id among equals); filters have no effect
    float top_p;       // smallest set that holds this much probability, at temperature 1; 0 or >= 1: off
    float min_p;       // at least this share of the most likely token's probability; 0: off
    int top_k;         // 0: off
    float repetition_penalty; // positive logits are divided, negative multiplied by it; 0 or 1: off
    float presence_penalty;   // subtracted once for a token that occurred; 0: off
    float frequency_penalty;  // subtracted for each occurrence; 0: off
    int repetition_context, presence_context, frequency_context; // latest tokens looked at; 0: all
    const sampler_bias *biases;                                  // copied
    int num_biases;
    uint64_t seed;
    bool logprobs;    // fill sampler_result.logprob
    int top_logprobs; // fill that many of sampler_result.top; implies logprobs
} sampler_options;

void sampler_options_init(
    sampler_options *options); // temperature 0, everything off, contexts of 20 tokens as mlx-lm has

typedef struct sampler_logprob {
    int32_t token;
    float logprob;
} sampler_logprob;

typedef struct sampler_result {
    int32_t token;
    float logprob; // natural logarithm; NAN when not asked for
    const sampler_logprob
        *top; // [num_top], most likely first, equals by id; valid until the sampler's next call
    int num_top;
} sampler_result;

typedef struct sampler sampler; // one timeline's random state and scratch memory; not shared between threads

// LLM_INVALID_ARGUMENT names the option that is out of range.
llm_status sampler_create(const sampler_options *options, int vocab_size, sampler **out, llm_error *err);
void sampler_free(sampler *s);

// Draws from logits [vocab_size], which it changes (bias and penalties). `history` is the timeline so far,
// prompt included. Logits with a NaN, +infinity, or nothing but -infinity are LLM_INTERNAL_ERROR. Allocates
// nothing.
llm_status sampler_sample(sampler *s, float *logits, const int32_t *history, size_t history_length,
                          sampler_result *result, llm_error *err);

uint64_t sampler_draws(const sampler *s);          // random numbers used so far
void sampler_seek(sampler *s, uint64_t num_draws); // continues as if it had used that many

#endif
