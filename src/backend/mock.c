// The mock backend: echoes the last user text, or thinks, or calls a tool when it is told to. Written against the public
// table, as any other would be.
#include "backend/call_id.h"
#include "backend/mock_session.h"
#include "backend/tool_messages.h"
#include "base/mem.h"
#include "text/tool_set.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static llm_status mock_load(void *state, const llm_model_spec *spec, llm_progress_function progress,
                            void *user, llm_error *err)
{
    (void)state;
    for (int i = 0; i <= 4; i++)
        if (progress(user, "pretending to load", i / 4.0))
            return error_set(err, LLM_CANCELLED, "loading \"%s\" was cancelled", spec->base);
    return LLM_OK;
}

static void mock_unload(void *state)
{
    (void)state;
}

// Length of the next word with the white space before it; 0 at the end.
static size_t next_word(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && strchr(" \t\r\n", text[i])) i++;
    while (i < length && !strchr(" \t\r\n", text[i])) i++;
    return i;
}

static int count_words(const char *text)
{
    int count = 0;
    size_t length = text ? strlen(text) : 0;
    for (size_t step; (step = next_word(text, length)); text += step, length -= step) count++;
    return count;
}

// What is echoed: the last user text, or the tool's result behind it.
static const char *last_text(const llm_request *request, bool *is_result)
{
    const mock_session *session = request->session;
    *is_result = request->kind == LLM_REQUEST_RESULTS;
    if (*is_result && request->num_messages == 0) return session->transcript.items[session->transcript.count - 1].content;
    if (request->kind == LLM_REQUEST_TOKENS) return "tokens";
    if (request->kind == LLM_REQUEST_PROMPT || request->kind == LLM_REQUEST_TEXT) return request->text;
    for (int i = request->num_messages - 1; i >= 0; i--) {
        const llm_message *message = &request->messages[i];
        *is_result = !strcmp(message->role, "tool");
        if ((*is_result || !strcmp(message->role, "user")) && message->content) return message->content;
    }
    return "";
}

static int count_prompt_words(const llm_request *request)
{
    int count = count_words(request->text) + count_words(request->system_prompt) + request->num_tokens;
    for (int i = 0; i < request->num_messages; i++) count += count_words(request->messages[i].content);
    return count;
}

// Length of `text` before the first of the stop strings.
static size_t length_before_stop(const char *text, const llm_generation_config *config)
{
    size_t length = strlen(text);
    for (int i = 0; i < config->num_stop; i++) {
        const char *found = strstr(text, config->stop[i]);
        if (found && (size_t)(found - text) < length) length = (size_t)(found - text);
    }
    return length;
}

// ---- An answer on its way ---------------------------------------------------------------------------------

typedef struct mock_answer {
    const llm_request *request;
    llm_stream_writer *writer;
    llm_error *err;
    buf text, reasoning; // what was written since the last message
    int words;           // written so far: the tokens
    llm_finish_reason reason;
    message_list turn; // what joins the transcript
} mock_answer;

// Writes word by word, as many as max_tokens allows.
static llm_status write_words(mock_answer *a, llm_chunk_kind kind, const char *text, size_t length)
{
    size_t step;
    buf *kept = kind == LLM_CHUNK_TEXT ? &a->text : &a->reasoning;
    for (; (step = next_word(text, length)); text += step, length -= step) {
        if (a->words >= a->request->config->max_tokens) return a->reason = LLM_FINISH_LENGTH, LLM_OK;
        llm_chunk chunk = {.kind = kind, .text = text, .length = step};
        llm_status status = llm_writer_chunk(a->writer, &chunk);
        if (status == LLM_OK && !buf_append(kept, text, step)) status = error_no_memory(a->err, "the answer");
        if (status != LLM_OK) return status;
        a->words++;
    }
    return LLM_OK;
}

static llm_status write_echo(mock_answer *a, const char *text)
{
    buf echo = {0};
    buf_append_string(&echo, "echo: ");
    buf_append_string(&echo, text);
    llm_status status = echo.failed ? error_no_memory(a->err, "the answer") : LLM_OK;
    if (status == LLM_OK) status = write_words(a, LLM_CHUNK_TEXT, echo.data, length_before_stop(echo.data, a->request->config));
    buf_free(&echo);
    return status;
}

