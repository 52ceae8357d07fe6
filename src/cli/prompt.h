// Where prompts come from.
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H
#include "cli/cli.h"

// `argument` itself, or all of standard input when that is NULL or "-", without the line feed at its end if
// `trim`. GO_ON, or an exit code after a message.
int prompt_read(const char *argument, bool trim, text *prompt);

#endif
