// Trees by fts, which needs no recursion of ours however deep somebody nests folders.
#include "models/cache_tree.h"
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool name_ends(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static FTS *open_tree(const char *path)
{
    char *paths[] = {(char *)(uintptr_t)path, NULL};
    return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
}

void tree_measure(const char *path, tree_size *size)
{
    *size = (tree_size){0};
    FTS *tree = open_tree(path);
    for (FTSENT *entry; tree && (entry = fts_read(tree));) {
        if (entry->fts_info != FTS_F || !S_ISREG(entry->fts_statp->st_mode)) continue;
        uint64_t bytes = (uint64_t)entry->fts_statp->st_size;
        size->bytes += bytes;
        if (name_ends(entry->fts_name, ".incomplete")) size->partial_bytes += bytes;
        if ((int64_t)entry->fts_statp->st_mtime > size->changed_at)
            size->changed_at = (int64_t)entry->fts_statp->st_mtime;
    }
    if (tree) fts_close(tree);
}

static bool remove_entry(const FTSENT *entry, uint64_t *freed)
{
    switch (entry->fts_info) {
    case FTS_D: return true; // on the way down
    case FTS_DP: return rmdir(entry->fts_accpath) == 0 || errno == ENOENT;
    default: break;
    }
    bool counts = S_ISREG(entry->fts_statp->st_mode) && entry->fts_statp->st_nlink == 1;
    if (entry->fts_info == FTS_NS && entry->fts_errno == ENOENT) return true;
    if (entry->fts_info == FTS_DNR) return rmdir(entry->fts_accpath) == 0;
    if (unlink(entry->fts_accpath) != 0) return errno == ENOENT;
    if (entry->fts_info == FTS_F && counts) *freed += (uint64_t)entry->fts_statp->st_size;
    return true;
}

llm_status tree_remove(const char *path, uint64_t *freed, llm_error *err)
{
    llm_status status = LLM_OK;
    FTS *tree = open_tree(path);
    if (!tree) return error_no_memory(err, path);
    for (FTSENT *entry; (entry = fts_read(tree));)
        if (!remove_entry(entry, freed) && status == LLM_OK)
            status = error_set(err, LLM_IO_ERROR, "cannot remove %s: %s", entry->fts_path,
                               strerror(entry->fts_info == FTS_DNR ? entry->fts_errno : errno));
    fts_close(tree);
    return status;
}

void folder_walk(const char *folder, void (*on_entry)(void *user, const char *path, const char *name),
                 void *user)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *path = path_join(folder, entry->d_name);
        if (path) on_entry(user, path, entry->d_name);
        mem_free(path);
    }
    if (dir) closedir(dir);
}

llm_status folder_check(const char *folder, llm_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir && errno != ENOENT) return error_set(err, LLM_IO_ERROR, "cannot read %s: %s", folder, strerror(errno));
    if (dir) closedir(dir);
    return LLM_OK;
}