// What was written becomes a message.
static llm_status end_message(mock_answer *a, const char *tool_calls_json)
{
    llm_message message = {.role = "assistant", .content = a->text.data ? a->text.data : "",
                           .reasoning = a->reasoning.length ? a->reasoning.data : NULL, .tool_calls_json = tool_calls_json};
    llm_status status = message_list_add(&a->turn, &message, a->err);
    buf_clear(&a->text);
    buf_clear(&a->reasoning);
    return status;
}

// ---- "call NAME {…}" --------------------------------------------------------------------------------------

typedef struct mock_call {
    const char *name, *arguments;
    char id[CALL_ID_SIZE];
    char error[400]; // "": it is not rejected
} mock_call;

static llm_status check_call(mock_answer *a, mock_call *call)
{
    tool_set *tools;
    yyjson_doc *doc = NULL;
    llm_error why;
    char misfit[300];
    const llm_generation_config *config = a->request->config;
    llm_status status = tool_set_create(config->tools, config->num_tools, &tools, a->err);
    if (status != LLM_OK) return status;
    int tool = tool_set_find(tools, call->name, strlen(call->name));
    llm_status read = json_read(call->arguments, strlen(call->arguments), "the arguments", &doc, &why);
    if (read == LLM_OUT_OF_MEMORY) status = error_no_memory(a->err, "a tool call");
    else if (read != LLM_OK) snprintf(call->error, sizeof call->error, "malformed: %.300s", why.message);
    else if (tool < 0) snprintf(call->error, sizeof call->error, "unknown tool: \"%.80s\"", call->name);
    else if (!tool_set_check(tools, tool, yyjson_doc_get_root(doc), misfit, sizeof misfit))
        snprintf(call->error, sizeof call->error, "bad arguments: %s", misfit);
    json_free(doc);
    tool_set_free(tools);
    return status;
}

static llm_status add_call(mock_answer *a, const mock_call *call)
{
    buf json = {0};
    buf_append_char(&json, '[');
    tool_call_append(&json, call->id, call->name, call->arguments, call->error[0] ? call->error : NULL);
    buf_append_char(&json, ']');
    llm_status status = json.failed ? error_no_memory(a->err, "the transcript") : end_message(a, json.data);
    if (status == LLM_OK && call->error[0]) status = tool_failure_add(&a->turn, call->id, call->name, call->error, a->err);
    buf_free(&json);
    return status;
}

// Runs the tool, unless the call was rejected, and echoes what it says.
static llm_status dispatch(mock_answer *a, const mock_call *call)
{
    const llm_generation_config *config = a->request->config;
    llm_error why = {0};
    llm_status status = LLM_OK;
    char *result = call->error[0] ? NULL : config->dispatch(config->dispatch_user, call->name, call->arguments, &why);
    if (llm_writer_cancelled(a->writer)) status = error_set(a->err, LLM_CANCELLED, "the answer was cancelled");
    else if (result) status = tool_result_add(&a->turn, call->id, call->name, result, a->err);
    else if (!call->error[0]) status = tool_failure_add(&a->turn, call->id, call->name, why.message, a->err);
    if (status == LLM_OK) status = write_echo(a, a->turn.items[a->turn.count - 1].content);
    mem_free(result);
    return status;
}

static llm_status write_call(mock_answer *a, mock_call *call)
{
    static _Atomic uint64_t calls;
    llm_status status = check_call(a, call);
    if (status != LLM_OK) return status;
    call_id_make(atomic_fetch_add(&calls, 1), call->id);
    llm_chunk chunk = {.kind = LLM_CHUNK_TOOL_CALL, .text = call->arguments, .tool_call_id = call->id, .tool_name = call->name,
                       .tool_error = call->error[0] ? call->error : NULL};
    if ((status = llm_writer_chunk(a->writer, &chunk)) != LLM_OK) return status;
    a->words++;
    a->reason = LLM_FINISH_TOOL_CALL;
    status = add_call(a, call);
    if (status != LLM_OK || !a->request->config->dispatch) return status;
    a->reason = LLM_FINISH_STOP;
    status = dispatch(a, call);
    return status == LLM_OK ? end_message(a, NULL) : status;
}

