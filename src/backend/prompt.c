// Builds the template's arguments as JSON, renders and tokenises.
#include "backend/prompt.h"
#include "text/tool_set.h"
#include <string.h>

static void append_member(buf *json, const char *name, const char *text)
{
    if (!text) return;
    buf_printf(json, ",\"%s\":", name);
    buf_append_json_string(json, text, strlen(text));
}

// ---- Tool calls of earlier answers ------------------------------------------------------------------------

// As an object, or as text, whichever the template takes; the caller may have written either.
static void append_arguments(buf *json, yyjson_val *arguments, bool as_text)
{
    buf text = {0};
    if (!arguments || yyjson_is_null(arguments)) buf_append_string(&text, "{}");
    else if (yyjson_is_str(arguments)) buf_append(&text, yyjson_get_str(arguments), yyjson_get_len(arguments));
    else json_append(&text, arguments);
    const char *written = text.data ? text.data : "";
    yyjson_doc *doc = NULL;
    bool is_json = yyjson_is_str(arguments) && json_read(written, text.length, "arguments", &doc, NULL) == LLM_OK;
    if (as_text || (yyjson_is_str(arguments) && !is_json)) buf_append_json_string(json, written, text.length);
    else buf_append(json, written, text.length);
    if (text.failed) json->failed = true;
    json_free(doc);
    buf_free(&text);
}

static llm_status append_call(buf *json, yyjson_val *call, bool as_text, llm_error *err)
{
    yyjson_val *inner = yyjson_obj_get(call, "function"), *id = yyjson_obj_get(call, "id");
    yyjson_val *function = yyjson_is_obj(inner) ? inner : call, *name = yyjson_obj_get(function, "name");
    if (!yyjson_is_str(name)) return error_set(err, LLM_INVALID_ARGUMENT, "a tool call of a message has no name");
    buf_append_char(json, '{');
    if (yyjson_is_str(id)) {
        buf_append_string(json, "\"id\":");
        buf_append_json_string(json, yyjson_get_str(id), yyjson_get_len(id));
        buf_append_char(json, ',');
    }
    buf_append_string(json, "\"type\":\"function\",\"function\":{\"name\":");
    buf_append_json_string(json, yyjson_get_str(name), yyjson_get_len(name));
    buf_append_string(json, ",\"arguments\":");
    append_arguments(json, yyjson_obj_get(function, "arguments"), as_text);
    buf_append_string(json, "}}");
    return LLM_OK;
}

static llm_status append_calls(buf *json, const char *calls_json, bool as_text, llm_error *err)
{
    yyjson_doc *doc;
    size_t i, count;
    yyjson_val *call;
    llm_status status = json_read(calls_json, strlen(calls_json), "tool calls", &doc, err);
    if (status != LLM_OK) return status;
    buf_append_string(json, ",\"tool_calls\":[");
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, count, call)
    {
        if (i > 0) buf_append_char(json, ',');
        if (status == LLM_OK) status = append_call(json, call, as_text, err);
    }
    buf_append_char(json, ']');
    json_free(doc);
    return status;
}

// ---- Messages ---------------------------------------------------------------------------------------------

static llm_status append_message(buf *json, const llm_message *message, const template_traits *traits, llm_error *err)
{
    llm_status status = LLM_OK;
    buf_append_string(json, "{\"role\":");
    buf_append_json_string(json, message->role, strlen(message->role));
    append_member(json, "content", message->content ? message->content : "");
    append_member(json, "reasoning_content", message->reasoning);
    append_member(json, "tool_call_id", message->tool_call_id);
    append_member(json, "name", message->name);
    if (message->tool_calls_json) status = append_calls(json, message->tool_calls_json, traits->text_arguments, err);
    return status;
}

// Phi-4-mini: the tools are a text in the system message.
static void append_system_tools(buf *json, const llm_generation_config *config)
{
    buf tools = {0};
    tool_set_append_json(&tools, config->tools, config->num_tools);
    append_member(json, "tools", tools.data);
    if (tools.failed) json->failed = true;
    buf_free(&tools);
}

