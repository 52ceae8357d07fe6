// Messages that own their strings.
#include "backend/transcript.h"
#include "backend/prompt.h"
#include "base/mem.h"
#include <string.h>

// Every string of a message: its name in JSON, and where it is.
static const struct {
    const char *name;
    size_t offset;
    bool is_json; // an array in JSON, text in the message
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

static void free_message(llm_message *message)
{
    for (int i = 0; i < NUM_MEMBERS; i++) mem_free((void *)(uintptr_t)*member_of(message, i));
    *message = (llm_message){0};
}

void transcript_clear(llm_message *messages, int *count)
{
    for (int i = 0; i < *count; i++) free_message(&messages[i]);
    *count = 0;
}

static bool copy_message(const llm_message *from, llm_message *copy)
{
    *copy = (llm_message){0};
    for (int i = 0; i < NUM_MEMBERS; i++) {
        const char *text = *member_of(from, i);
        if (text && !(*member_of(copy, i) = mem_copy_string(text))) return free_message(copy), false;
    }
    return true;
}

llm_status transcript_append(llm_message **messages, int *count, size_t *capacity, const llm_message *added, int num_added,
                             llm_error *err)
{
    if (!mem_grow((void **)messages, capacity, (size_t)*count + (size_t)num_added, sizeof **messages))
        return error_no_memory(err, "the transcript");
    llm_message *end = *messages + *count;
    for (int i = 0; i < num_added; i++) {
        if (copy_message(&added[i], &end[i])) continue;
        transcript_clear(end, &i);
        return error_no_memory(err, "the transcript");
    }
    *count += num_added;
    return LLM_OK;
}

void transcript_to_json(const llm_message *messages, int count, buf *json)
{
    buf_append_char(json, '[');
    for (int i = 0; i < count; i++) {
        if (i > 0) buf_append_char(json, ',');
        prompt_append_message(json, &messages[i]);
    }
    buf_append_char(json, ']');
}

char *transcript_json_copy(const llm_message *messages, int count, llm_error *err)
{
    buf json = {0};
    transcript_to_json(messages, count, &json);
    char *text = buf_take(&json);
    if (!text) error_no_memory(err, "the transcript");
    return text;
}

static llm_status read_member(yyjson_val *value, int member, const char **text, llm_error *err)
{
    const char *name = members[member].name;
    if (!value || yyjson_is_null(value)) return LLM_OK;
    if (members[member].is_json ? !yyjson_is_arr(value) : !yyjson_is_str(value))
        return error_set(err, LLM_LOAD_FAILED, "\"%s\" is not %s", name, members[member].is_json ? "an array" : "a string");
    if (!members[member].is_json && strlen(yyjson_get_str(value)) != yyjson_get_len(value))
        return error_set(err, LLM_LOAD_FAILED, "\"%s\" holds a NUL", name);
    *text = members[member].is_json ? json_text_copy(value) : mem_copy_string(yyjson_get_str(value));
    return *text ? LLM_OK : error_no_memory(err, "the transcript");
}

static llm_status read_message(yyjson_val *object, llm_message *message, llm_error *err)
{
    llm_status status = yyjson_is_obj(object) ? LLM_OK : error_set(err, LLM_LOAD_FAILED, "it is not an object");
    for (int i = 0; i < NUM_MEMBERS && status == LLM_OK; i++)
        status = read_member(yyjson_obj_get(object, members[i].name), i, member_of(message, i), err);
    if (status == LLM_OK && (!message->role || !*message->role)) status = error_set(err, LLM_LOAD_FAILED, "it has no role");
    if (status == LLM_OK && !message->content && !message->tool_calls_json)
        status = error_set(err, LLM_LOAD_FAILED, "it has neither content nor tool calls");
    return status;
}

llm_status transcript_from_json(yyjson_val *array, llm_message **messages, int *count, size_t *capacity, llm_error *err)
{
    *messages = NULL;
    *count = 0;
    *capacity = 0;
    if (!yyjson_is_arr(array) || yyjson_arr_size(array) > MAX_MESSAGES)
        return error_set(err, LLM_LOAD_FAILED, "\"messages\" is not an array of at most %d messages", MAX_MESSAGES);
    if (!mem_grow((void **)messages, capacity, yyjson_arr_size(array), sizeof **messages))
        return error_no_memory(err, "the transcript");
    llm_status status = LLM_OK;
    size_t i, size;
    yyjson_val *object;
    yyjson_arr_foreach(array, i, size, object)
    {
        llm_message *message = &(*messages)[(*count)++];
        *message = (llm_message){0};
        status = read_message(object, message, err);
        if (status == LLM_OK) continue;
        error_prefix(err, "message %zu", i);
        break;
    }
    if (status == LLM_OK) return LLM_OK;
    transcript_clear(*messages, count);
    mem_free(*messages);
    *messages = NULL;
    *capacity = 0;
    return status;
}
