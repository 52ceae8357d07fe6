// The "Precompiled" normalizer: SentencePiece's character map, a double-array trie and the replacement texts.
#ifndef TEXT_NORMALIZER_CHARSMAP_H
#define TEXT_NORMALIZER_CHARSMAP_H
#include "base/buf.h"
#include "base/error.h"

typedef struct charsmap {
    uint32_t *units; // the double array
    size_t count;
    char *texts; // replacements, each ended by a NUL, and a last NUL
    size_t length;
} charsmap;

llm_status charsmap_read(const char *base64, size_t length, charsmap *out, llm_error *err);
void charsmap_free(charsmap *map);
void charsmap_apply(const charsmap *map, const char *text, size_t length, buf *out);

#endif
