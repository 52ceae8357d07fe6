// Calls and their results, by id.
#include "backend/tool_results.h"
#include "base/json.h"
#include <string.h>

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
