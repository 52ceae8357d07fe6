// How much memory this process has.
#ifndef CLIENT_PROCESS_MEMORY_H
#define CLIENT_PROCESS_MEMORY_H
#include <stdint.h>

void process_memory(uint64_t *resident, uint64_t *peak_resident); // bytes; 0 where the system does not say

#endif
