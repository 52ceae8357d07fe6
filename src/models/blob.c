// Writing, continuing, verifying one file.
#include "models/blob.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "models/file_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static llm_status system_error(const blob *b, const char *doing, llm_error *err)
{
    int code = errno;
    if (code == ENOSPC || code == EDQUOT) {
        uint64_t left = 0;
        file_free_space(b->partial_path, &left);
        uint64_t required = b->size > b->done ? b->size - b->done : 0;
        return error_set_amounts(err, LLM_INSUFFICIENT_STORAGE, required, left,
                                 "no room for the rest of %s: %llu bytes are needed, %llu are free", b->name,
                                 (unsigned long long)required, (unsigned long long)left);
    }
    return error_set(err, LLM_IO_ERROR, "cannot %s %s: %s", doing, b->partial_path, strerror(code));
}

bool blob_is_there(const char *path, uint64_t size, bool size_known)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (!size_known || (uint64_t)st.st_size == size);
}

char *blob_partial_path(const char *path)
{
    buf b = {0};
    buf_printf(&b, "%s.incomplete", path);
    return buf_take(&b);
}

uint64_t blob_partial_size(const char *path)
{
    struct stat st;
    char *partial = blob_partial_path(path);
    bool there = partial && stat(partial, &st) == 0 && S_ISREG(st.st_mode);
    mem_free(partial);
    return there ? (uint64_t)st.st_size : 0;
}

// ---- Life -------------------------------------------------------------------------------------------------

llm_status blob_open(blob *b, llm_error *err)
{
    b->fd = b->lock = -1;
    b->partial_path = blob_partial_path(b->path);
    if (!b->partial_path) return error_no_memory(err, b->name);
    b->ready = blob_is_there(b->path, b->size, b->size_known);
    b->done = b->ready ? b->size : 0;
    return LLM_OK;
}

static void close_partial(blob *b)
{
    digest_free(&b->sum);
    if (b->fd >= 0) close(b->fd);
    b->fd = -1;
}

void blob_close(blob *b)
{
    close_partial(b);
    file_lock_release(&b->lock);
    mem_free(b->partial_path);
    b->partial_path = NULL;
}

// ---- Beginning --------------------------------------------------------------------------------------------

static llm_status start_over(blob *b, llm_error *err)
{
    digest_free(&b->sum);
    b->done = 0;
    if (ftruncate(b->fd, 0) != 0 || lseek(b->fd, 0, SEEK_SET) != 0) return system_error(b, "write", err);
    return digest_begin(&b->sum, b->kind, b->size, err);
}

// What is there already counts once it has been read into the digest.
static llm_status read_partial(blob *b, llm_error *err)
{
    enum { CHUNK = 1 << 20 };
    struct stat st;
    if (fstat(b->fd, &st) != 0) return system_error(b, "read", err);
    // git's digest begins with the size: without it there is nothing to continue.
    if (st.st_size == 0 || !b->size_known || (uint64_t)st.st_size > b->size) return start_over(b, err);
    char *chunk = mem_alloc(CHUNK);
    if (!chunk) return error_no_memory(err, b->name);
    llm_status status = digest_begin(&b->sum, b->kind, b->size, err);
    ssize_t got = 1;
    while (status == LLM_OK && b->done < (uint64_t)st.st_size && got > 0) {
        got = read(b->fd, chunk, CHUNK);
        if (got < 0 && errno != EINTR) status = system_error(b, "read", err);
        if (got < 0)
            got = 1;
        else
            digest_add(&b->sum, chunk, (size_t)got), b->done += (uint64_t)got;
    }
    mem_free(chunk);
    if (status == LLM_OK)
        log_message(LOG_INFO, "%s: going on after %llu bytes", b->name, (unsigned long long)b->done);
    return status;
}

