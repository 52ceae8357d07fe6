// Which kernels run: one table for each instruction set of this architecture, the best one first in line.
#include "engine/cpu/kernels/tables.h"
#include "base/cpu.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

#define KERNEL_ENTRY(field, isa) .field = field##_##isa,

static const kernels scalar_table = {.isa = "scalar", KERNEL_FIELDS(KERNEL_ENTRY, scalar)};
#if defined(__x86_64__)
static const kernels avx2_table = {.isa = "avx2", KERNEL_FIELDS(KERNEL_ENTRY, avx2)};
static const kernels avx512_table = {.isa = "avx512vnni", KERNEL_FIELDS(KERNEL_ENTRY, avx512)};
#elif defined(__aarch64__)
static const kernels neon_table = {.isa = "neon", KERNEL_FIELDS(KERNEL_ENTRY, neon)};
#endif

enum { MAX_TABLES = 3 };

int kernels_available(const kernels **tables, int capacity)
{
    const kernels *all[MAX_TABLES];
    int count = 0;
    all[count++] = &scalar_table;
#if defined(__x86_64__)
    if (cpu_get_features()->avx2) all[count++] = &avx2_table;
    if (cpu_get_features()->avx512_vnni) all[count++] = &avx512_table;
#elif defined(__aarch64__)
    if (cpu_get_features()->neon_dot) all[count++] = &neon_table;
#endif
    for (int i = 0; i < count && i < capacity; i++) tables[i] = all[i];
    return count;
}

const kernels *kernels_select(void)
{
    const kernels *tables[MAX_TABLES];
    int count = kernels_available(tables, MAX_TABLES);
    const char *wanted = getenv("LLMLOCAL_ISA");
    if (!wanted || !*wanted) return tables[count - 1];
    for (int i = 0; i < count; i++)
        if (strcmp(tables[i]->isa, wanted) == 0) return tables[i];
    log_message(LOG_WARNING, "LLMLOCAL_ISA=%s cannot run on this processor: using %s", wanted,
                tables[count - 1]->isa);
    return tables[count - 1];
}
