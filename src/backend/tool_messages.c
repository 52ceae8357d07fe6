// Calls and their results, by id.
#include "backend/tool_messages.h"
#include "base/json.h"
#include <string.h>

void tool_call_append(buf *json, const char *id, const char *name, const char *arguments, const char *error)
{
    bool read = !error || (strncmp(error, "malformed", 9) != 0 && strncmp(error, "incomplete", 10) != 0);
    if (!name) name = "unreadable";
    buf_append_string(json, "{\"id\":");
    buf_append_json_string(json, id, strlen(id));
    buf_append_string(json, ",\"type\":\"function\",\"function\":{\"name\":");
    buf_append_json_string(json, name, strlen(name));
    buf_append_string(json, read ? ",\"arguments\":" : ",\"arguments\":{\"text\":");
    if (read) buf_append_string(json, arguments);
    else buf_append_json_string(json, arguments, strlen(arguments));
    buf_append_string(json, read ? "}}" : "}}}");
}

llm_status tool_result_add(message_list *list, const char *id, const char *name, const char *content, llm_error *err)
{
    return message_list_add(list, &(llm_message){.role = "tool", .content = content, .tool_call_id = id, .name = name}, err);
}

llm_status tool_failure_add(message_list *list, const char *id, const char *name, const char *why, llm_error *err)
{
    buf text = {0};
    buf_printf(&text, "error: %s", why);
    llm_status status = text.failed ? error_no_memory(err, "the transcript") : tool_result_add(list, id, name, text.data, err);
    buf_free(&text);
    return status;
}

static int count_results(const llm_message *messages, int count, const char *id)
{
    int found = 0;
    for (int i = 0; i < count; i++) found += messages[i].tool_call_id && strcmp(messages[i].tool_call_id, id) == 0;
    return found;
}

// One call: it has a result already, or gets one now.
static llm_status check_call(yyjson_val *call, const llm_message *before, int num_before, const llm_message *results, int num_results,
                             int *wanted, llm_error *err)
{
    const char *id = yyjson_get_str(yyjson_obj_get(call, "id"));
    if (!id || count_results(before, num_before, id) > 0) return LLM_OK;
    int given = count_results(results, num_results, id);
    ++*wanted;
    if (given == 1) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "the tool call %s has %s", id, given == 0 ? "no result" : "more than one result");
}

llm_status tool_results_check(const message_list *transcript, const llm_message *results, int num_results, llm_error *err)
{
    int last = transcript->count - 1, wanted = 0;
    while (last >= 0 && strcmp(transcript->items[last].role, "tool") == 0) last--;
    const char *calls = last >= 0 ? transcript->items[last].tool_calls_json : NULL;
    if (!calls) return error_set(err, LLM_INVALID_ARGUMENT, "the session's last answer called no tool: there is nothing to continue");
    yyjson_doc *doc;
    yyjson_val *call;
    size_t i, count;
    llm_status status = json_read(calls, strlen(calls), "tool calls", &doc, err);
    if (status != LLM_OK) return status;
    const llm_message *before = transcript->items + last + 1;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, count, call)
    {
        if (status == LLM_OK) status = check_call(call, before, transcript->count - last - 1, results, num_results, &wanted, err);
    }
    json_free(doc);
    if (status == LLM_OK && wanted != num_results)
        status = error_set(err, LLM_INVALID_ARGUMENT, "%d results for %d open tool calls: one has the id of no call", num_results, wanted);
    return status;
}
