// Unpacking zip and tar.gz files of strangers: nothing outside the folder, no links, bounded in number and
// size.
#ifndef MODELS_ARCHIVE_H
#define MODELS_ARCHIVE_H
#include "base/error.h"

typedef struct archive_limits {
    uint64_t bytes; // of all files together, unpacked
    size_t entries;
} archive_limits;

// Into `folder`, which exists and is empty. An archive that breaks a rule is LLM_LOAD_FAILED naming the
// entry, what is no archive LLM_UNSUPPORTED_FORMAT; the caller removes the folder then. `stop` (may be NULL)
// is asked now and then: true is LLM_CANCELLED. `name` is for messages.
llm_status archive_unpack(const char *path, const char *name, const char *folder,
                          const archive_limits *limits, bool (*stop)(void *user), void *user, llm_error *err);

#endif
