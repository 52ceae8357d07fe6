// Ids of tool calls: nine letters and digits, which is what the strictest chat templates (Mistral's) want.
#ifndef BACKEND_CALL_ID_H
#define BACKEND_CALL_ID_H
#include <stddef.h>
#include <stdint.h>

enum { CALL_ID_SIZE = 10 };

// The first of an answer's ids; the others follow it. The same for the same seed and prompt.
uint64_t call_id_seed(uint64_t seed, size_t prompt_tokens);
void call_id_make(uint64_t number, char id[CALL_ID_SIZE]);

#endif
