// The settings of llm_generation_config as options.
#include "cli/generation.h"
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *add_stop(void *target, const char *value)
{
    generation_options *options = target;
    int count = options->config.num_stop;
    options->stop = grow_or_exit(options->stop, (size_t)count + 1, sizeof *options->stop);
    options->stop[count] = value;
    options->config.stop = options->stop;
    options->config.num_stop++;
    return NULL;
}

static const char *add_logit_bias(void *target, const char *value)
{
    generation_options *options = target;
    char *end, *bias_end;
    errno = 0;
    long token = strtol(value, &end, 10);
    if (end == value || *end != '=' || errno || token < 0 || token > INT_MAX) return "is not ID=X";
    float bias = strtof(end + 1, &bias_end);
    if (bias_end == end + 1 || *bias_end) return "is not ID=X";
    int count = options->config.num_logit_bias;
    options->logit_bias = grow_or_exit(options->logit_bias, (size_t)count + 1, sizeof *options->logit_bias);
    options->logit_bias[count] = (llm_logit_bias){(int32_t)token, bias};
    options->config.logit_bias = options->logit_bias;
    options->config.num_logit_bias++;
    return NULL;
}

#define AT(member) offsetof(generation_options, config.member)

const option generation_option_table[19] = {
    {0, "max-tokens", "N", OPTION_INT, AT(max_tokens), "Tokens of an answer at most; 1024.", NULL},
    {0, "temperature", "X", OPTION_FLOAT, AT(temperature),
     "How freely to choose; 0.7; 0: always the likeliest.", NULL},
    {0, "top-p", "X", OPTION_FLOAT, AT(top_p), "Choose among the likeliest with this total; 0.9; 1: off.",
     NULL},
    {0, "top-k", "N", OPTION_INT, AT(top_k), "Choose among this many; 0: off.", NULL},
    {0, "min-p", "X", OPTION_FLOAT, AT(min_p), "Least share of the likeliest one's probability; 0: off.",
     NULL},
    {0, "repetition-penalty", "X", OPTION_FLOAT, AT(repetition_penalty),
     "Against tokens seen lately; 1: off.", NULL},
    {0, "presence-penalty", "X", OPTION_FLOAT, AT(presence_penalty),
     "Subtracted from tokens seen lately; 0: off.", NULL},
    {0, "frequency-penalty", "X", OPTION_FLOAT, AT(frequency_penalty),
     "Likewise, for each time seen; 0: off.", NULL},
    {0, "penalty-window", "N", OPTION_INT, AT(penalty_window), "Tokens that count as lately; 64.", NULL},
    {0, "seed", "N", OPTION_SEED, AT(seed), "The same answer every time; 0: a fresh seed.", NULL},
    {0, "stop", "TEXT", OPTION_CALL, 0, "End the answer before this text; may be repeated.", add_stop},
    {0, "logit-bias", "ID=X", OPTION_CALL, 0, "Add X to a token's logit; -inf forbids it; may be repeated.",
     add_logit_bias},
    {0, "template-json", "OBJECT", OPTION_TEXT, AT(template_json), "Variables for the chat template.", NULL},
    {0, "ignore-end", NULL, OPTION_FLAG, AT(ignore_end), "Go on after the model's end token.", NULL},
    {0, "speculate", "N", OPTION_INT, AT(speculate),
     "Verify up to N tokens at once where the text repeats itself; 0: off.", NULL},
    {0, "logprobs", "N", OPTION_INT, AT(logprobs), "Log-probabilities of the N likeliest tokens (--json).",
     NULL},
    {0, "system", "TEXT", OPTION_TEXT, offsetof(generation_options, system), "The system prompt.", NULL},
    {0, "no-reasoning", NULL, OPTION_FLAG, offsetof(generation_options, no_reasoning), "Do not show the model's reasoning.", NULL},
    {'q', "quiet", NULL, OPTION_FLAG, offsetof(generation_options, quiet), "No statistics.", NULL},
};

void generation_init(generation_options *options)
{
    *options = (generation_options){0};
    llm_generation_config_init(&options->config);
}

int generation_check(const generation_options *options)
{
    llm_error err;
    return llm_generation_config_check(&options->config, &err) == LLM_OK ? GO_ON : fail(&err);
}

void generation_free(generation_options *options)
{
    free(options->stop);
    free(options->logit_bias);
}