static llm_status open_partial(blob *b, llm_error *err)
{
    b->done = 0;
    b->fd = open(b->partial_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (b->fd < 0) return system_error(b, "write", err);
    return read_partial(b, err);
}

static int finish(transfer *t, llm_error *err);

static int prepare(transfer *t, llm_error *err)
{
    blob *b = t->user;
    if (b->ready) return TRANSFER_SKIP;
    if (b->lock < 0) {
        llm_status status = file_lock_try(b->lock_path, &b->lock, err);
        if (status == LLM_BUSY) {
            b->done = blob_partial_size(b->path); // what the other one has
            if (b->size_known && b->done > b->size) b->done = b->size;
            return TRANSFER_WAIT;
        }
        if (status != LLM_OK) return (int)status;
    }
    if (blob_is_there(b->path, b->size, b->size_known)) { // another process has brought it meanwhile
        b->ready = true;
        b->done = b->size;
        file_lock_release(&b->lock);
        return TRANSFER_SKIP;
    }
    llm_status status = b->fd < 0 ? open_partial(b, err) : LLM_OK;
    t->offset = b->done;
    if (status != LLM_OK) return (int)status;
    if (!b->size_known || b->done < b->size) return LLM_OK;
    int outcome = finish(t, err); // the last process ended between the last byte and the name
    t->offset = b->done;
    return outcome == LLM_OK ? TRANSFER_SKIP : outcome == TRANSFER_AGAIN ? LLM_OK : outcome;
}

static int begin(transfer *t, bool from_start, int64_t total, llm_error *err)
{
    blob *b = t->user;
    if (total >= 0 && b->size_known && (uint64_t)total != b->size)
        return (int)error_set(err, LLM_DOWNLOAD_FAILED,
                              "cannot get %s: the server has %lld bytes of it, and %llu were announced",
                              b->name, (long long)total, (unsigned long long)b->size);
    if (!b->size_known && total >= 0) {
        b->size = (uint64_t)total;
        b->size_known = true;
        from_start = true; // the digest may begin with the size
    }
    return from_start ? (int)start_over(b, err) : LLM_OK;
}

// ---- Going on and ending ----------------------------------------------------------------------------------

static int write_bytes(transfer *t, const void *bytes, size_t length, llm_error *err)
{
    blob *b = t->user;
    if (b->size_known && length > b->size - b->done)
        return (int)error_set(err, LLM_DOWNLOAD_FAILED,
                              "cannot get %s: the server sends more than the %llu bytes that were announced",
                              b->name, (unsigned long long)b->size);
    const char *at = bytes;
    for (size_t left = length; left > 0;) {
        ssize_t wrote = write(b->fd, at, left);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return (int)system_error(b, "write", err);
        digest_add(&b->sum, at, (size_t)wrote);
        b->done += (uint64_t)wrote;
        at += wrote;
        left -= (size_t)wrote;
    }
    return LLM_OK;
}

static int take_damage(blob *b, const char *found, llm_error *err)
{
    llm_status status = start_over(b, err);
    if (status != LLM_OK) return (int)status;
    error_set(err, LLM_DOWNLOAD_FAILED, "%s arrived damaged: its %s is %.12s..., and %.12s... was announced",
              b->name, b->kind == DIGEST_SHA256 ? "SHA-256" : "git digest", found, b->expected);
    bool before = b->damaged_once;
    b->damaged_once = true;
    if (!before) return TRANSFER_AGAIN;
    unlink(b->partial_path);
    return LLM_DOWNLOAD_FAILED;
}

static int finish(transfer *t, llm_error *err)
{
    blob *b = t->user;
    char found[DIGEST_TEXT];
    if (b->size_known && b->done < b->size) {
        error_set(err, LLM_DOWNLOAD_FAILED, "cannot get %s: the connection ended after %llu of %llu bytes",
                  b->name, (unsigned long long)b->done, (unsigned long long)b->size);
        return TRANSFER_AGAIN;
    }
    digest_end(&b->sum, found);
    if (b->kind != DIGEST_NONE && strcmp(found, b->expected) != 0) return take_damage(b, found, err);
    if (fdatasync(b->fd) != 0 || rename(b->partial_path, b->path) != 0)
        return (int)system_error(b, "finish", err);
    b->ready = true;
    b->size = b->done;
    close_partial(b);
    file_lock_release(&b->lock);
    return LLM_OK;
}

static void restart(transfer *t)
{
    llm_error ignored;
    blob *b = t->user;
    if (b->fd >= 0 && start_over(b, &ignored) != LLM_OK) close_partial(b); // prepare opens it again
}

const transfer_methods blob_methods = {.prepare = prepare,
                                       .begin = begin,
                                       .write = write_bytes,
                                       .finish = finish,
                                       .restart = restart};
