// Files: reading whole, mapping read-only, writing so that a reader never sees half a file.
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/error.h"

typedef struct file_map {
    const uint8_t *data; // NULL when empty or closed
    size_t size;
} file_map;

llm_status file_map_open(const char *path, file_map *map, llm_error *err); // regular files only; an empty file is an empty map
void file_map_close(file_map *map);
void file_map_release(const file_map *map, size_t offset, size_t length); // its pages no longer count as ours (MADV_DONTNEED)

// Reads the whole file, at most `limit` bytes (more is LLM_LOAD_FAILED); adds a NUL; returns owned in *data (mem_free).
llm_status file_read(const char *path, size_t limit, char **data, size_t *length, llm_error *err);
// The first `capacity` - 1 bytes as text, whatever size the file claims to have (/proc); false when there are none.
// Allocates nothing.
bool file_read_start(const char *path, char *text, size_t capacity);
llm_status file_write(const char *path, const void *data, size_t length, llm_error *err); // temporary file, then rename

bool file_exists(const char *path);
bool file_free_space(const char *path, uint64_t *bytes); // of the file system that it is on, for this user; false: not known
bool file_is_directory(const char *path);
llm_status file_make_directory(const char *path, llm_error *err); // with its parents; there already is fine
char *path_join(const char *directory, const char *name);         // returns owned (mem_free), NULL without memory
const char *path_base_name(const char *path);                     // borrows: what follows the last slash

#endif
