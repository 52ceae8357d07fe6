// Files over POSIX: every failure names the path and the system's reason.
#include "base/file.h"
#include "base/buf.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static llm_status system_error(llm_error *err, const char *doing, const char *path)
{
    char reason[100];
    int code = errno;
    const char *text = strerror_r(code, reason, sizeof reason);
    return error_set(err, LLM_IO_ERROR, "cannot %s %s: %s", doing, path, text);
}

// Opens a regular file and tells its size.
static llm_status open_regular(const char *path, int *fd, size_t *size, llm_error *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return system_error(err, "open", path);
    llm_status status = LLM_OK;
    if (fstat(*fd, &st) != 0) status = system_error(err, "read", path);
    else if (!S_ISREG(st.st_mode)) status = error_set(err, LLM_IO_ERROR, "cannot read %s: not a regular file", path);
    else *size = (size_t)st.st_size;
    if (status != LLM_OK) close(*fd);
    return status;
}

llm_status file_map_open(const char *path, file_map *map, llm_error *err)
{
    int fd;
    *map = (file_map){0};
    size_t size = 0;
    llm_status status = open_regular(path, &fd, &size, err);
    if (status != LLM_OK || size == 0) {
        if (status == LLM_OK) close(fd);
        return status;
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) status = system_error(err, "map", path);
    else *map = (file_map){data, size};
    close(fd);
    return status;
}

void file_map_close(file_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (file_map){0};
}

void file_map_release(const file_map *map, size_t offset, size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (offset + page - 1) / page * page;
    size_t end = (offset + length) / page * page;
    if (map->data && end > begin && end <= map->size)
        madvise((void *)(uintptr_t)(map->data + begin), end - begin, MADV_DONTNEED);
}

llm_status file_read(const char *path, size_t limit, char **data, size_t *length, llm_error *err)
{
    int fd;
    size_t size = 0;
    *data = NULL;
    *length = 0;
    llm_status status = open_regular(path, &fd, &size, err);
    if (status != LLM_OK) return status;
    char *bytes = NULL;
    size_t done = 0;
    if (size > limit) {
        status = error_set(err, LLM_LOAD_FAILED, "%s is too large: %zu bytes, the limit is %zu", path, size, limit);
        goto done;
    }
    bytes = mem_alloc(size + 1);
    if (!bytes) {
        status = error_no_memory(err, path);
        goto done;
    }
    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = system_error(err, "read", path);
        if (got <= 0) break;
        done += (size_t)got;
    }
done:
    close(fd);
    if (status != LLM_OK) {
        mem_free(bytes);
        return status;
    }
    bytes[done] = 0;
    *data = bytes;
    *length = done;
    return LLM_OK;
}

bool file_read_start(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t done = 0;
    ssize_t got = -1;
    while (fd >= 0 && done + 1 < capacity && (got = read(fd, text + done, capacity - 1 - done)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        done += (size_t)got;
    }
    if (fd >= 0) close(fd);
    text[done] = 0;
    return done > 0;
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(fd, data, length);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        data += wrote;
        length -= (size_t)wrote;
    }
    return true;
}

llm_status file_write(const char *path, const void *data, size_t length, llm_error *err)
{
    buf temporary = {0};
    buf_printf(&temporary, "%s.XXXXXX", path);
    if (temporary.failed) return error_no_memory(err, path);
    llm_status status = LLM_OK;
    int fd = mkstemp(temporary.data);
    if (fd < 0) {
        status = system_error(err, "write", path);
        buf_free(&temporary);
        return status;
    }
    bool written = write_all(fd, data, length) && fchmod(fd, 0644) == 0;
    if (!written) status = system_error(err, "write", path);
    if (close(fd) != 0 && written) status = system_error(err, "write", path);
    if (status == LLM_OK && rename(temporary.data, path) != 0) status = system_error(err, "write", path);
    if (status != LLM_OK) unlink(temporary.data);
    buf_free(&temporary);
    return status;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool file_free_space(const char *path, uint64_t *bytes)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) return false;
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return true;
}

bool file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

llm_status file_make_directory(const char *path, llm_error *err)
{
    char *copy = mem_copy_string(path);
    if (!copy) return error_no_memory(err, path);
    llm_status status = LLM_OK;
    for (char *slash = copy; status == LLM_OK && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash) *slash = 0;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) status = system_error(err, "create", copy);
        if (slash) *slash = '/';
    }
    if (status == LLM_OK && !file_is_directory(path))
        status = error_set(err, LLM_IO_ERROR, "cannot create %s: a file of that name is in the way", path);
    mem_free(copy);
    return status;
}

char *path_join(const char *directory, const char *name)
{
    buf b = {0};
    size_t length = strlen(directory);
    buf_printf(&b, "%s%s%s", directory, length && directory[length - 1] == '/' ? "" : "/", name);
    return buf_take(&b);
}

const char *path_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
