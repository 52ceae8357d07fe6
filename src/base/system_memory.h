// How much memory the machine and the process's control groups (cgroup v1 and v2) have, and how hard it is to get.
#ifndef BASE_SYSTEM_MEMORY_H
#define BASE_SYSTEM_MEMORY_H
#include "base/error.h"

// `root` stands before every path, "" for the real machine. Where the system says nothing: LLM_IO_ERROR.
llm_status system_memory_read(const char *root, llm_system_memory *memory, llm_error *err);

// Pressure stall information: how long at least one task has waited for memory.
typedef struct memory_stall {
    double percent;     // of the last ten seconds
    uint64_t total_us;  // since the start
} memory_stall;
bool memory_stall_parse(const char *text, memory_stall *stall); // false when the text is none of PSI's

// What tells that memory is short. Counters only grow.
typedef struct memory_signs {
    bool has_stall;
    uint64_t stall_us;      // the machine's, which contains the control group's; where it has none, the group's
    uint64_t throttled, out_of_memory; // cgroup v2: how often that happened to a group (high and oom of memory.events)
    int system_level;       // macOS: 0 normal, 1 warning, 2 critical
} memory_signs;
void memory_signs_read(const char *root, memory_signs *signs);

#endif
