// What the hub says a repository holds, and which of it a model needs.
#ifndef MODELS_HUB_LISTING_H
#define MODELS_HUB_LISTING_H
#include "base/arena.h"
#include "models/digest.h"

typedef struct hub_file {
    const char *path;
    uint64_t size;
    bool known;       // size and name are; else a HEAD request must tell
    char name[129];   // of its blob in the cache, as the hub's ETag has it
    digest_kind kind; // what `name` is the digest of; NONE: only the size can be checked
} hub_file;

typedef struct hub_listing {
    arena memory;
    char commit[41];
    hub_file *files;
    size_t count;
} hub_listing;

// Reads the answer of /api/models/<id>/revision/<revision>?blobs=true. A file that hub_select would keep but
// whose path would leave its folder is LLM_DOWNLOAD_FAILED, as is what is not such an answer.
llm_status hub_listing_read(const char *json, size_t length, hub_listing *listing, llm_error *err);
void hub_listing_free(hub_listing *listing);

typedef enum hub_want { HUB_MODEL, HUB_ADAPTER } hub_want;

// Keeps the files that are wanted: of a model its weights (model*.safetensors, or every *.safetensors where
// there are none of these), *.json, *.jinja and tokenizer files of its top folder; where there are no
// safetensors, one GGUF file: `gguf` if given, else the only one, else the one with Q4_K_M in its name.
// Nothing to keep is LLM_UNSUPPORTED_FORMAT.
llm_status hub_select(hub_listing *listing, hub_want want, const char *gguf, llm_error *err);

bool hub_is_gguf(const char *path);
bool hub_is_weights(const char *path);                    // *.safetensors
bool hub_is_text_file(const char *path);                  // configuration, template or tokenizer
bool hub_file_set_name(hub_file *file, const char *etag); // false: it cannot name a file

#endif
