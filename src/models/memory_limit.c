// llm_memory_limit: the machine's memory, or what its cgroup leaves of it.
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The number in a cgroup's file; UINT64_MAX: none ("max").
static uint64_t limit_in(const char *path)
{
    char text[64] = "";
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (file && fgets(text, sizeof text, file) && text[0] >= '0' && text[0] <= '9')
        limit = strtoull(text, NULL, 10);
    if (file) fclose(file);
    return limit;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// "0::/path" of version 2: the group's limit and those of the groups above it.
static uint64_t cgroup_limit(void)
{
    char line[400] = "", path[500];
    uint64_t limit = limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file) && strncmp(line, "0::", 3) != 0) line[0] = 0;
    if (file) fclose(file);
    line[strcspn(line, "\n")] = 0;
    char *group = line[0] ? line + 3 : line;
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        limit = smaller(limit, limit_in(path));
        char *slash = strrchr(group, '/');
        if (!slash) return limit;
        *slash = 0;
    }
}

uint64_t llm_memory_limit(void)
{
    return smaller((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), cgroup_limit());
}
