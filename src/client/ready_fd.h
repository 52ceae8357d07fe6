// A file descriptor that is readable or not, as its owner says: an eventfd, or a pipe where there is none.
// The owner's lock guards it.
#ifndef CLIENT_READY_FD_H
#define CLIENT_READY_FD_H
#include <stdbool.h>

typedef struct ready_fd {
    int read, write; // -1: not open; the same descriptor for an eventfd
    bool ready;
} ready_fd;

#define READY_FD_CLOSED ((ready_fd){-1, -1, false})

bool ready_fd_open(ready_fd *fd);
void ready_fd_set(ready_fd *fd, bool ready); // nothing when closed
void ready_fd_close(ready_fd *fd);

#endif
