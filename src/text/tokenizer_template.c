// The post-processor, worked out at load: where the ids of the text go, and which ids are around them.
#include "text/tokenizer_parts.h"
#include <string.h>

enum { MOST_PARTS = 32, DEEPEST_SEQUENCE = 8 };

// Between processors the result is a list of parts, as in the Hugging Face library: each processor sees the
// parts that the one before it left, and all are joined at the end.
typedef struct parts {
    template_list lists[MOST_PARTS];
    size_t count;
} parts;

static llm_status too_long(llm_error *err) {
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "a very long post-processor");
}

static llm_status append_item(template_list *list, int32_t item, llm_error *err) {
    if (list->count == TEMPLATE_LONGEST) return too_long(err);
    list->items[list->count++] = item;
    return LLM_OK;
}

static llm_status append_list(template_list *list, const template_list *more, llm_error *err) {
    if (list->count + more->count > TEMPLATE_LONGEST) return too_long(err);
    memcpy(list->items + list->count, more->items, more->count * sizeof *more->items);
    list->count += more->count;
    return LLM_OK;
}

static llm_status read_id(yyjson_val *value, int32_t *id, llm_error *err) {
    if (!yyjson_is_uint(value) || yyjson_get_uint(value) > VOCAB_LARGEST_ID)
        return error_set(err, LLM_LOAD_FAILED, "the post-processor has a token without a usable id");
    *id = (int32_t)yyjson_get_uint(value);
    return LLM_OK;
}

static llm_status special_token(yyjson_val *json, yyjson_val *piece, template_list *out, llm_error *err) {
    size_t index, count;
    yyjson_val *item, *name = yyjson_obj_get(piece, "id");
    yyjson_val *token = yyjson_is_str(name) ? yyjson_obj_getn(yyjson_obj_get(json, "special_tokens"),
                                                              yyjson_get_str(name), yyjson_get_len(name))
                                            : NULL;
    yyjson_val *ids = yyjson_obj_get(token, "ids");
    llm_status status = LLM_OK;
    if (!yyjson_is_arr(ids))
        return error_set(err, LLM_LOAD_FAILED, "the post-processor's \"%.40s\" has no ids",
                         yyjson_is_str(name) ? yyjson_get_str(name) : "");
    yyjson_arr_foreach(ids, index, count, item) {
        int32_t id = 0;
        if (status == LLM_OK) status = read_id(item, &id, err);
        if (status == LLM_OK) status = append_item(out, id, err);
    }
    return status;
}

static llm_status apply_template(yyjson_val *json, bool special, const parts *in, parts *out,
                                 llm_error *err) {
    size_t index, count;
    yyjson_val *piece, *single = yyjson_obj_get(json, "single");
    if (!yyjson_is_arr(single))
        return error_set(err, LLM_LOAD_FAILED, "the post-processor has no template \"single\"");
    out->count = 0;
    yyjson_arr_foreach(single, index, count, piece) {
        yyjson_val *token = yyjson_obj_get(piece, "SpecialToken"),
                   *sequence = yyjson_obj_get(piece, "Sequence");
        const char *name = yyjson_get_str(yyjson_obj_get(sequence, "id"));
        llm_status status = LLM_OK;
        if (out->count == MOST_PARTS) return too_long(err);
        template_list *list = &out->lists[out->count];
        list->count = 0;
        if (token && special)
            status = special_token(json, token, list, err);
        else if (token)
            continue;
        else if (name && strcmp(name, "A") == 0)
            *list = in->lists[0];
        else if (name && strcmp(name, "B") == 0 && in->count > 1)
            *list = in->lists[1];
        else
            status = error_set(err, LLM_UNSUPPORTED_FORMAT,
                               "the post-processor's template for one text is not supported");
        if (status != LLM_OK) return status;
        out->count++;
    }
    if (!out->count) out->lists[out->count++].count = 0;
    return LLM_OK;
}

// BertProcessing and RobertaProcessing: [cls] first [sep], and [sep] around or after what follows.
static llm_status apply_pair(yyjson_val *json, bool roberta, bool special, const parts *in, parts *out,
                             llm_error *err) {
    int32_t cls = 0, sep = 0;
    llm_status status = read_id(yyjson_arr_get(yyjson_obj_get(json, "cls"), 1), &cls, err);
    if (status == LLM_OK) status = read_id(yyjson_arr_get(yyjson_obj_get(json, "sep"), 1), &sep, err);
    *out = *in;
    for (size_t i = 0; i < in->count && special && status == LLM_OK; i++) {
        template_list *list = &out->lists[i];
        list->count = 0;
        if (i == 0 || roberta) status = append_item(list, i ? sep : cls, err);
        if (status == LLM_OK) status = append_list(list, &in->lists[i], err);
        if (status == LLM_OK) status = append_item(list, sep, err);
    }
    return status;
}

static llm_status apply(yyjson_val *json, bool special, int depth, parts *state, llm_error *err) {
    size_t index, count;
    yyjson_val *item;
    const char *type;
    parts next;
    llm_status status = json_get_string(json, "type", "", &type, err);
    if (status != LLM_OK || strcmp(type, "ByteLevel") == 0) return status;
    if (strcmp(type, "Sequence") == 0) {
        yyjson_val *list = yyjson_obj_get(json, "processors");
        if (!yyjson_is_arr(list))
            return error_set(err, LLM_LOAD_FAILED, "a post-processor sequence without \"processors\"");
        if (depth == DEEPEST_SEQUENCE)
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "post-processor sequences nested too deep");
        yyjson_arr_foreach(list, index, count, item) if (status == LLM_OK) status =
            apply(item, special, depth + 1, state, err);
        return status;
    }
    if (strcmp(type, "TemplateProcessing") == 0)
        status = apply_template(json, special, state, &next, err);
    else if (strcmp(type, "BertProcessing") == 0)
        status = apply_pair(json, false, special, state, &next, err);
    else if (strcmp(type, "RobertaProcessing") == 0)
        status = apply_pair(json, true, special, state, &next, err);
    else
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the post-processor \"%.40s\" is not supported", type);
    if (status == LLM_OK) *state = next;
    return status;
}

static llm_status work_out(yyjson_val *json, bool special, template_list *out, llm_error *err) {
    parts state = {.count = 1};
    state.lists[0] = (template_list){{TEMPLATE_TEXT}, 1};
    llm_status status = json && !yyjson_is_null(json) ? apply(json, special, 0, &state, err) : LLM_OK;
    out->count = 0;
    for (size_t i = 0; i < state.count && status == LLM_OK; i++)
        status = append_list(out, &state.lists[i], err);
    return status;
}

llm_status post_processor_read(yyjson_val *json, post_processor *out, llm_error *err) {
    llm_status status = work_out(json, true, &out->with_special, err);
    return status == LLM_OK ? work_out(json, false, &out->without_special, err) : status;
}
