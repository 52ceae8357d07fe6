// tokenizer.json and a text: the input is JSON, then a NUL, then the text. What loads must encode and decode
// within bounds, and a streamed decode must be the decode of the whole.
#include "base/mem.h"
#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_streaming(const tokenizer *tok, const token_list *ids, bool skip) {
    detokenizer *d;
    buf whole = {0}, streamed = {0};
    llm_error err;
    llm_status status = tokenizer_decode(tok, ids->ids, ids->count, skip, &whole, &err);
    if (detokenizer_create(tok, skip, &d, &err) != LLM_OK) abort();
    llm_status streaming = LLM_OK;
    for (size_t i = 0; i < ids->count && streaming == LLM_OK; i++) {
        streaming = detokenizer_push(d, ids->ids[i], &streamed, &err);
        if (!utf8_valid(streamed.data ? streamed.data : "", streamed.length)) abort();
    }
    if (streaming == LLM_OK) streaming = detokenizer_finish(d, &streamed, &err);
    if (streaming != status) abort();
    if (status == LLM_OK && (whole.length != streamed.length ||
                             (whole.length && memcmp(whole.data, streamed.data, whole.length))))
        abort();
    detokenizer_free(d);
    buf_free(&whole);
    buf_free(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t json_length = end ? (size_t)(end - data) : size;
    const char *text = end ? (const char *)end + 1 : "", *json = (const char *)data;
    size_t length = end ? size - json_length - 1 : 0;
    tokenizer *tok;
    llm_error err;
    if (tokenizer_load_json(json, json_length, "fuzz", &tok, &err) != LLM_OK) return 0;
    token_list ids = {0};
    if (tokenizer_encode(tok, text, length, TOKENIZER_ADD_SPECIAL, &ids, &err) == LLM_OK)
        check_streaming(tok, &ids, false);
    int32_t span = (int32_t)tokenizer_vocab_size(tok) + 2;
    token_list_clear(&ids);
    for (size_t i = 0; i < length;
         i++) { // the text's bytes as ids, for decoders that its encode does not reach
        int32_t id = (int32_t)((uint8_t)text[i]) % span;
        token_list_append(&ids, &id, 1);
    }
    check_streaming(tok, &ids, true);
    check_streaming(tok, &ids, false);
    token_list_free(&ids);
    tokenizer_free(tok);
    return 0;
}
