// Streaming decode: text as soon as it is certain. What all pushes and the finish append is, byte for byte,
// what tokenizer_decode gives for all ids at once; never half a UTF-8 character. A push costs constant time
// (amortised).
#ifndef TEXT_DETOKENIZER_H
#define TEXT_DETOKENIZER_H
#include "text/tokenizer.h"

typedef struct detokenizer detokenizer; // one stream; used by one thread at a time

// Borrows the tokenizer, which must outlive it.
llm_status detokenizer_create(const tokenizer *tok, bool skip_special, detokenizer **out, llm_error *err);
void detokenizer_free(detokenizer *d); // detokenizer_free(NULL) does nothing

llm_status detokenizer_push(detokenizer *d, int32_t id, buf *out, llm_error *err);
llm_status detokenizer_finish(detokenizer *d, buf *out,
                              llm_error *err); // what was held back; the stream begins anew

#endif
