// Memory of the process: /proc on Linux, getrusage and Mach elsewhere. Reads without allocating.
#include "client/process_memory.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __APPLE__
#include <mach/mach.h>
static uint64_t resident_now(void)
{
    mach_task_basic_info_data_t info;
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
    kern_return_t result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count);
    return result == KERN_SUCCESS ? info.resident_size : 0;
}
#else
static uint64_t resident_now(void)
{
    char text[128];
    if (!file_read_start("/proc/self/statm", text, sizeof text)) return 0;
    const char *second = strchr(text, ' '); // size resident shared … in pages
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
#endif

// VmHWM of /proc/self/status, which counts from the last write to /proc/self/clear_refs; 0 without it.
static uint64_t high_water_mark(void)
{
    char text[4096];
    if (!file_read_start("/proc/self/status", text, sizeof text)) return 0;
    const char *line = strstr(text, "VmHWM:");
    return line ? strtoull(line + 6, NULL, 10) * 1024 : 0;
}

void process_memory(uint64_t *resident, uint64_t *peak_resident)
{
    struct rusage usage;
    *resident = resident_now();
    *peak_resident = high_water_mark();
    if (!*peak_resident && !getrusage(RUSAGE_SELF, &usage))
#ifdef __APPLE__
        *peak_resident = (uint64_t)usage.ru_maxrss;
#else
        *peak_resident = (uint64_t)usage.ru_maxrss * 1024;
#endif
    if (*peak_resident < *resident) *peak_resident = *resident;
}
