// Tokens for the benchmarks: the beginning of a text, as often as there is room for it, or random ones.
#ifndef TOKENS_H
#define TOKENS_H
#include "bench.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

// `file` NULL: random ones. The caller frees the `count` tokens with mem_free.
static inline int32_t *choose_tokens(const char *directory, const char *file, int vocab_size, int count)
{
    int32_t *tokens = mem_alloc_zero((size_t)count, sizeof *tokens);
    uint32_t random = 12345;
    if (!tokens) exit(1);
    for (int i = 0; !file && i < count; i++) {
        random = random * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((random >> 8) % (uint32_t)vocab_size);
    }
    if (!file) return tokens;
    tokenizer *tok;
    token_list ids = {0};
    char *text;
    size_t length;
    check(tokenizer_load(directory, &tok, &err));
    check(file_read(file, (size_t)64 << 20, &text, &length, &err));
    check(tokenizer_encode(tok, text, length, TOKENIZER_ADD_SPECIAL, &ids, &err));
    if (ids.count == 0) exit(1);
    for (int i = 0; i < count; i++) tokens[i] = ids.ids[(size_t)i % ids.count];
    mem_free(ids.ids);
    mem_free(text);
    tokenizer_free(tok);
    return tokens;
}

#endif
