// A lock file may be removed by whoever holds it; therefore what was locked must still be what the path
// names.
#include "models/file_lock.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static llm_status make_folder_of(const char *path, llm_error *err)
{
    char *folder = mem_copy_bytes(path, (size_t)(path_base_name(path) - path));
    if (!folder) return error_no_memory(err, path);
    llm_status status = *folder ? file_make_directory(folder, err) : LLM_OK;
    mem_free(folder);
    return status;
}

static bool is_still_there(int fd, const char *path)
{
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

llm_status file_lock_try(const char *path, int *fd, llm_error *err)
{
    *fd = -1;
    llm_status status = make_folder_of(path, err);
    for (int tries = 0; status == LLM_OK && tries < 100; tries++) {
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
        if (*fd < 0) return error_set(err, LLM_IO_ERROR, "cannot lock %s: %s", path, strerror(errno));
        int failed = flock(*fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        if (!failed && is_still_there(*fd, path)) return LLM_OK;
        file_lock_release(fd);
        if (failed == EWOULDBLOCK) return LLM_BUSY;
        if (failed && failed != EINTR)
            return error_set(err, LLM_IO_ERROR, "cannot lock %s: %s", path, strerror(failed));
    }
    return status == LLM_OK ? LLM_BUSY : status;
}

llm_status file_lock_wait(const char *path, bool (*stop)(void *user), void *user, int *fd, llm_error *err)
{
    for (;;) {
        llm_status status = file_lock_try(path, fd, err);
        if (status != LLM_BUSY) return status;
        if (stop && stop(user)) return error_set(err, LLM_CANCELLED, "waiting for %s was cancelled", path);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

void file_lock_release(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}
