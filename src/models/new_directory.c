// The temporary directory that becomes the destination in the end.
#include "models/new_directory.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "models/cache_tree.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static llm_status system_error(llm_error *err, const char *doing, const char *path)
{
    char text[100];
    const char *reason = strerror_r(errno, text, sizeof text);
    return error_set(err, LLM_IO_ERROR, "cannot %s %s: %s", doing, path, reason);
}

static bool is_empty_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return false;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

static llm_status check_destination(const char *path, llm_error *err)
{
    if (!*path) return error_set(err, LLM_INVALID_ARGUMENT, "the destination has no name");
    if (!file_exists(path) || is_empty_directory(path)) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "the destination %s exists already", path);
}

// What cannot be removed stays: the error that led here matters more.
static void remove_directory(const char *path)
{
    uint64_t freed = 0;
    tree_remove(path, &freed, NULL);
}

// `temporary` is a template for mkdtemp beside the destination, so that the final rename stays on one file
// system.
static llm_status make_temporary(const char *temporary, llm_error *err)
{
    if (!mkdtemp((char *)(uintptr_t)temporary)) return system_error(err, "create", temporary);
    mode_t mask = umask(0);
    umask(mask);
    if (chmod(temporary, 0777 & ~mask) == 0) return LLM_OK;
    llm_status status = system_error(err, "create", temporary);
    remove_directory(temporary);
    return status;
}

// `destination` has no slash at its end.
static llm_status make_beside(const char *destination, new_directory_fill fill, void *user, llm_error *err)
{
    buf temporary = {0};
    buf_printf(&temporary, "%s.converting-XXXXXX", destination);
    if (temporary.failed) return error_no_memory(err, destination);
    llm_status status = make_temporary(temporary.data, err);
    if (status == LLM_OK) {
        status = fill(user, temporary.data, err);
        // rename replaces an empty directory, and nothing else
        if (status == LLM_OK && rename(temporary.data, destination) != 0)
            status = system_error(err, "create", destination);
        if (status != LLM_OK) remove_directory(temporary.data);
    }
    buf_free(&temporary);
    return status;
}

llm_status new_directory_make(const char *destination, new_directory_fill fill, void *user, llm_error *err)
{
    size_t length = strlen(destination);
    while (length > 1 && destination[length - 1] == '/') length--;
    char *target = mem_copy_bytes(destination, length);
    llm_status status = target ? check_destination(target, err) : error_no_memory(err, destination);
    if (status == LLM_OK) status = make_beside(target, fill, user, err);
    mem_free(target);
    return status;
}

llm_status new_directory_check_space(const char *directory, uint64_t needed, llm_error *err)
{
    uint64_t available = 0;
    if (!file_free_space(directory, &available) || needed <= available) return LLM_OK; // not known: writing will tell
    return error_set_amounts(err, LLM_INSUFFICIENT_STORAGE, needed, available,
                             "the converted model needs %llu MB, there are %llu MB free",
                             (unsigned long long)(needed >> 20), (unsigned long long)(available >> 20));
}
