// Builds the template's arguments as JSON, renders and tokenises.
#include "backend/prompt.h"
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
    // The client layer has checked the JSON in it: template_json is an object.
    size_t length = 0;
    const char *extra = template_json ? json_members(template_json, &length) : NULL;
    if (length > 0) buf_append_char(&json, ',');
    buf_append(&json, extra, length);
    buf_append_char(&json, '}');
    llm_status status = json.failed ? error_no_memory(err, "a prompt") : LLM_OK;
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
