// Files for tests: a temporary folder of the test's own, whole files, hashes of golden data.
#ifndef FILES_H
#define FILES_H
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// A path in static memory; it stays valid for the next 255 calls.
static inline const char *path_in(const char *folder, const char *name)
{
    static char paths[256][600];
    static unsigned next;
    char path[sizeof *paths];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return memcpy(paths[next++ % 256], path, sizeof path);
}

static inline const char *golden(const char *name) { return path_in(GOLDEN_DIR, name); }

// cmocka set-up and tear-down: *state becomes a fresh folder; afterwards it and the folders in it are
// removed.
static inline int make_folder(void **state)
{
    char *folder = strdup("/tmp/llmlocal-test-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

static inline void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char inner[600];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0) remove_tree(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static inline int remove_folder(void **state)
{
    remove_tree(*state);
    free(*state);
    return 0;
}

static inline size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) count += entry->d_name[0] != '.';
    if (dir) closedir(dir);
    return count;
}

static inline void write_bytes(const char *path, const void *data, size_t length)
{
    llm_error err;
    assert_ok(file_write(path, data, length, &err));
}

static inline char *read_bytes(const char *path, size_t *length)
{
    llm_error err;
    char *data;
    assert_ok(file_read(path, (size_t)1 << 30, &data, length, &err));
    return data; // mem_free
}

static inline yyjson_doc *read_json(const char *path)
{
    llm_error err;
    yyjson_doc *doc;
    assert_ok(json_read_file(path, (size_t)1 << 28, &doc, &err));
    return doc; // json_free
}

// 64-bit FNV-1a over little-endian words of 32 bits, as tools/make_formats_golden.py writes it.
static inline const char *hash_words(const void *data, size_t length)
{
    static char text[20];
    uint64_t state = 0xCBF29CE484222325u;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t word = 0;
        memcpy(&word, (const char *)data + i, length - i < 4 ? length - i : 4);
        state = (state ^ word) * 0x100000001B3u;
    }
    snprintf(text, sizeof text, "%016llx", (unsigned long long)state);
    return text;
}

#endif
