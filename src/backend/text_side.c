// llm_tokenizer: a model's text side for applications, without its weights.
#include "backend/loaded_model.h"
#include "base/mem.h"
#include "client/spec.h"
#include "models/resolve.h"
#include <string.h>

struct llm_tokenizer {
    tokenizer *tok;
    chat_template *chat; // NULL: none
    char *name;          // for messages
};

void llm_tokenizer_free(llm_tokenizer *t)
{
    if (!t) return;
    tokenizer_free(t->tok);
    chat_template_free(t->chat);
    mem_free(t->name);
    mem_free(t);
}

llm_tokenizer *llm_tokenizer_create(const llm_model_spec *spec, llm_error *err)
{
    llm_model_spec whole;
    char *directory = NULL;
    llm_tokenizer *t = NULL;
    llm_status status = spec_read(spec, &whole, err);
    if (status == LLM_OK) status = model_resolve_cached(&whole, &directory, err);
    if (status == LLM_OK && !(t = mem_alloc_zero(1, sizeof *t))) status = error_no_memory(err, "a tokenizer");
    if (status == LLM_OK) status = text_side_open(directory, &t->tok, &t->chat, err);
    if (status == LLM_OK && !(t->name = mem_copy_string(whole.base))) status = error_no_memory(err, "a tokenizer");
    mem_free(directory);
    if (status == LLM_OK) return t;
    llm_tokenizer_free(t);
    return NULL;
}

llm_status llm_tokenizer_encode_copy(const llm_tokenizer *t, const char *text, size_t length, bool add_special, int32_t **tokens,
                                     int *num_tokens, llm_error *err)
{
    token_list list = {0};
    *tokens = NULL;
    *num_tokens = 0;
    llm_status status = tokenizer_encode(t->tok, text, length, add_special ? TOKENIZER_ADD_SPECIAL : 0, &list, err);
    if (status == LLM_OK && list.count > INT32_MAX) status = error_set(err, LLM_INVALID_ARGUMENT, "the text is too long");
    if (status != LLM_OK) {
        token_list_free(&list);
        return status;
    }
    *tokens = list.ids;
    *num_tokens = (int)list.count;
    return LLM_OK;
}

char *llm_tokenizer_decode_copy(const llm_tokenizer *t, const int32_t *tokens, int num_tokens, bool skip_special, llm_error *err)
{
    buf text = {0};
    if (num_tokens < 0) return error_set(err, LLM_INVALID_ARGUMENT, "%d tokens", num_tokens), NULL;
    if (tokenizer_decode(t->tok, tokens, (size_t)num_tokens, skip_special, &text, err) != LLM_OK) {
        buf_free(&text);
        return NULL;
    }
    char *copy = buf_take(&text);
    if (!copy) error_no_memory(err, "a text");
    return copy;
}

// The same object with "add_generation_prompt": true in front. It is joined as text: copying values would recurse as
// deep as a hostile caller nests them.
static llm_status add_default(const char *json, yyjson_doc **doc, llm_error *err)
{
    buf whole = {0};
    size_t length;
    const char *members = json_members(json, &length);
    buf_append_string(&whole, "{\"add_generation_prompt\":true");
    if (length > 0) buf_append_char(&whole, ',');
    buf_append(&whole, members, length);
    buf_append_char(&whole, '}');
    json_free(*doc);
    *doc = NULL;
    llm_status status = whole.failed ? error_no_memory(err, "the template's arguments")
                                     : json_read(whole.data, whole.length, "the template's arguments", doc, err);
    buf_free(&whole);
    return status;
}

static llm_status render(const llm_tokenizer *t, const char *json, yyjson_doc **doc, buf *text, llm_error *err)
{
    if (!t->chat) return error_set(err, LLM_TEMPLATE_ERROR, "%s has no chat template", t->name);
    if (!yyjson_is_obj(yyjson_doc_get_root(*doc)))
        return error_set(err, LLM_INVALID_ARGUMENT, "the template's arguments must be a JSON object");
    llm_status status = LLM_OK;
    if (!yyjson_obj_get(yyjson_doc_get_root(*doc), "add_generation_prompt")) status = add_default(json, doc, err);
    return status == LLM_OK ? chat_template_render(t->chat, yyjson_doc_get_root(*doc), NULL, text, err) : status;
}

char *llm_tokenizer_render_copy(const llm_tokenizer *t, const char *json, llm_error *err)
{
    yyjson_doc *doc;
    buf text = {0};
    if (json_read(json, strlen(json), "the template's arguments", &doc, err) != LLM_OK) return NULL;
    llm_status status = render(t, json, &doc, &text, err);
    json_free(doc);
    char *copy = status == LLM_OK ? buf_take(&text) : NULL;
    if (status == LLM_OK && !copy) error_no_memory(err, "a text");
    buf_free(&text);
    return copy;
}
