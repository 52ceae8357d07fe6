// What this processor can do and how much of it we may use.
#ifndef BASE_CPU_H
#define BASE_CPU_H
#include <stdbool.h>
#include <stddef.h>

typedef struct cpu_features {
    bool avx2;        // with FMA and F16C
    bool avx512;      // F, BW, DQ, VL
    bool avx512_vnni; // with VBMI
    bool neon_dot;    // Armv8.2 dot product and half-precision conversion
} cpu_features;

const cpu_features *cpu_get_features(void); // detected once; any thread
// Whole processors, rounded up, that the control groups leave us, up to the root of each hierarchy; 0: no limit. `root` stands
// before every path, "" for the real machine.
int cpu_quota(const char *root);
int cpu_count(void);                        // processors we may run on: affinity mask and cgroup quota, at least 1
void cpu_model_name(char *name, size_t capacity);

#endif
