// Messages to JSON and back.
#include "backend/transcript.h"
#include "base/mem.h"
#include <string.h>

// Every text of a message: its name in JSON, and where it is.
static const struct {
    const char *name;
    size_t offset;
    bool is_json; // the text is an array
} members[] = {
    {"role", offsetof(llm_message, role), false},
    {"content", offsetof(llm_message, content), false},
    {"reasoning_content", offsetof(llm_message, reasoning), false},
    {"tool_calls", offsetof(llm_message, tool_calls_json), true},
    {"tool_call_id", offsetof(llm_message, tool_call_id), false},
    {"name", offsetof(llm_message, name), false},
};
enum { NUM_MEMBERS = sizeof members / sizeof *members, MAX_MESSAGES = 1 << 20 };

static const char **member_of(const llm_message *message, int member)
{
    return (const char **)((uintptr_t)message + members[member].offset);
}

static void append_message(const llm_message *message, buf *json)
{
    const char *separator = "{";
    for (int i = 0; i < NUM_MEMBERS; i++) {
        const char *text = *member_of(message, i);
        if (!text) continue;
        buf_printf(json, "%s\"%s\":", separator, members[i].name);
        if (members[i].is_json) buf_append_string(json, text);
        else buf_append_json_string(json, text, strlen(text));
        separator = ",";
    }
    buf_append_char(json, '}');
}

void transcript_to_json(const message_list *transcript, buf *json)
{
    buf_append_char(json, '[');
    for (int i = 0; i < transcript->count; i++) {
        if (i > 0) buf_append_char(json, ',');
        append_message(&transcript->items[i], json);
    }
    buf_append_char(json, ']');
}

char *transcript_json_copy(const message_list *transcript, llm_error *err)
{
    buf json = {0};
    transcript_to_json(transcript, &json);
    char *text = buf_take(&json);
    if (!text) error_no_memory(err, "the transcript");
    return text;
}

// *text borrows the value's, or what is written into `calls`.
static llm_status read_member(yyjson_val *value, int member, buf *calls, const char **text, llm_error *err)
{
    const char *name = members[member].name;
    if (!value || yyjson_is_null(value)) return LLM_OK;
    if (members[member].is_json) {
        if (!yyjson_is_arr(value)) return error_set(err, LLM_LOAD_FAILED, "\"%s\" is not an array", name);
        if (!json_append(calls, value)) return error_no_memory(err, "the transcript");
        *text = calls->data;
        return LLM_OK;
    }
    if (!yyjson_is_str(value)) return error_set(err, LLM_LOAD_FAILED, "\"%s\" is not a string", name);
    *text = yyjson_get_str(value);
    return strlen(*text) == yyjson_get_len(value) ? LLM_OK : error_set(err, LLM_LOAD_FAILED, "\"%s\" holds a NUL", name);
}

static llm_status read_message(yyjson_val *object, message_list *transcript, llm_error *err)
{
    buf calls = {0};
    llm_message message = {0};
    llm_status status = yyjson_is_obj(object) ? LLM_OK : error_set(err, LLM_LOAD_FAILED, "it is not an object");
    for (int i = 0; i < NUM_MEMBERS && status == LLM_OK; i++)
        status = read_member(yyjson_obj_get(object, members[i].name), i, &calls, member_of(&message, i), err);
    if (status == LLM_OK && (!message.role || !*message.role)) status = error_set(err, LLM_LOAD_FAILED, "it has no role");
    if (status == LLM_OK && !message.content && !message.tool_calls_json)
        status = error_set(err, LLM_LOAD_FAILED, "it has neither content nor tool calls");
    if (status == LLM_OK) status = message_list_add(transcript, &message, err);
    buf_free(&calls);
    return status;
}

llm_status transcript_from_json(yyjson_val *array, message_list *transcript, llm_error *err)
{
    if (!yyjson_is_arr(array) || yyjson_arr_size(array) > MAX_MESSAGES)
        return error_set(err, LLM_LOAD_FAILED, "\"messages\" is not an array of at most %d messages", MAX_MESSAGES);
    llm_status status = LLM_OK;
    size_t i, size;
    yyjson_val *object;
    yyjson_arr_foreach(array, i, size, object)
    {
        status = read_message(object, transcript, err);
        if (status == LLM_OK) continue;
        if (status != LLM_OUT_OF_MEMORY) error_prefix(err, "message %zu", i);
        message_list_free(transcript);
        break;
    }
    return status;
}
