// tokenizer.json and, after a zero byte, a text: encodes it, decodes it, and the stream of its tokens must be the
// same text.
#include "text/detokenizer.h"
#include "base/utf8.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_stream(const tokenizer *tok, const token_list *ids, bool skip_special)
{
    llm_error err;
    buf whole = {0}, streamed = {0};
    detokenizer *d;
    if (detokenizer_create(tok, skip_special, &d, &err) != LLM_OK) abort();
    if (tokenizer_decode(tok, ids->ids, ids->count, skip_special, &whole, &err) == LLM_OK) {
        for (size_t i = 0; i < ids->count; i++) {
            if (detokenizer_push(d, ids->ids[i], &streamed, &err) != LLM_OK) abort();
            if (!utf8_valid(streamed.data ? streamed.data : "", streamed.length)) abort();
        }
        if (detokenizer_finish(d, &streamed, &err) != LLM_OK) abort();
        if (whole.length != streamed.length || (whole.length && memcmp(whole.data, streamed.data, whole.length) != 0)) abort();
    }
    detokenizer_free(d);
    buf_free(&whole);
    buf_free(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data, *text = size ? memchr(data, 0, size) : NULL;
    size_t length = text ? (size_t)(text - json) : size;
    tokenizer *tok;
    token_list ids = {0};
    llm_error err;
    if (tokenizer_load_json(json, length, "fuzz", &tok, &err) != LLM_OK) return 0;
    if (text && tokenizer_encode(tok, text + 1, size - length - 1, TOKENIZER_ADD_SPECIAL, &ids, &err) == LLM_OK) {
        check_stream(tok, &ids, false);
        check_stream(tok, &ids, true);
    }
    token_list_free(&ids);
    tokenizer_free(tok);
    return 0;
}
