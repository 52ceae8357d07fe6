// Requests: checking what an application asks, and keeping it.
#include "client/request.h"
#include "base/json.h"
#include "base/utf8.h"
#include "client/config.h"
#include <string.h>

enum { MAX_MESSAGES = 1 << 20 };

static llm_status copy_text(arena *memory, const char *name, const char *text, const char **copy,
                            llm_error *err)
{
    *copy = NULL;
    if (!text) return LLM_OK;
    size_t length = strlen(text);
    if (!utf8_valid(text, length)) return error_set(err, LLM_INVALID_ARGUMENT, "%s is not valid UTF-8", name);
    *copy = arena_copy(memory, text, length);
    return *copy ? LLM_OK : error_no_memory(err, "the request");
}

static llm_status require_text(arena *memory, const char *name, const char *text, const char **copy,
                               llm_error *err)
{
    if (!text) return error_set(err, LLM_INVALID_ARGUMENT, "%s is NULL", name);
    return copy_text(memory, name, text, copy, err);
}

// ---- Messages ---------------------------------------------------------------------------------------------

static llm_status check_tool_calls(const char *json, const char *name, llm_error *err)
{
    yyjson_doc *doc;
    llm_status status = json_read(json, strlen(json), name, &doc, err);
    if (status == LLM_LOAD_FAILED && err) err->code = LLM_INVALID_ARGUMENT;
    if (status != LLM_OK) return status == LLM_LOAD_FAILED ? LLM_INVALID_ARGUMENT : status;
    if (!yyjson_is_arr(yyjson_doc_get_root(doc)))
        status = error_set(err, LLM_INVALID_ARGUMENT, "%s must be a JSON array", name);
    json_free(doc);
    return status;
}

static llm_status check_message(const llm_message *message, int index, llm_error *err)
{
    char name[64];
    if (!message->role || !*message->role)
        return error_set(err, LLM_INVALID_ARGUMENT, "messages[%d].role is missing", index);
    if (!message->content && !message->tool_calls_json)
        return error_set(err, LLM_INVALID_ARGUMENT, "messages[%d] has neither content nor tool calls", index);
    snprintf(name, sizeof name, "messages[%d].tool_calls_json", index);
    return message->tool_calls_json ? check_tool_calls(message->tool_calls_json, name, err) : LLM_OK;
}

static llm_status copy_message(arena *memory, const llm_message *message, int index, llm_message *copy,
                               llm_error *err)
{
    const struct {
        const char *name, *text;
        const char **copy;
    } texts[] = {
        {"role", message->role, &copy->role},
        {"content", message->content, &copy->content},
        {"reasoning", message->reasoning, &copy->reasoning},
        {"tool_calls_json", message->tool_calls_json, &copy->tool_calls_json},
        {"tool_call_id", message->tool_call_id, &copy->tool_call_id},
        {"name", message->name, &copy->name},
    };
    llm_status status = check_message(message, index, err);
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == LLM_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "messages[%d].%s", index, texts[i].name);
        status = copy_text(memory, name, texts[i].text, texts[i].copy, err);
    }
    return status;
}

static llm_status copy_messages(arena *memory, const llm_request *request, llm_request *copy, llm_error *err)
{
    if (!request->messages || request->num_messages < 1 || request->num_messages > MAX_MESSAGES)
        return error_set(err, LLM_INVALID_ARGUMENT, "messages: %d of them at %s; there must be 1 to %d",
                         request->num_messages, request->messages ? "an array" : "NULL", MAX_MESSAGES);
    llm_message *messages = arena_alloc_array(memory, (size_t)request->num_messages, sizeof *messages);
    if (!messages) return error_no_memory(err, "the request");
    llm_status status = LLM_OK;
    for (int i = 0; i < request->num_messages && status == LLM_OK; i++)
        status = copy_message(memory, &request->messages[i], i, &messages[i], err);
    copy->messages = messages;
    copy->num_messages = request->num_messages;
    return status;
}

// No results at all are fine where all calls were rejected; which ones are wanted is the backend's matter.
static llm_status copy_results(arena *memory, const llm_request *request, llm_request *copy, llm_error *err)
{
    if (request->num_messages < 0 || request->num_messages > MAX_MESSAGES || (request->num_messages > 0 && !request->messages))
        return error_set(err, LLM_INVALID_ARGUMENT, "results: %d of them at %s; there must be 0 to %d",
                         request->num_messages, request->messages ? "an array" : "NULL", MAX_MESSAGES);
    for (int i = 0; i < request->num_messages; i++)
        if (!request->messages[i].tool_call_id || !request->messages[i].content)
            return error_set(err, LLM_INVALID_ARGUMENT, "results[%d] needs a tool_call_id and a content", i);
    return request->num_messages > 0 ? copy_messages(memory, request, copy, err) : LLM_OK;
}

static llm_status copy_tokens(arena *memory, const llm_request *request, llm_request *copy, llm_error *err)
{
    if (!request->tokens || request->num_tokens < 1)
        return error_set(err, LLM_INVALID_ARGUMENT, "tokens: %d of them at %s; there must be at least one",
                         request->num_tokens, request->tokens ? "an array" : "NULL");
    int32_t *tokens = arena_alloc_array(memory, (size_t)request->num_tokens, sizeof *tokens);
    if (!tokens) return error_no_memory(err, "the request");
    for (int i = 0; i < request->num_tokens; i++) {
        tokens[i] = request->tokens[i];
        if (tokens[i] < 0)
            return error_set(err, LLM_INVALID_ARGUMENT, "tokens[%d] is %d; it must be 0 or more", i,
                             tokens[i]);
    }
    copy->tokens = tokens;
    copy->num_tokens = request->num_tokens;
    return LLM_OK;
}

llm_status request_copy(arena *memory, const llm_request *request, llm_request *copy, llm_error *err)
{
    *copy = (llm_request){.kind = request->kind};
    llm_status status = config_copy(memory, request->config, &copy->config, err);
    if (status != LLM_OK) return status;
    if ((request->kind == LLM_REQUEST_TEXT || request->kind == LLM_REQUEST_TOKENS) && copy->config->num_tools > 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "config.tools: a text that is continued without a chat template calls no tools");
    switch (request->kind) {
    case LLM_REQUEST_PROMPT: return require_text(memory, "the prompt", request->text, &copy->text, err);
    case LLM_REQUEST_TEXT: return require_text(memory, "the text", request->text, &copy->text, err);
    case LLM_REQUEST_MESSAGES: return copy_messages(memory, request, copy, err);
    case LLM_REQUEST_TOKENS: return copy_tokens(memory, request, copy, err);
    case LLM_REQUEST_RESULTS: return copy_results(memory, request, copy, err);
    }
    return error_set(err, LLM_INTERNAL_ERROR, "request kind %d", (int)request->kind);
}
