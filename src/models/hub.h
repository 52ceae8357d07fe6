// Bringing a repository of the hub into the cache.
#ifndef MODELS_HUB_H
#define MODELS_HUB_H
#include "models/hub_cache.h"
#include <stdatomic.h>

typedef struct hub_progress {
    uint64_t done_bytes,
        total_bytes; // of all wanted files, those included that were there before; total 0: not known yet
    uint64_t received_bytes; // over the network, by this call
    int files_done, num_files;
} hub_progress;

typedef struct hub_request {
    const char *id;
    const char *revision; // "main" or another
    hub_want want;
    const char *gguf;        // the one file that is wanted; NULL: what hub_select chooses
    const atomic_int *order; // a transfer_order; NULL: always GO
    bool (*progress)(void *user,
                     const hub_progress *progress); // about ten times a second; false: stop. NULL: none
    void *user;
} hub_request;

// Asks the hub what the revision is now, and gets what is missing. *path: the snapshot's folder, or the GGUF
// file where that is what there is; owned (mem_free). Offline (HF_HUB_OFFLINE) only what is in the cache
// counts.
llm_status hub_pull(const hub_settings *settings, const hub_request *request, char **path, llm_error *err);

// Tells an llm_progress_function: a hub_request's `progress`, with the address of one of these as `user`.
typedef struct hub_teller {
    const char *name;               // of what is downloaded
    llm_progress_function progress; // NULL: nobody is told
    void *user;
} hub_teller;
bool hub_tell(void *teller, const hub_progress *progress);

llm_status hub_not_cached(const char *id, llm_error *err); // LLM_DOWNLOAD_FAILED, for offline use
// LLM_INSUFFICIENT_STORAGE when the folder's file system has less than `required` bytes free.
llm_status hub_check_room(const hub_settings *settings, const char *folder, uint64_t required,
                          llm_error *err);

#endif
