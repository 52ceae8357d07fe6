// Options about how to generate.
#ifndef CLI_GENERATION_H
#define CLI_GENERATION_H
#include "cli/cli.h"

typedef struct generation_options {
    llm_generation_config config; // its lists are ours
    const char **stop;
    llm_logit_bias *logit_bias;
    const char *system;
    bool quiet, no_reasoning;
} generation_options;

extern const option generation_option_table[19];

void generation_init(generation_options *options);
int generation_check(const generation_options *options); // GO_ON, or the exit code after a message
void generation_free(generation_options *options);

#endif
