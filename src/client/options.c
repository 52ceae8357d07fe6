// Reading option structs by their size member.
#include "client/options.h"
#include <string.h>

llm_status options_read(void *options, size_t size, const void *from, const char *init, llm_error *err)
{
    size_t given;
    memcpy(&given, from, sizeof given);
    if (given <= sizeof given || given > 1 << 16)
        return error_set(err, LLM_INVALID_ARGUMENT, "size is %zu: fill the struct with %s first", given,
                         init);
    for (size_t i = size; i < given; i++)
        if (((const char *)from)[i])
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "the struct of %s uses a member that this version (%s) does not know", init,
                             LLM_VERSION);
    memcpy(options, from, given < size ? given : size);
    memcpy(options, &size, sizeof size);
    return LLM_OK;
}
