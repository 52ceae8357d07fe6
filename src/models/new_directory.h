// A directory of files that appears complete or not at all.
#ifndef MODELS_NEW_DIRECTORY_H
#define MODELS_NEW_DIRECTORY_H
#include "base/error.h"

// Puts files into `directory`.
typedef llm_status (*new_directory_fill)(void *user, const char *directory, llm_error *err);

// Fills a temporary directory beside `destination`, which must not exist or be empty, and gives it that name. After an
// error nothing is left of it.
llm_status new_directory_make(const char *destination, new_directory_fill fill, void *user, llm_error *err);

// LLM_INSUFFICIENT_STORAGE with both numbers when `needed` bytes do not fit where `directory` lies.
llm_status new_directory_check_space(const char *directory, uint64_t needed, llm_error *err);

#endif