static llm_status append_messages(buf *json, const prompt_messages *messages, const template_traits *traits,
                                  const llm_generation_config *config, llm_error *err)
{
    llm_status status = LLM_OK;
    int total = messages->num_first + messages->num_rest;
    bool in_system = config->num_tools > 0 && traits->tools_in_system;
    const llm_message *first = messages->num_first > 0 ? messages->first : messages->rest, none = {.role = "system", .content = ""};
    if (in_system && (total == 0 || strcmp(first->role, "system") != 0)) {
        status = append_message(json, &none, traits, err);
        append_system_tools(json, config);
        buf_append_string(json, total > 0 ? "}," : "}");
        in_system = false;
    }
    for (int i = 0; i < total && status == LLM_OK; i++) {
        if (i > 0) buf_append_char(json, ',');
        const llm_message *message = i < messages->num_first ? &messages->first[i] : &messages->rest[i - messages->num_first];
        status = append_message(json, message, traits, err);
        if (in_system && i == 0) append_system_tools(json, config);
        buf_append_char(json, '}');
    }
    return status;
}

// ---- The whole --------------------------------------------------------------------------------------------

static llm_status build_arguments(const loaded_model *model, const prompt_messages *messages, const llm_generation_config *config,
                                  buf *json, llm_error *err)
{
    const template_traits *traits = &model->traits;
    buf_append_string(json, "{\"messages\":[");
    llm_status status = append_messages(json, messages, traits, config, err);
    buf_append_string(json, "],\"add_generation_prompt\":true");
    if (config->num_tools > 0 && !traits->tools_in_system) {
        buf_append_string(json, ",\"tools\":");
        tool_set_append_json(json, config->tools, config->num_tools);
    }
    // The client layer has checked the JSON in it: template_json is an object.
    size_t length = 0;
    const char *extra = config->template_json ? json_members(config->template_json, &length) : NULL;
    if (length > 0) buf_append_char(json, ',');
    buf_append(json, extra, length);
    buf_append_char(json, '}');
    return status == LLM_OK && json->failed ? error_no_memory(err, "a prompt") : status;
}

static bool has_calls(const prompt_messages *messages)
{
    for (int i = 0; i < messages->num_first; i++)
        if (messages->first[i].tool_calls_json) return true;
    for (int i = 0; i < messages->num_rest; i++)
        if (messages->rest[i].tool_calls_json) return true;
    return false;
}

// What depends on the template's way with tools; only asked where there are some.
static llm_status check_tools(loaded_model *model, const prompt_messages *messages, const llm_generation_config *config, llm_error *err)
{
    if (config->num_tools == 0 && !has_calls(messages)) return LLM_OK;
    if (!model->chat) return error_set(err, LLM_UNSUPPORTED_FORMAT, "the model \"%s\" has no chat template, so that it cannot be given tools", model->name);
    llm_status status = template_traits_find(model->chat, &model->traits, err);
    if (status != LLM_OK || config->num_tools == 0) return status;
    if (!model->traits.shows_tools && !model->traits.tools_in_system)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the chat template of \"%s\" does not know tools", model->name);
    reply_format format = loaded_model_reply_format(model, true);
    if (!format.calls && !format.channels)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the chat template of \"%s\" makes tool calls in a form that this version does not know", model->name);
    return LLM_OK;
}

static llm_status render(loaded_model *model, const prompt_messages *messages, const llm_generation_config *config, buf *text, llm_error *err)
{
    buf json = {0};
    yyjson_doc *doc = NULL;
    llm_status status = build_arguments(model, messages, config, &json, err);
    if (status == LLM_OK) status = json_read(json.data, json.length, "the messages", &doc, err);
    if (status == LLM_OK) status = chat_template_render(model->chat, yyjson_doc_get_root(doc), NULL, text, err);
    json_free(doc);
    buf_free(&json);
    return status;
}

static void join_contents(const llm_message *messages, int count, buf *text)
{
    for (int i = 0; i < count; i++) buf_append_string(text, messages[i].content ? messages[i].content : "");
}

llm_status prompt_from_messages(loaded_model *model, const prompt_messages *messages, const llm_generation_config *config,
                                buf *text, token_list *tokens, llm_error *err)
{
    unsigned flags = 0; // a rendered template has its special tokens already
    llm_status status = check_tools(model, messages, config, err);
    if (status != LLM_OK) return status;
    if (model->chat) status = render(model, messages, config, text, err);
    else {
        flags = TOKENIZER_ADD_SPECIAL;
        join_contents(messages->first, messages->num_first, text);
        join_contents(messages->rest, messages->num_rest, text);
    }
    if (status == LLM_OK && text->failed) status = error_no_memory(err, "a prompt");
    if (status == LLM_OK) status = tokenizer_encode(model->tok, text->data ? text->data : "", text->length, flags, tokens, err);
    return status;
}