static llm_status call_tool(mock_answer *a, const char *text)
{
    size_t length = strcspn(text, " ");
    char *name = mem_copy_bytes(text, length);
    if (!name) return error_no_memory(a->err, "a tool call");
    mock_call call = {.name = name, .arguments = text[length] ? text + length + 1 : "{}"};
    llm_status status = write_call(a, &call);
    mem_free(name);
    return status;
}

// ---- Answers ----------------------------------------------------------------------------------------------

static bool begins_with(const char *text, const char *beginning)
{
    return !strncmp(text, beginning, strlen(beginning));
}

static llm_status write_answer(mock_answer *a)
{
    bool is_result;
    const char *last = last_text(a->request, &is_result);
    bool is_chat = !is_result && (a->request->kind == LLM_REQUEST_PROMPT || a->request->kind == LLM_REQUEST_MESSAGES);
    if (is_chat && a->request->config->num_tools > 0 && begins_with(last, "call ")) return call_tool(a, last + 5);
    llm_status status = LLM_OK;
    if (is_chat && begins_with(last, "think ")) status = write_words(a, LLM_CHUNK_REASONING, last + 6, strlen(last + 6));
    if (status == LLM_OK) status = write_echo(a, last);
    return status == LLM_OK ? end_message(a, NULL) : status;
}

// What the request itself adds to the transcript.
static llm_status take_request(mock_answer *a)
{
    const llm_request *request = a->request;
    llm_status status = LLM_OK;
    if (request->kind == LLM_REQUEST_PROMPT)
        return message_list_add(&a->turn, &(llm_message){.role = "user", .content = request->text}, a->err);
    if (request->kind != LLM_REQUEST_RESULTS) return LLM_OK;
    const mock_session *session = request->session;
    status = tool_results_check(&session->transcript, request->messages, request->num_messages, a->err);
    for (int i = 0; i < request->num_messages && status == LLM_OK; i++)
        status = message_list_add(&a->turn, &request->messages[i], a->err);
    return status;
}

static llm_status write_info(mock_answer *a)
{
    const llm_request *request = a->request;
    const mock_session *session = request->session;
    int32_t *tokens = mem_alloc_zero((size_t)a->words, sizeof *tokens);
    if (!tokens) return error_no_memory(a->err, "the tokens of the answer");
    for (int i = 0; i < a->words; i++) tokens[i] = i;
    llm_chunk info = {.kind = LLM_CHUNK_INFO, .finish_reason = a->reason, .tokens = tokens, .num_tokens = a->words};
    info.stats.cached_prompt_tokens = session ? session->words : 0;
    info.stats.prompt_tokens = info.stats.cached_prompt_tokens + count_prompt_words(request);
    info.stats.generated_tokens = a->words;
    llm_status status = llm_writer_chunk(a->writer, &info);
    mem_free(tokens);
    return status;
}

static llm_status mock_generate(void *state, const llm_request *request, llm_stream_writer *writer,
                                llm_error *err)
{
    mock_answer a = {.request = request, .writer = writer, .err = err, .reason = LLM_FINISH_STOP};
    (void)state;
    llm_status status = take_request(&a);
    if (status == LLM_OK) status = write_answer(&a);
    if (status == LLM_OK || status == LLM_CANCELLED) {
        llm_status written = write_info(&a);
        if (status == LLM_OK) status = written;
    }
    if (status == LLM_OK && request->session)
        status = mock_session_add_turn(request->session, &a.turn, count_prompt_words(request) + a.words, err);
    message_list_free(&a.turn);
    buf_free(&a.text);
    buf_free(&a.reasoning);
    return status;
}

llm_backend *llm_mock_backend_create(llm_error *err)
{
    static const llm_backend_methods methods = {
        .api_version = LLM_BACKEND_API,
        .name = "mock",
        .load = mock_load,
        .unload = mock_unload,
        .generate = mock_generate,
        .session_create = mock_session_create,
        .session_free = mock_session_free,
        .session_save = mock_session_save,
        .session_load = mock_session_load,
        .session_messages_json = mock_session_messages,
    };
    return llm_backend_create(&methods, NULL, err); // all it knows is in its sessions
}
