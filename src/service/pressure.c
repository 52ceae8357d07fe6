// Pressure from stalls, from what is left, and from what happened to the control groups. A group that reaches its limit
// (`max` of memory.events) is no sign: reading files does that all day, and the kernel takes their pages back.
#include "service/pressure.h"

static llm_pressure worse(llm_pressure a, llm_pressure b) { return a > b ? a : b; }

static llm_pressure of_percent(double value, double warning, double critical)
{
    return value >= critical ? LLM_PRESSURE_CRITICAL : value >= warning ? LLM_PRESSURE_WARNING : LLM_PRESSURE_NONE;
}

static llm_pressure of_stall(const memory_signs *before, const memory_signs *now, int64_t elapsed_ns)
{
    if (!before->has_stall || !now->has_stall || now->stall_us < before->stall_us || elapsed_ns <= 0) return LLM_PRESSURE_NONE;
    return of_percent((double)(now->stall_us - before->stall_us) * 1e5 / (double)elapsed_ns, 15, 50);
}

static llm_pressure of_groups(const memory_signs *before, const memory_signs *now)
{
    if (now->out_of_memory > before->out_of_memory) return LLM_PRESSURE_CRITICAL;
    return now->throttled > before->throttled ? LLM_PRESSURE_WARNING : LLM_PRESSURE_NONE;
}

// macOS speaks for itself; its free memory is small by design.
static llm_pressure of_what_is_left(const char *root)
{
#ifdef __APPLE__
    (void)root;
    return LLM_PRESSURE_NONE;
#else
    llm_system_memory memory;
    if (system_memory_read(root, &memory, NULL) != LLM_OK) return LLM_PRESSURE_NONE;
    return of_percent(100 - 100 * (double)memory.available_bytes / (double)memory.total_bytes, 95, 98);
#endif
}

llm_pressure pressure_look(pressure_watch *watch, const char *root, int64_t now_ns)
{
    memory_signs signs;
    memory_signs_read(root, &signs);
    llm_pressure pressure = worse((llm_pressure)signs.system_level, of_what_is_left(root));
    if (watch->begun) {
        pressure = worse(pressure, of_stall(&watch->signs, &signs, now_ns - watch->time_ns));
        pressure = worse(pressure, of_groups(&watch->signs, &signs));
    }
    *watch = (pressure_watch){true, now_ns, signs};
    return pressure;
}
