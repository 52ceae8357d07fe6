// Builds the template's arguments as JSON, renders and tokenises.
#include "backend/prompt.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static void append_member(buf *json, const char *name, const char *text)
{
    if (!text) return;
    buf_printf(json, ",\"%s\":", name);
    buf_append_json_string(json, text, strlen(text));
}

static void append_message(buf *json, const llm_message *message)
{
    buf_append_string(json, "{\"role\":");
    buf_append_json_string(json, message->role, strlen(message->role));
    append_member(json, "content", message->content ? message->content : "");
    append_member(json, "reasoning_content", message->reasoning);
    append_member(json, "tool_call_id", message->tool_call_id);
    append_member(json, "name", message->name);
    if (message->tool_calls_json) buf_printf(json, ",\"tool_calls\":%s", message->tool_calls_json);
    buf_append_char(json, '}');
}

// The members of the caller's object, which must be one.
static llm_status append_extra(buf *json, const char *template_json, llm_error *err)
{
    yyjson_doc *doc;
    if (!template_json) return LLM_OK;
    // The client layer has checked that it is an object; only memory can be missing.
    llm_status status = json_read(template_json, strlen(template_json), "template_json", &doc, err);
    if (status != LLM_OK) return status;
    size_t index, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), index, count, key, value)
    {
        char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, NULL);
        if (!text) json->failed = true;
        buf_append_char(json, ',');
        buf_append_json_string(json, yyjson_get_str(key), yyjson_get_len(key));
        buf_printf(json, ":%s", text ? text : "null");
        free(text); // yyjson's own allocator made it
    }
    json_free(doc);
    return LLM_OK;
}

static llm_status render(const loaded_model *model, const llm_message *messages, int num_messages, const char *template_json,
                         buf *text, llm_error *err)
{
    buf json = {0};
    yyjson_doc *doc = NULL;
    buf_append_string(&json, "{\"messages\":[");
    for (int i = 0; i < num_messages; i++) {
        if (i > 0) buf_append_char(&json, ',');
        append_message(&json, &messages[i]);
    }
    buf_append_string(&json, "],\"add_generation_prompt\":true");
    llm_status status = append_extra(&json, template_json, err);
    buf_append_char(&json, '}');
    if (status == LLM_OK && json.failed) status = error_no_memory(err, "a prompt");
    // The client layer has checked the JSON in it.
    if (status == LLM_OK) status = json_read(json.data, json.length, "the messages", &doc, err);
    if (status == LLM_OK) status = chat_template_render(model->chat, yyjson_doc_get_root(doc), NULL, text, err);
    json_free(doc);
    buf_free(&json);
    return status;
}

llm_status prompt_from_messages(const loaded_model *model, const llm_message *messages, int num_messages,
                                const char *template_json, token_list *tokens, llm_error *err)
{
    buf text = {0};
    unsigned flags = 0; // a rendered template has its special tokens already
    llm_status status = LLM_OK;
    if (model->chat) status = render(model, messages, num_messages, template_json, &text, err);
    else {
        flags = TOKENIZER_ADD_SPECIAL;
        for (int i = 0; i < num_messages; i++) buf_append_string(&text, messages[i].content ? messages[i].content : "");
    }
    if (status == LLM_OK && text.failed) status = error_no_memory(err, "a prompt");
    if (status == LLM_OK) status = tokenizer_encode(model->tok, text.data ? text.data : "", text.length, flags, tokens, err);
    buf_free(&text);
    return status;
}
