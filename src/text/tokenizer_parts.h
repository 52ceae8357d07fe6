// What a tokenizer consists of; for the files of this module only.
#ifndef TEXT_TOKENIZER_PARTS_H
#define TEXT_TOKENIZER_PARTS_H
#include <pthread.h>
#include "base/strmap.h"
#include "text/detokenizer_steps.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_model.h"

// --- added tokens ---

typedef struct added_token {
    char *content; // as the file has it
    size_t length;
    char *normal; // after the normalizer, NULL: the same. What is searched for, and what it decodes to
    size_t normal_length;
    int32_t id;
    bool single_word, strips_left, strips_right, normalized, special;
    bool skipped; // by a decode that leaves out special tokens
} added_token;

// The added tokens that are searched for in one kind of text; values of the trie are indices of added tokens.
typedef struct added_matcher {
    trie contents;
    bool begins[256]; // with this byte
} added_matcher;

typedef struct added_tokens {
    added_token *tokens;
    size_t count, capacity;
    strmap by_content; // index
    int32_t *by_id;    // [ids] index, -1: none
    size_t ids;
    added_matcher raw, normal; // in the text as given, and in normalized text
} added_tokens;

llm_status added_read(yyjson_val *json, const model *m, const normalizer *n, added_tokens *out,
                      llm_error *err);
void added_free(added_tokens *added);

// Goes through a text: parts between added tokens (token NULL) and the tokens, in order. Parts are not empty.
typedef struct added_search {
    const added_tokens *added;
    const added_matcher *matcher;
    const char *text;
    size_t length;
    size_t position;            // where the next match is looked for
    size_t done;                // what lies before it has been given out
    const added_token *waiting; // found, given out after the part before it
    size_t waiting_end;
} added_search;

typedef struct added_part {
    size_t start, end;
    const added_token *token;
} added_part;

added_search added_begin(const added_tokens *added, const added_matcher *matcher, const char *text,
                         size_t length);
bool added_next(added_search *search, added_part *part); // false: the end

// --- post-processor ---

enum { TEMPLATE_TEXT = -1, TEMPLATE_LONGEST = 256 };

typedef struct template_list {
    int32_t items[TEMPLATE_LONGEST]; // ids, and TEMPLATE_TEXT where the ids of the text go
    size_t count;
} template_list;

typedef struct post_processor {
    template_list with_special, without_special;
} post_processor;

llm_status post_processor_read(yyjson_val *json, post_processor *out, llm_error *err);

// --- all together ---

typedef struct encoder encoder;

struct tokenizer {
    model model;
    normalizer normalizer;
    pretokenizer pretokenizer;
    added_tokens added;
    post_processor post;
    decoder decoder;
    size_t vocab_size;
    // Working memory of past encodes, for the next ones; the only part that changes after loading.
    pthread_mutex_t pool_lock;
    encoder *pool;
    size_t pool_count;
};

void encoder_free(encoder *e);

// What a decode makes of an id, before the decoder's steps; NULL: nothing.
const char *tokenizer_decoded_token(const tokenizer *tok, int32_t id, size_t *length);

#endif
