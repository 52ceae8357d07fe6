// Tells models apart by their content, so that a saved session is not given to another one.
#ifndef BACKEND_FINGERPRINT_H
#define BACKEND_FINGERPRINT_H
#include "nn/adapter.h"

enum { FINGERPRINT_SIZE = 17 }; // 16 hexadecimal digits and a NUL

// Of the configuration, every tensor's name, shape, type and quantisation, and samples of every tensor's bytes; of the
// adapter that the model has from its spec, too (a zeroed one: none). Reads a few hundred bytes a tensor. The same on every machine; not made to withstand forgers.
llm_status model_fingerprint(const char *directory, const model_files *files, const adapter *own, char text[FINGERPRINT_SIZE],
                             llm_error *err);

#endif
