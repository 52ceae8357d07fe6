// libarchive reads; what an entry may be and where it goes is decided here.
#include "models/archive.h"
#include "base/file.h"
#include "base/mem.h"
#include "models/hub_names.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct unpacking {
    struct archive *archive;
    const char *path, *name, *folder;
    const archive_limits *limits;
    bool (*stop)(void *user);
    void *user;
    uint64_t bytes;
    size_t entries;
} unpacking;

static llm_status damaged(const unpacking *u, llm_error *err)
{
    const char *reason = archive_error_string(u->archive);
    return error_set(err, LLM_LOAD_FAILED, "%s is damaged: %.200s", u->name,
                     reason ? reason : "it cannot be read");
}

static llm_status write_block(const unpacking *u, int fd, const char *name, const char *data, size_t length,
                              llm_error *err)
{
    while (length > 0) {
        ssize_t wrote = write(fd, data, length);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0 && errno == ENOSPC)
            return error_set(err, LLM_INSUFFICIENT_STORAGE, "no room to unpack %s", u->name);
        if (wrote < 0) return error_set(err, LLM_IO_ERROR, "cannot write %s: %s", name, strerror(errno));
        data += wrote;
        length -= (size_t)wrote;
    }
    return LLM_OK;
}

static llm_status unpack_data(unpacking *u, int fd, const char *name, llm_error *err)
{
    enum { CHUNK = 1 << 17 };
    char *chunk = mem_alloc(CHUNK);
    if (!chunk) return error_no_memory(err, name);
    llm_status status = LLM_OK;
    while (status == LLM_OK) {
        la_ssize_t got = archive_read_data(u->archive, chunk, CHUNK);
        if (got == 0) break;
        if (got < 0)
            status = damaged(u, err);
        else if ((uint64_t)got > u->limits->bytes - u->bytes)
            status = error_set_amounts(err, LLM_LOAD_FAILED, 0, u->limits->bytes,
                                       "%s unpacks to more than %llu bytes", u->name,
                                       (unsigned long long)u->limits->bytes);
        else if (u->stop && u->stop(u->user))
            status = error_set(err, LLM_CANCELLED, "unpacking was cancelled");
        else
            status = write_block(u, fd, name, chunk, (size_t)got, err);
        if (status == LLM_OK) u->bytes += (uint64_t)got;
    }
    mem_free(chunk);
    return status;
}

static llm_status make_parent(const char *path, llm_error *err)
{
    char *parent = mem_copy_bytes(path, (size_t)(path_base_name(path) - path - 1));
    llm_status status = parent ? file_make_directory(parent, err) : error_no_memory(err, "a path");
    mem_free(parent);
    return status;
}

static llm_status unpack_file(unpacking *u, const char *name, llm_error *err)
{
    char *path = path_join(u->folder, name);
    llm_status status = path ? make_parent(path, err) : error_no_memory(err, "a path");
    int fd = status == LLM_OK ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666) : -1;
    if (status == LLM_OK && fd < 0)
        status = error_set(err, errno == EEXIST ? LLM_LOAD_FAILED : LLM_IO_ERROR,
                           "%s: cannot make \"%s\": %s", u->name, name, strerror(errno));
    if (status == LLM_OK) status = unpack_data(u, fd, name, err);
    if (fd >= 0) close(fd);
    mem_free(path);
    return status;
}

static llm_status unpack_entry(unpacking *u, struct archive_entry *entry, llm_error *err)
{
    const char *name = archive_entry_pathname_utf8(entry);
    if (!name) name = archive_entry_pathname(entry);
    if (!name) return damaged(u, err);
    if (++u->entries > u->limits->entries)
        return error_set(err, LLM_LOAD_FAILED, "%s has more than %zu entries", u->name, u->limits->entries);
    while (strncmp(name, "./", 2) == 0) name += 2;
    unsigned kind = archive_entry_filetype(entry);
    bool link = archive_entry_hardlink(entry) || archive_entry_symlink(entry);
    if (kind == AE_IFDIR && !link) return LLM_OK; // files make their folders
    if (!hub_is_safe_path(name))
        return error_set(err, LLM_LOAD_FAILED, "%s has an entry that would leave its folder: \"%.100s\"",
                         u->name, name);
    if (kind != AE_IFREG || link)
        return error_set(err, LLM_LOAD_FAILED, "%s has an entry that is no plain file: \"%.100s\"", u->name,
                         name);
    return unpack_file(u, name, err);
}

static llm_status unpack_entries(unpacking *u, llm_error *err)
{
    llm_status status = LLM_OK;
    struct archive_entry *entry;
    if (archive_read_open_filename(u->archive, u->path, 1 << 16) != ARCHIVE_OK)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "%s is neither a zip nor a tar.gz file", u->name);
    while (status == LLM_OK) {
        int result = archive_read_next_header(u->archive, &entry);
        if (result == ARCHIVE_EOF) break;
        if (result < ARCHIVE_WARN) {
            bool first = u->entries == 0 && archive_format(u->archive) == 0;
            status = first ? error_set(err, LLM_UNSUPPORTED_FORMAT, "%s is neither a zip nor a tar.gz file",
                                       u->name)
                           : damaged(u, err);
        } else {
            status = unpack_entry(u, entry, err);
        }
    }
    return status;
}

llm_status archive_unpack(const char *path, const char *name, const char *folder,
                          const archive_limits *limits, bool (*stop)(void *user), void *user, llm_error *err)
{
    unpacking u = {
        .path = path, .name = name, .folder = folder, .limits = limits, .stop = stop, .user = user};
    u.archive = archive_read_new();
    if (!u.archive) return error_no_memory(err, "an archive");
    archive_read_support_format_zip(u.archive);
    archive_read_support_format_tar(u.archive);
    archive_read_support_filter_gzip(u.archive);
    llm_status status = unpack_entries(&u, err);
    archive_read_free(u.archive);
    return status;
}
