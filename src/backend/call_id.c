// Ids of tool calls.
#include "backend/call_id.h"

// splitmix64's mixing function.
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t call_id_seed(uint64_t seed, size_t prompt_tokens) { return mix(seed ^ mix(prompt_tokens)); }

void call_id_make(uint64_t number, char id[CALL_ID_SIZE])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t value = mix(number);
    for (int i = 0; i < CALL_ID_SIZE - 1; i++, value /= 62) id[i] = digits[value % 62];
    id[CALL_ID_SIZE - 1] = 0;
}
