// One file on its way into a folder: "<path>.incomplete" grows, is verified, and becomes <path> at once. What
// an interrupted process left behind is continued.
#ifndef MODELS_BLOB_H
#define MODELS_BLOB_H
#include "models/digest.h"
#include "models/transfer.h"

typedef struct blob {
    // Given.
    const char *name;      // for messages
    const char *path;      // where it goes; its folder exists
    const char *lock_path; // held from the first byte to the last
    uint64_t size;
    bool size_known; // else the server says it
    digest_kind kind;
    const char *expected; // the digest, lower-case hexadecimal
    // For progress.
    uint64_t done; // bytes that are there and count, those of another process's download too
    bool ready;    // the whole file is in its place
    // Private.
    char *partial_path;
    int fd, lock;
    digest sum;
    bool damaged_once;
} blob;

// `t->user` must be the blob. Before: blob_open; afterwards, whatever came of it: blob_close.
extern const transfer_methods blob_methods;
llm_status blob_open(blob *b, llm_error *err);
void blob_close(blob *b);

bool blob_is_there(const char *path, uint64_t size, bool size_known); // a file, and of that size
char *blob_partial_path(const char *path);                            // owned
uint64_t
blob_partial_size(const char *path); // of what an interrupted download of `path` has left; 0: nothing

#endif
