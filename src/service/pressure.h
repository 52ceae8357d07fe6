// How short memory is, from what the system tells.
#ifndef SERVICE_PRESSURE_H
#define SERVICE_PRESSURE_H
#include "base/system_memory.h"

// What was seen at the last look.
typedef struct pressure_watch {
    bool begun;
    int64_t time_ns;
    memory_signs signs;
} pressure_watch;

// The first look only remembers counters: what happened before does not count.
llm_pressure pressure_look(pressure_watch *watch, const char *root, int64_t now_ns);

#endif
