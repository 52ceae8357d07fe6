// Reads /proc/meminfo, /proc/pressure/memory and the files of the control groups; sysctl and Mach on macOS. The kernel's
// files are read with bounds all the same; what is missing or makes no sense sets no limit.
#include "base/system_memory.h"
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATH = 4096, MAX_TEXT = 16384, MAX_MOUNTS = 100000 };

// ---- Texts of numbers -------------------------------------------------------------------------------------

// A decimal number that begins the text; false when there is none, or it is too large.
static bool read_number(const char *text, uint64_t *value)
{
    *value = 0;
    if (*text < '0' || *text > '9') return false;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
            return false;
    return true;
}

// The number in the line that begins with `key` and white space.
static bool find_number(const char *text, const char *key, uint64_t *value)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
        if (!strncmp(line, key, length) && (line[length] == ' ' || line[length] == '\t'))
            return read_number(line + length + strspn(line + length, " \t"), value);
    return false;
}

bool memory_stall_parse(const char *text, memory_stall *stall)
{
    *stall = (memory_stall){0};
    const char *average = strstr(text, "avg10="), *total = strstr(text, "total=");
    if (strncmp(text, "some ", 5) || !average || !total) return false;
    stall->percent = strtod(average + 6, NULL);
    if (!(stall->percent >= 0 && stall->percent <= 100)) return false;
    return read_number(total + 6, &stall->total_us);
}

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/sysctl.h>

llm_status system_memory_read(const char *root, llm_system_memory *memory, llm_error *err)
{
    (void)root;
    *memory = (llm_system_memory){0};
    vm_statistics64_data_t statistics;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    size_t size = sizeof memory->total_bytes;
    if (sysctlbyname("hw.memsize", &memory->total_bytes, &size, NULL, 0) ||
        host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&statistics, &count) != KERN_SUCCESS)
        return error_set(err, LLM_IO_ERROR, "the system does not say how much memory there is");
    uint64_t pages = (uint64_t)statistics.free_count + statistics.inactive_count + statistics.purgeable_count;
    memory->available_bytes = lesser(pages * (uint64_t)vm_kernel_page_size, memory->total_bytes);
    return LLM_OK;
}

void memory_signs_read(const char *root, memory_signs *signs)
{
    (void)root;
    int level = 1; // 1 normal, 2 warning, 4 critical
    size_t size = sizeof level;
    *signs = (memory_signs){0};
    if (!sysctlbyname("kern.memorystatus_vm_pressure_level", &level, &size, NULL, 0))
        signs->system_level = level >= 4 ? 2 : level >= 2 ? 1 : 0;
}
#else

// ---- Control groups ---------------------------------------------------------------------------------------

typedef struct memory_group {
    char path[MAX_PATH];  // of the folder of this process's group
    size_t mount_length;  // of the path: where the hierarchy begins
} memory_group;

