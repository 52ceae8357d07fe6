// Loading a tokenizer, and what it knows of single tokens.
#include "text/tokenizer_parts.h"
#include "base/file.h"
#include "base/mem.h"
#include <string.h>

enum { LARGEST_FILE = 512 << 20 };

static llm_status check_version(yyjson_val *root, llm_error *err) {
    const char *version;
    if (!yyjson_is_obj(root)) return error_set(err, LLM_LOAD_FAILED, "not a tokenizer");
    llm_status status = json_get_string(root, "version", "1.0", &version, err);
    if (status == LLM_OK && strcmp(version, "1.0") != 0)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the tokenizer's version \"%.20s\" is not supported",
                         version);
    return status;
}

// "truncation" and "padding" are not read: they are settings of whoever saved the file, and mlx-lm resets
// them too.
static llm_status read_parts(yyjson_val *root, tokenizer *tok, llm_error *err) {
    llm_status status = check_version(root, err);
    if (status == LLM_OK) status = model_read(yyjson_obj_get(root, "model"), &tok->model, err);
    if (status == LLM_OK) status = normalizer_read(yyjson_obj_get(root, "normalizer"), &tok->normalizer, err);
    if (status == LLM_OK)
        status = pretokenizer_read(yyjson_obj_get(root, "pre_tokenizer"), &tok->pretokenizer, err);
    if (status == LLM_OK)
        status = post_processor_read(yyjson_obj_get(root, "post_processor"), &tok->post, err);
    if (status == LLM_OK) status = decoder_read(yyjson_obj_get(root, "decoder"), &tok->decoder, err);
    if (status == LLM_OK)
        status =
            added_read(yyjson_obj_get(root, "added_tokens"), &tok->model, &tok->normalizer, &tok->added, err);
    tok->vocab_size = tok->model.vocab.size > tok->added.ids ? tok->model.vocab.size : tok->added.ids;
    return status;
}

static llm_status load_document(yyjson_doc *doc, const char *name, tokenizer **out, llm_error *err) {
    *out = NULL;
    tokenizer *tok = mem_alloc_zero(1, sizeof *tok);
    if (!tok) return error_no_memory(err, "a tokenizer");
    pthread_mutex_init(&tok->pool_lock, NULL);
    llm_status status = read_parts(yyjson_doc_get_root(doc), tok, err);
    if (status == LLM_OK) return *out = tok, LLM_OK;
    tokenizer_free(tok);
    return error_prefix(err, "%s", name), status;
}

llm_status tokenizer_load_json(const char *json, size_t length, const char *name, tokenizer **out,
                               llm_error *err) {
    yyjson_doc *doc;
    *out = NULL;
    llm_status status = json_read(json, length, name, &doc, err);
    if (status == LLM_OK) status = load_document(doc, name, out, err);
    json_free(doc);
    return status;
}

llm_status tokenizer_load(const char *path, tokenizer **out, llm_error *err) {
    yyjson_doc *doc = NULL;
    *out = NULL;
    char *file = file_is_directory(path) ? path_join(path, "tokenizer.json") : mem_copy_string(path);
    if (!file) return error_no_memory(err, "a path");
    llm_status status = json_read_file(file, LARGEST_FILE, &doc, err);
    if (status == LLM_OK) status = load_document(doc, file, out, err);
    json_free(doc);
    mem_free(file);
    return status;
}

void tokenizer_free(tokenizer *tok) {
    if (!tok) return;
    encoder_free(tok->pool);
    model_free(&tok->model);
    normalizer_free(&tok->normalizer);
    pretokenizer_free(&tok->pretokenizer);
    decoder_free(&tok->decoder);
    added_free(&tok->added);
    pthread_mutex_destroy(&tok->pool_lock);
    mem_free(tok);
}

size_t tokenizer_vocab_size(const tokenizer *tok) {
    return tok->vocab_size;
}

static const added_token *find_added(const tokenizer *tok, int32_t id) {
    if (id < 0 || (size_t)id >= tok->added.ids || tok->added.by_id[id] < 0) return NULL;
    return &tok->added.tokens[tok->added.by_id[id]];
}

const char *tokenizer_token_text(const tokenizer *tok, int32_t id, size_t *length) {
    size_t ignored;
    if (!length) length = &ignored;
    const added_token *added = find_added(tok, id);
    if (!added) return vocab_text(&tok->model.vocab, id, length);
    *length = added->length;
    return added->content;
}

const char *tokenizer_decoded_token(const tokenizer *tok, int32_t id, size_t *length) {
    const added_token *added = find_added(tok, id);
    if (!added || !added->normal) return tokenizer_token_text(tok, id, length);
    *length = added->normal_length;
    return added->normal;
}

int32_t tokenizer_token_id(const tokenizer *tok, const char *text, size_t length) {
    uint32_t index;
    if (strmap_get(&tok->added.by_content, text, length, &index)) return tok->added.tokens[index].id;
    return vocab_find(&tok->model.vocab, text, length);
}

bool tokenizer_is_special(const tokenizer *tok, int32_t id) {
    const added_token *added = find_added(tok, id);
    return added && added->skipped;
}

// --- lists of ids ---

bool token_list_append(token_list *list, const int32_t *ids, size_t count) {
    if (!count) return true;
    if (count > SIZE_MAX - list->count ||
        !mem_grow((void **)&list->ids, &list->capacity, list->count + count, sizeof *list->ids))
        return false;
    memcpy(list->ids + list->count, ids, count * sizeof *ids);
    list->count += count;
    return true;
}

void token_list_clear(token_list *list) {
    list->count = 0;
}

void token_list_free(token_list *list) {
    mem_free(list->ids);
    *list = (token_list){0};
}
