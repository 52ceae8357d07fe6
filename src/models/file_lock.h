// Locks between processes: flock on a file, as Hugging Face's library takes them.
#ifndef MODELS_FILE_LOCK_H
#define MODELS_FILE_LOCK_H
#include "base/error.h"

// LLM_OK: locked, *fd holds it until file_lock_release. LLM_BUSY: another process or thread has it; no
// message. The folder of `path` is made.
llm_status file_lock_try(const char *path, int *fd, llm_error *err);
llm_status file_lock_wait(const char *path, bool (*stop)(void *user), void *user, int *fd,
                          llm_error *err); // LLM_CANCELLED when stop says so
void file_lock_release(int *fd);           // -1: nothing to do

#endif
