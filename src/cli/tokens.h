// Token lists from files and arguments, for scoring.
#ifndef CLI_TOKENS_H
#define CLI_TOKENS_H
#include "cli/cli.h"

// The tokens of a text file, special ones added as for plain text. *tokens is owned (free). GO_ON, or an exit
// code after a message.
int tokens_of_file(const char *model, const char *path, int32_t **tokens, int *count);

// "1,2,3". *tokens is owned (free); false when it is no such list.
bool tokens_of_list(const char *list, int32_t **tokens, int *count);

#endif
