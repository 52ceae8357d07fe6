// SHA-256, SHA-1, and git's name of a file's content.
#ifndef MODELS_DIGEST_H
#define MODELS_DIGEST_H
#include "base/error.h"

typedef enum digest_kind { DIGEST_NONE, DIGEST_SHA256, DIGEST_GIT_SHA1 } digest_kind;

enum { DIGEST_TEXT = 65 }; // hexadecimal with its NUL

typedef struct digest {
    void *context; // NULL: nothing is computed
} digest;

// `size` is that of the whole content, which git's name begins with.
llm_status digest_begin(digest *d, digest_kind kind, uint64_t size, llm_error *err);
void digest_add(digest *d, const void *bytes, size_t length);
void digest_end(digest *d, char text[DIGEST_TEXT]); // lower-case hexadecimal, "" for DIGEST_NONE; frees
void digest_free(digest *d);

// The kind that a hexadecimal text of this length is of; DIGEST_NONE when it is none.
digest_kind digest_kind_of(const char *text);

#endif
