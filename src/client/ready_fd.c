// Readable or not: one byte in a pipe, or the counter of an eventfd.
#include "client/ready_fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__) && !defined(READY_FD_PIPE)
#include <sys/eventfd.h>

bool ready_fd_open(ready_fd *fd)
{
    fd->read = fd->write = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fd->ready = false;
    return fd->read >= 0;
}
#else
bool ready_fd_open(ready_fd *fd)
{
    int ends[2];
    *fd = READY_FD_CLOSED;
    if (pipe(ends)) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    fd->read = ends[0];
    fd->write = ends[1];
    return true;
}
#endif

void ready_fd_set(ready_fd *fd, bool ready)
{
    uint64_t one = 1; // an eventfd takes eight bytes; a pipe may as well
    if (fd->read < 0 || fd->ready == ready) return;
    fd->ready = ready;
    ssize_t done;
    do done = ready ? write(fd->write, &one, sizeof one) : read(fd->read, &one, sizeof one);
    while (done < 0 && errno == EINTR);
}

void ready_fd_close(ready_fd *fd)
{
    if (fd->read >= 0) close(fd->read);
    if (fd->write >= 0 && fd->write != fd->read) close(fd->write);
    *fd = READY_FD_CLOSED;
}
