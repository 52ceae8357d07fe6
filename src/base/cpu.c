// Processor features and the number of processors that the affinity mask and the cgroup leave us.
#include "base/cpu.h"
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

// Whole processors of a quota, rounded up; 0 when the file says none.
static int quota_of(const char *path, bool version_2)
{
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    long long quota = 0, period = 100000;
    int fields = fscanf(file, version_2 ? "%lld %lld" : "%lld", &quota, &period);
    fclose(file);
    if (!version_2 && fields == 1) {
        FILE *period_file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (period_file && fscanf(period_file, "%lld", &period) != 1) period = 100000;
        if (period_file) fclose(period_file);
    }
    return fields >= 1 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

static int cgroup_quota(void)
{
    char line[512], path[600];
    int quota = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::", 3) != 0) continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
        quota = quota_of(path, true);
    }
    if (file) fclose(file);
    if (!quota) quota = quota_of("/sys/fs/cgroup/cpu.max", true);
    if (!quota) quota = quota_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", false);
    return quota;
}

int cpu_count(void)
{
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    int quota = cgroup_quota();
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
