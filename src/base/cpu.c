// Processor features and the number of processors that the affinity mask and the cgroup leave us.
#include "base/cpu.h"
#include "base/control_group.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static cpu_features features;

static void detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
#elif defined(__aarch64__) && defined(__linux__)
    features.neon_dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) && (getauxval(AT_HWCAP) & HWCAP_ASIMDHP);
#elif defined(__aarch64__)
    features.neon_dot = true;
#endif
}

const cpu_features *cpu_get_features(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect);
    return &features;
}

// Microseconds of processor time in each period: "150000 100000" (version 2), or a file for each (version 1).
static bool read_quota(const control_group *g, int version, long long *quota, long long *period)
{
    char text[64];
    *period = 100000;
    if (version == 2) return control_group_read(g, "cpu.max", text, sizeof text) && sscanf(text, "%lld %lld", quota, period) >= 1;
    if (!control_group_read(g, "cpu.cfs_quota_us", text, sizeof text) || sscanf(text, "%lld", quota) != 1) return false;
    if (control_group_read(g, "cpu.cfs_period_us", text, sizeof text) && sscanf(text, "%lld", period) != 1) *period = 100000;
    return true;
}

int cpu_quota(const char *root)
{
    int least = 0;
    for (int version = 1; version <= 2; version++) {
        control_group group;
        if (!control_group_find(root, version, "cpu", &group)) continue;
        do {
            long long quota, period;
            if (!read_quota(&group, version, &quota, &period) || quota <= 0 || period <= 0) continue;
            long long whole = quota / period + (quota % period != 0);
            if (whole < INT_MAX && (!least || whole < least)) least = (int)whole;
        } while (control_group_up(&group));
    }
    return least;
}

int cpu_count(void)
{
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    int quota = cpu_quota("");
    if (quota > 0 && quota < count) count = quota;
    return count > 0 ? count : 1;
}

void cpu_model_name(char *name, size_t capacity)
{
    char line[512];
    snprintf(name, capacity, "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, capacity, "%s", colon + 2);
        break;
    }
    if (file) fclose(file);
}
