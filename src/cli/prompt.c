// Reading a prompt from the command line or from standard input.
#include "cli/prompt.h"
#include <string.h>

int prompt_read(const char *argument, bool trim, text *prompt)
{
    if (argument && strcmp(argument, "-")) return text_append(prompt, argument, strlen(argument)), GO_ON;
    interrupt_install();
    int code = read_whole("-", prompt);
    if (code != GO_ON) return code;
    if (memchr(prompt->data, 0, prompt->length))
        return fail_with("standard input: the prompt contains a zero byte");
    if (trim && prompt->length && prompt->data[prompt->length - 1] == '\n')
        prompt->data[--prompt->length] = 0;
    return GO_ON;
}
