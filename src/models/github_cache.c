// Walking the unpacked assets of GitHub releases.
#include "models/github.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "models/cache_tree.h"
#include <stdlib.h>
#include <string.h>

typedef struct github_walk_state {
    void (*on_entry)(void *user, const char *release, const char *path, const char *name);
    void *user;
    const char *owner, *repository;
    char *release; // "owner/repository@tag"
} github_walk_state;

static void append_decoded(buf *text, const char *encoded)
{
    for (const char *c = encoded; *c; c++) {
        char digits[3] = {0};
        if (*c == '%') strncpy(digits, c + 1, 2);
        char *end = digits;
        long value = strtol(digits, &end, 16);
        bool escaped = end == digits + 2 && value > 0;
        buf_append_char(text, escaped ? (char)value : *c);
        if (escaped) c += 2;
    }
}

static void walk_entry(void *user, const char *path, const char *name)
{
    github_walk_state *walk = user;
    walk->on_entry(walk->user, walk->release, path, name);
}

static void walk_tag(void *user, const char *path, const char *name)
{
    github_walk_state *walk = user;
    buf release = {0};
    if (!file_is_directory(path)) return;
    buf_printf(&release, "%s/%s@", walk->owner, walk->repository);
    append_decoded(&release, name);
    walk->release = buf_take(&release);
    if (walk->release) folder_walk(path, walk_entry, walk);
    mem_free(walk->release);
}

static void walk_repository(void *user, const char *path, const char *name)
{
    github_walk_state *walk = user;
    walk->repository = name;
    if (file_is_directory(path)) folder_walk(path, walk_tag, walk);
}

static void walk_owner(void *user, const char *path, const char *name)
{
    github_walk_state *walk = user;
    walk->owner = name;
    if (file_is_directory(path)) folder_walk(path, walk_repository, walk);
}

void github_walk(const hub_settings *settings,
                 void (*on_entry)(void *user, const char *release, const char *path, const char *name),
                 void *user)
{
    github_walk_state walk = {.on_entry = on_entry, .user = user};
    char *folder = github_folder(settings);
    if (folder) folder_walk(folder, walk_owner, &walk);
    mem_free(folder);
}
