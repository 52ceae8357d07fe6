// What processes tell each other about the models they hold: one file each, in a folder that is this user's alone.
//
// A file is one JSON object, padded to HOLDER_RECORD bytes so that it is written by one call and never shortened. Its process
// holds an flock on it: a file that can be locked is of a process that has ended.
#ifndef SERVICE_HOLDERS_H
#define SERVICE_HOLDERS_H
#include "base/buf.h"
#include "base/error.h"

enum { HOLDER_RECORD = 4096 };

// $XDG_RUNTIME_DIR/llmlocal, or /tmp/llmlocal-<uid>; made where it is missing. Owned (mem_free). LLM_IO_ERROR: it is not a
// folder that only this user may enter.
llm_status holders_folder(char **folder, llm_error *err);

// As a record; false: it does not fit one.
bool holder_write(const llm_holder *holder, buf *record);
// Its strings are in *texts (mem_free). False: this is no record.
bool holder_read(const char *record, size_t length, llm_holder *holder, char **texts);

#endif
