// The bytes of a fuzz input as a file: the parsers map files by name.
#ifndef MEMORY_FILE_H
#define MEMORY_FILE_H
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

// Returns a descriptor to close, and the file's path; -1 if there is none to be had.
static inline int memory_file(const uint8_t *data, size_t size, char path[40])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) return -1;
    snprintf(path, 40, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
