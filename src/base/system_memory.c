// Reads /proc/meminfo, /proc/pressure/memory and the files of the control groups; sysctl and Mach on macOS. The kernel's
// files are read with bounds all the same; what is missing or makes no sense sets no limit.
#include "base/system_memory.h"
#include "base/control_group.h"
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATH = CONTROL_GROUP_PATH, MAX_TEXT = 16384 };

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

// The files of each version.
static const struct group_files {
    const char *limits[2], *used, *caches[2];
} files_of[] = {
    [1] = {{"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes", {"total_active_file", "total_inactive_file"}},
    [2] = {{"memory.max", "memory.high"}, "memory.current", {"active_file", "inactive_file"}},
};

static bool read_number_of(const control_group *g, const char *name, uint64_t *value)
{
    char text[64];
    return control_group_read(g, name, text, sizeof text) && read_number(text, value);
}

// Lowers the figures to what one group allows. "max", and the number that version 1 has for it, are no limit.
static void apply_group(const control_group *g, const struct group_files *names, llm_system_memory *memory)
{
    char text[MAX_TEXT];
    uint64_t limit = UINT64_MAX, value, used = 0, caches = 0;
    for (int i = 0; i < 2 && names->limits[i]; i++)
        if (read_number_of(g, names->limits[i], &value)) limit = lesser(limit, value);
    if (limit >= memory->total_bytes && limit >= (uint64_t)1 << 60) return;
    read_number_of(g, names->used, &used);
    if (control_group_read(g, "memory.stat", text, sizeof text))
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
        control_group group;
        if (!control_group_find(root, version, "memory", &group)) continue;
        do apply_group(&group, &files_of[version], memory);
        while (control_group_up(&group));
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
    control_group group;
    uint64_t count;
    *signs = (memory_signs){0};
    snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
    note_stall(path, signs);
    if (!control_group_find(root, 2, "memory", &group)) return;
    snprintf(path, sizeof path, "%s/memory.pressure", group.path);
    if (!signs->has_stall) note_stall(path, signs);
    do {
        if (!control_group_read(&group, "memory.events", text, sizeof text)) continue;
        if (find_number(text, "high", &count)) signs->throttled += count;
        if (find_number(text, "oom", &count)) signs->out_of_memory += count;
    } while (control_group_up(&group));
}
#endif
