// safetensors: one file, a model directory of one or more files, and writing both. Files are mapped, never read whole.
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H
#include "base/error.h"
#include "base/file.h"
#include "base/strmap.h"
#include "formats/dtype.h"

enum { SAFETENSORS_MAX_DIMS = 8 };

typedef struct safetensors_tensor {
    const char *name; // NUL-terminated; lives as long as its file
    dtype type;
    int num_dims;                       // 0: a scalar
    size_t shape[SAFETENSORS_MAX_DIMS]; // outermost first; 1 past num_dims
    const uint8_t *data;                // inside the mapping, NOT aligned to the type: read through memcpy
    size_t size;                        // bytes
    const struct safetensors_file *file;
} safetensors_tensor;

// Does not move once opened: tensors point back at it.
typedef struct safetensors_file {
    file_map map;
    safetensors_tensor *tensors; // in the order of their data
    size_t num_tensors;
    strmap by_name; // index into tensors
    char *names;    // all names, owned
} safetensors_file;

// Opens one file and checks everything that its header says. On failure nothing is left open.
llm_status safetensors_open(const char *path, safetensors_file *file, llm_error *err);
void safetensors_close(safetensors_file *file); // a zeroed file is fine
const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name); // NULL: none

// One text of the file's "__metadata__"; *text is owned (mem_free), NULL when there is no such key. A text with a NUL in
// it is LLM_LOAD_FAILED.
llm_status safetensors_metadata_copy(const safetensors_file *file, const char *key, char **text, llm_error *err);

// The loader has taken a tensor's data: its pages no longer count as this process's memory (they can be read again).
void safetensors_release(const safetensors_tensor *tensor);

// All "model*.safetensors" of a directory, as MLX tools load them. A shard that model.safetensors.index.json names
// but that is missing, and a tensor in two shards, are LLM_LOAD_FAILED.
typedef struct safetensors_model {
    safetensors_file *files; // sorted by file name
    size_t num_files;
    const safetensors_tensor **tensors; // of all files
    size_t num_tensors;
    size_t total_size; // bytes of all tensors
    strmap by_name;
} safetensors_model;

llm_status safetensors_model_open(const char *directory, safetensors_model *model, llm_error *err);
void safetensors_model_close(safetensors_model *model); // a zeroed model is fine
const safetensors_tensor *safetensors_model_find(const safetensors_model *model, const char *name); // NULL: none

// What is to be written. Names are borrowed until the call returns.
typedef struct safetensors_entry {
    const char *name;
    dtype type;
    int num_dims;
    size_t shape[SAFETENSORS_MAX_DIMS];
    const void *data; // NULL: asked for through safetensors_fill when its turn comes
} safetensors_entry;

// Gives the data of entry `index`, borrowed until the next call. Entries are asked for in their order, each once.
typedef llm_status (*safetensors_fill)(void *user, size_t index, const void **data, llm_error *err);

// Writes one file with metadata {"format": "mlx"}. `fill` may be NULL when every entry has data.
llm_status safetensors_write(const char *path, const safetensors_entry *entries, size_t num_entries,
                             safetensors_fill fill, void *user, llm_error *err);

// Likewise, with one more text in the metadata, for files that are nobody else's business: only the owner may read it.
llm_status safetensors_write_private(const char *path, const char *key, const char *text, const safetensors_entry *entries,
                                     size_t num_entries, llm_error *err);

// Writes model.safetensors, or model-0000i-of-0000n.safetensors of at most `shard_limit` bytes of data each (one
// larger tensor is a shard of its own), and model.safetensors.index.json, as mlx-lm names and fills them.
// `total_parameters` is what the index states (a packed word holds several).
#define SAFETENSORS_SHARD_LIMIT ((size_t)5 << 30)
llm_status safetensors_model_write(const char *directory, const safetensors_entry *entries, size_t num_entries,
                                   size_t shard_limit, uint64_t total_parameters, safetensors_fill fill, void *user,
                                   llm_error *err);

#endif
