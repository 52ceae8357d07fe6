// Folders of the cache as trees of files: what they weigh, and removing them. Links are never followed.
#ifndef MODELS_CACHE_TREE_H
#define MODELS_CACHE_TREE_H
#include "base/error.h"

typedef struct tree_size {
    uint64_t bytes, partial_bytes; // of regular files; of these, "*.incomplete"
    int64_t changed_at;            // of the newest file, seconds since 1970
} tree_size;

void tree_measure(const char *path, tree_size *size);
// *freed grows by the bytes of regular files that are gone. What is not there is removed already.
llm_status tree_remove(const char *path, uint64_t *freed, llm_error *err);

// Calls for every entry of the folder; the order is the file system's.
void folder_walk(const char *folder, void (*on_entry)(void *user, const char *path, const char *name),
                 void *user);
// LLM_IO_ERROR where the folder is there and cannot be read.
llm_status folder_check(const char *folder, llm_error *err);
bool name_ends(const char *name, const char *end);

#endif
