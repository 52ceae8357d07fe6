// Text to token ids and back, as `tokenizer.json` (the Hugging Face tokenizers library's format) describes
// it, with the same ids as that library. Knows nothing of chat templates.
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H
#include "base/buf.h"
#include "base/error.h"

// Immutable after loading: any thread may use one tokenizer at any time.
typedef struct tokenizer tokenizer;

// A growable list of ids; begins as {0}. tokenizer_encode appends, so one list can collect several texts.
typedef struct token_list {
    int32_t *ids;
    size_t count, capacity;
} token_list;

bool token_list_append(token_list *list, const int32_t *ids, size_t count); // false without memory
void token_list_clear(token_list *list);                                    // keeps the memory
void token_list_free(token_list *list);                                     // the list can be used again

// Loads `path`: a tokenizer.json, or a directory that holds one. What the file asks for and this build does
// not know is LLM_UNSUPPORTED_FORMAT, naming it; a damaged file is LLM_LOAD_FAILED. Free with tokenizer_free.
llm_status tokenizer_load(const char *path, tokenizer **out, llm_error *err);
// The same from memory; `name` is for error messages. `json` is not needed afterwards.
llm_status tokenizer_load_json(const char *json, size_t length, const char *name, tokenizer **out,
                               llm_error *err);
void tokenizer_free(tokenizer *tok); // tokenizer_free(NULL) does nothing

enum tokenizer_flags {
    TOKENIZER_ADD_SPECIAL =
        1, // apply the post-processor (<bos> and the like); a rendered chat template has them already
};

// Appends the ids of `text` (UTF-8; anything else is LLM_INVALID_ARGUMENT). The texts of special tokens
// inside `text` become those tokens with any flags, as in the Hugging Face library. On failure the list is as
// it was.
llm_status tokenizer_encode(const tokenizer *tok, const char *text, size_t length, unsigned flags,
                            token_list *out, llm_error *err);

// Appends the text of the ids to `out`. Bytes that are not UTF-8 become U+FFFD; ids that no token has are
// left out.
llm_status tokenizer_decode(const tokenizer *tok, const int32_t *ids, size_t count, bool skip_special,
                            buf *out, llm_error *err);

size_t tokenizer_vocab_size(const tokenizer *tok); // largest id + 1, added tokens included
// A token as the file spells it ("Ġthe", "▁the", "<0x0A>"): borrowed, NUL-terminated (but may hold NULs);
// NULL when no token has this id. `length` may be NULL.
const char *tokenizer_token_text(const tokenizer *tok, int32_t id, size_t *length);
int32_t tokenizer_token_id(const tokenizer *tok, const char *text, size_t length); // -1: no such token
bool tokenizer_is_special(const tokenizer *tok, int32_t id);                       // left out by skip_special

#endif