// The files of each version.
static const struct group_files {
    const char *filesystem, *limits[2], *used, *caches[2];
} files_of[] = {
    [1] = {"cgroup", {"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes", {"total_active_file", "total_inactive_file"}},
    [2] = {"cgroup2", {"memory.max", "memory.high"}, "memory.current", {"active_file", "inactive_file"}},
};

static bool has_word(const char *list, const char *word, size_t length)
{
    for (; list; list = strchr(list, ','), list += list != NULL)
        if (!strncmp(list, word, length) && (!list[length] || list[length] == ',')) return true;
    return false;
}

// Splits off the text up to `separator`; *rest is what follows, NULL: nothing.
static char *cut(char **rest, char separator)
{
    char *text = *rest, *end = text ? strchr(text, separator) : NULL;
    if (end) *end = 0;
    *rest = end ? end + 1 : NULL;
    return text;
}

// Lines as in a file of /proc; one that is too long is skipped. False at the end.
static bool next_line(FILE *file, char *line, size_t capacity)
{
    while (fgets(line, (int)capacity, file)) {
        char *end = strchr(line, '\n');
        if (end) return *end = 0, true;
        if (feof(file)) return true;
        for (int c; (c = fgetc(file)) != '\n' && c != EOF;) {}
    }
    return false;
}

static FILE *open_under(const char *root, const char *name)
{
    char path[MAX_PATH];
    return snprintf(path, sizeof path, "%s%s", root, name) < (int)sizeof path ? fopen(path, "re") : NULL;
}

// The group's path inside its hierarchy, from "4:memory:/a/b" (v1) or "0::/a/b" (v2).
static bool find_membership(const char *root, int version, char *path, size_t capacity)
{
    char line[MAX_PATH];
    bool found = false;
    FILE *file = open_under(root, "/proc/self/cgroup");
    for (int lines = 0; file && !found && lines < MAX_MOUNTS && next_line(file, line, sizeof line); lines++) {
        char *rest = line, *number = cut(&rest, ':'), *controllers = cut(&rest, ':');
        if (!rest) continue;
        found = version == 2 ? !strcmp(number, "0") && !*controllers : has_word(controllers, "memory", 6);
        if (found) found = snprintf(path, capacity, "%s", rest) < (int)capacity;
    }
    if (file) fclose(file);
    return found;
}

// Where the hierarchy is mounted, and which of its groups the mount shows, from lines like
//     36 35 98:0 /group /mount/point rw,noatime shared:1 - cgroup none rw,memory
static bool find_mount(const char *root, int version, char mount[MAX_PATH], char group[MAX_PATH])
{
    char line[MAX_PATH];
    bool found = false;
    FILE *file = open_under(root, "/proc/self/mountinfo");
    for (int lines = 0; file && !found && lines < MAX_MOUNTS && next_line(file, line, sizeof line); lines++) {
        char *tail = strstr(line, " - "), *rest = line;
        if (!tail) continue;
        *tail = 0;
        tail += 3;
        for (int i = 0; i < 3; i++) cut(&rest, ' ');
        char *shown = cut(&rest, ' '), *point = cut(&rest, ' '), *type = cut(&tail, ' ');
        cut(&tail, ' ');
        if (!point || strcmp(type, files_of[version].filesystem)) continue;
        found = version == 2 || (tail && has_word(tail, "memory", 6));
        if (!found) continue;
        snprintf(mount, MAX_PATH, "%s", point);
        snprintf(group, MAX_PATH, "%s", shown);
    }
    if (file) fclose(file);
    return found;
}

static bool find_group(const char *root, int version, memory_group *g)
{
    char mount[MAX_PATH], shown[MAX_PATH], member[MAX_PATH];
    if (!find_membership(root, version, member, sizeof member) || !find_mount(root, version, mount, shown)) return false;
    size_t length = strcmp(shown, "/") ? strlen(shown) : 0;
    // A mount that shows another part of the hierarchy (or a namespace outside of which we are) says what it can.
    const char *inner = !strncmp(member, shown, length) && (member[length] == '/' || !member[length]) ? member + length : "";
    if (strstr(inner, "..")) inner = "";
    int needed = snprintf(g->path, sizeof g->path, "%s%s%s", root, mount, strcmp(inner, "/") ? inner : "");
    g->mount_length = strlen(root) + strlen(mount);
    return needed < (int)sizeof g->path;
}

// To the parent; false behind the root of the hierarchy.
static bool go_up(memory_group *g)
{
    char *slash = strrchr(g->path, '/');
    if (strlen(g->path) <= g->mount_length || !slash) return false;
    *slash = 0;
    return strlen(g->path) >= g->mount_length;
}

static bool read_file_of(const memory_group *g, const char *name, char *text, size_t capacity)
{
    char path[MAX_PATH + 40];
    snprintf(path, sizeof path, "%s/%s", g->path, name);
    return file_read_start(path, text, capacity);
}

static bool read_number_of(const memory_group *g, const char *name, uint64_t *value)
{
    char text[64];
    return read_file_of(g, name, text, sizeof text) && read_number(text, value);
}

// Lowers the figures to what one group allows. "max", and the number that version 1 has for it, are no limit.
static void apply_group(const memory_group *g, const struct group_files *names, llm_system_memory *memory)
{
    char text[MAX_TEXT];
    uint64_t limit = UINT64_MAX, value, used = 0, caches = 0;
    for (int i = 0; i < 2 && names->limits[i]; i++)
        if (read_number_of(g, names->limits[i], &value)) limit = lesser(limit, value);
    if (limit >= memory->total_bytes && limit >= (uint64_t)1 << 60) return;
    read_number_of(g, names->used, &used);
    if (read_file_of(g, "memory.stat", text, sizeof text))
        for (int i = 0; i < 2; i++)
            if (find_number(text, names->caches[i], &value) && value <= used) caches += value;
    used -= lesser(used, caches);
    memory->total_bytes = lesser(memory->total_bytes, limit);
    memory->available_bytes = lesser(memory->available_bytes, limit - lesser(limit, used));
}

// ---- The machine ------------------------------------------------------------------------------------------

static bool read_meminfo(const char *root, llm_system_memory *memory)
{
    char path[MAX_PATH], text[MAX_TEXT];
    uint64_t total, available, part[3] = {0};
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (!file_read_start(path, text, sizeof text) || !find_number(text, "MemTotal:", &total)) return false;
    if (!find_number(text, "MemAvailable:", &available)) { // before Linux 3.14
        find_number(text, "MemFree:", &part[0]);
        find_number(text, "Buffers:", &part[1]);
        find_number(text, "Cached:", &part[2]);
        available = part[0] + part[1] + part[2];
    }
    if (total > UINT64_MAX / 1024) return false;
    memory->total_bytes = total * 1024;
    memory->available_bytes = lesser(available, total) * 1024;
    return true;
}

static bool read_stall(const char *path, memory_stall *stall)
{
    char text[512] = "";
    *stall = (memory_stall){0};
    return file_read_start(path, text, sizeof text) && memory_stall_parse(text, stall);
}

llm_status system_memory_read(const char *root, llm_system_memory *memory, llm_error *err)
{
    *memory = (llm_system_memory){0};
    if (!read_meminfo(root, memory))
        return error_set(err, LLM_IO_ERROR, "%s/proc/meminfo does not say how much memory there is", root);
    for (int version = 1; version <= 2; version++) {
        memory_group group;
        if (!find_group(root, version, &group)) continue;
        do apply_group(&group, &files_of[version], memory);
        while (go_up(&group));
    }
    char path[MAX_PATH];
    memory_stall stall;
    snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
    if (read_stall(path, &stall)) memory->stall_percent = (float)stall.percent;
    return LLM_OK;
}

static void note_stall(const char *path, memory_signs *signs)
{
    memory_stall stall;
    signs->has_stall = read_stall(path, &stall);
    signs->stall_us = stall.total_us;
}

void memory_signs_read(const char *root, memory_signs *signs)
{
    char path[MAX_PATH + 40], text[512];
    memory_group group;
    uint64_t count;
    *signs = (memory_signs){0};
    snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
    note_stall(path, signs);
    if (!find_group(root, 2, &group)) return;
    snprintf(path, sizeof path, "%s/memory.pressure", group.path);
    if (!signs->has_stall) note_stall(path, signs);
    do {
        if (!read_file_of(&group, "memory.events", text, sizeof text)) continue;
        if (find_number(text, "high", &count)) signs->throttled += count;
        if (find_number(text, "oom", &count)) signs->out_of_memory += count;
    } while (go_up(&group));
}
#endif
