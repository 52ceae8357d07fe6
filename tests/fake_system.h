// A root folder with the files in which a kernel tells about memory.
#ifndef FAKE_SYSTEM_H
#define FAKE_SYSTEM_H
#include "files.h"

static inline void put(const char *root, const char *name, const char *text)
{
    llm_error err;
    char path[600], folder[600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    snprintf(folder, sizeof folder, "%.*s", (int)(path_base_name(path) - path - 1), path);
    assert_ok(file_make_directory(folder, &err));
    write_bytes(path, text, strlen(text));
}

// 16 GiB, 8 of which are available.
static inline void put_meminfo(const char *root)
{
    put(root, "proc/meminfo",
        "MemTotal:       16777216 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\nBuffers:  1 kB\nCached: 2 kB\n");
}

static inline void put_version2(const char *root, const char *group)
{
    char text[300];
    snprintf(text, sizeof text, "0::%s\n", group);
    put(root, "proc/self/cgroup", text);
    put(root, "proc/self/mountinfo",
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
}

static inline void put_stall(const char *root, const char *name, double percent, unsigned long long total)
{
    char text[300];
    snprintf(text, sizeof text, "some avg10=%.2f avg60=1.00 avg300=0.00 total=%llu\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
             percent, total);
    put(root, name, text);
}

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#endif
