// Option structs start with their size, so that callers built against an older or newer header still work.
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H
#include "base/error.h"

// Copies the caller's struct over `options`, which holds the defaults and is `size` bytes here. Members the
// caller's header does not have yet keep their defaults; members we do not know must be zero. `init` is named
// in the error.
llm_status options_read(void *options, size_t size, const void *from, const char *init, llm_error *err);

#endif
