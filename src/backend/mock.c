// The mock backend: echoes the last user text, or thinks, or calls a tool when it is told to. Written against the public
// table, as any other would be.
#include "backend/call_id.h"
#include "base/error.h"
#include "base/mem.h"
#include "text/tool_set.h"
#include <stdio.h>
#include <string.h>

typedef struct mock {
    int transcript_words; // of the session so far
    uint64_t calls;       // since the start
    bool waits;           // the session's last answer ended with a call
    char open_id[CALL_ID_SIZE]; // that has no result yet; "": it was rejected
    char rejection[400];
} mock;

static llm_status mock_load(void *state, const llm_model_spec *spec, llm_progress_function progress,
                            void *user, llm_error *err)
{
    mock *m = state;
    for (int i = 0; i <= 4; i++)
        if (progress(user, "pretending to load", i / 4.0))
            return error_set(err, LLM_CANCELLED, "loading \"%s\" was cancelled", spec->base);
    m->transcript_words = 0;
    m->waits = false;
    return LLM_OK;
}

static void mock_unload(void *state)
{
    ((mock *)state)->transcript_words = 0;
}

static llm_status mock_reset(void *state, llm_error *err)
{
    (void)err;
    ((mock *)state)->transcript_words = 0;
    ((mock *)state)->waits = false;
    return LLM_OK;
}

static void mock_destroy(void *state)
{
    mem_free(state);
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
static const char *last_text(const mock *m, const llm_request *request, bool *is_result)
{
    *is_result = request->kind == LLM_REQUEST_RESULTS;
    if (*is_result && request->num_messages == 0) return m->rejection;
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

// One answer on its way.
typedef struct mock_answer {
    mock *m;
    const llm_request *request;
    llm_stream_writer *writer;
    llm_error *err;
    int words; // written so far: the tokens
    llm_finish_reason reason;
    bool waits; // with what follows: it ended with a call
    char open_id[CALL_ID_SIZE];
    char rejection[400];
} mock_answer;

// Writes word by word, as many as max_tokens allows.
static llm_status write_words(mock_answer *a, llm_chunk_kind kind, const char *text, size_t length)
{
    size_t step;
    for (; (step = next_word(text, length)); text += step, length -= step) {
        if (a->words >= a->request->config->max_tokens) return a->reason = LLM_FINISH_LENGTH, LLM_OK;
        llm_chunk chunk = {.kind = kind, .text = text, .length = step};
        llm_status status = llm_writer_chunk(a->writer, &chunk);
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

// ---- "call NAME {…}" --------------------------------------------------------------------------------------

// Why the call is rejected, "" for not at all.
static llm_status check_call(mock_answer *a, const char *name, const char *arguments)
{
    tool_set *tools;
    yyjson_doc *doc = NULL;
    llm_error why;
    char misfit[300];
    const llm_generation_config *config = a->request->config;
    llm_status status = tool_set_create(config->tools, config->num_tools, &tools, a->err);
    if (status != LLM_OK) return status;
    int tool = tool_set_find(tools, name, strlen(name));
    llm_status read = json_read(arguments, strlen(arguments), "the arguments", &doc, &why);
    if (read == LLM_OUT_OF_MEMORY) status = error_no_memory(a->err, "a tool call");
    else if (read != LLM_OK) snprintf(a->rejection, sizeof a->rejection, "malformed: %.300s", why.message);
    else if (tool < 0) snprintf(a->rejection, sizeof a->rejection, "unknown tool: \"%.80s\"", name);
    else if (!tool_set_check(tools, tool, yyjson_doc_get_root(doc), misfit, sizeof misfit))
        snprintf(a->rejection, sizeof a->rejection, "bad arguments: %s", misfit);
    json_free(doc);
    tool_set_free(tools);
    return status;
}

// Runs the tool and echoes what it says.
static llm_status dispatch(mock_answer *a, const char *name, const char *arguments)
{
    const llm_generation_config *config = a->request->config;
    llm_error why = {0};
    if (a->rejection[0]) return write_echo(a, a->rejection);
    char *result = config->dispatch(config->dispatch_user, name, arguments, &why);
    llm_status status = llm_writer_cancelled(a->writer) ? error_set(a->err, LLM_CANCELLED, "the answer was cancelled")
                                                        : write_echo(a, result ? result : why.message);
    mem_free(result);
    return status;
}

static llm_status write_call(mock_answer *a, const char *name, const char *arguments)
{
    llm_status status = check_call(a, name, arguments);
    if (status != LLM_OK) return status;
    call_id_make(++a->m->calls, a->open_id);
    llm_chunk chunk = {.kind = LLM_CHUNK_TOOL_CALL, .text = arguments, .tool_call_id = a->open_id, .tool_name = name,
                       .tool_error = a->rejection[0] ? a->rejection : NULL};
    if ((status = llm_writer_chunk(a->writer, &chunk)) != LLM_OK) return status;
    a->words++;
    if (a->request->config->dispatch) return dispatch(a, name, arguments);
    a->reason = LLM_FINISH_TOOL_CALL;
    a->waits = true;
    if (a->rejection[0]) a->open_id[0] = 0;
    return LLM_OK;
}

static llm_status call_tool(mock_answer *a, const char *text)
{
    size_t length = strcspn(text, " ");
    char *name = mem_copy_bytes(text, length);
    if (!name) return error_no_memory(a->err, "a tool call");
    llm_status status = write_call(a, name, text[length] ? text + length + 1 : "{}");
    mem_free(name);
    return status;
}

// ---- Answers ----------------------------------------------------------------------------------------------

static bool begins_with(const char *text, const char *beginning) { return !strncmp(text, beginning, strlen(beginning)); }

static llm_status write_answer(mock_answer *a)
{
    bool is_result;
    const char *last = last_text(a->m, a->request, &is_result);
    bool is_chat = a->request->kind == LLM_REQUEST_PROMPT || a->request->kind == LLM_REQUEST_MESSAGES;
    if (is_chat && !is_result && a->request->config->num_tools > 0 && begins_with(last, "call ")) return call_tool(a, last + 5);
    llm_status status = LLM_OK;
    if (is_chat && !is_result && begins_with(last, "think ")) status = write_words(a, LLM_CHUNK_REASONING, last + 6, strlen(last + 6));
    return status == LLM_OK ? write_echo(a, last) : status;
}

static llm_status check_results(const mock *m, const llm_request *request, llm_error *err)
{
    if (request->kind != LLM_REQUEST_RESULTS) return LLM_OK;
    if (!m->waits)
        return error_set(err, LLM_INVALID_ARGUMENT, "the session's last answer called no tool: there is nothing to continue");
    int wanted = m->open_id[0] ? 1 : 0;
    if (request->num_messages == wanted && (!wanted || !strcmp(request->messages[0].tool_call_id, m->open_id))) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "the tool call %s needs one result, and %d are given", m->open_id, request->num_messages);
}

static llm_status write_info(mock_answer *a)
{
    const llm_request *request = a->request;
    int32_t *tokens = mem_alloc_zero((size_t)a->words, sizeof *tokens);
    if (!tokens) return error_no_memory(a->err, "the tokens of the answer");
    for (int i = 0; i < a->words; i++) tokens[i] = i;
    bool session = request->kind == LLM_REQUEST_PROMPT || request->kind == LLM_REQUEST_RESULTS;
    llm_chunk info = {.kind = LLM_CHUNK_INFO, .finish_reason = a->reason, .tokens = tokens, .num_tokens = a->words};
    info.stats.cached_prompt_tokens = session ? a->m->transcript_words : 0;
    info.stats.prompt_tokens = info.stats.cached_prompt_tokens + count_prompt_words(request);
    info.stats.generated_tokens = a->words;
    llm_status status = llm_writer_chunk(a->writer, &info);
    mem_free(tokens);
    return status;
}

// The session goes on only behind an answer that is whole.
static void keep_turn(const mock_answer *a)
{
    mock *m = a->m;
    m->transcript_words += count_prompt_words(a->request) + a->words;
    m->waits = a->waits;
    memcpy(m->open_id, a->open_id, sizeof m->open_id);
    snprintf(m->rejection, sizeof m->rejection, "%s", a->rejection);
}

static llm_status mock_generate(void *state, const llm_request *request, llm_stream_writer *writer,
                                llm_error *err)
{
    mock_answer a = {.m = state, .request = request, .writer = writer, .err = err, .reason = LLM_FINISH_STOP};
    llm_status status = check_results(a.m, request, err);
    if (status == LLM_OK) status = write_answer(&a);
    if (status == LLM_OK || status == LLM_CANCELLED) {
        llm_status written = write_info(&a);
        if (status == LLM_OK) status = written;
    }
    if (status == LLM_OK && (request->kind == LLM_REQUEST_PROMPT || request->kind == LLM_REQUEST_RESULTS)) keep_turn(&a);
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
        .destroy = mock_destroy,
        .reset = mock_reset,
    };
    mock *m = mem_alloc_zero(1, sizeof *m);
    if (!m) return error_no_memory(err, "the mock backend"), NULL;
    llm_backend *backend = llm_backend_create(&methods, m, err);
    if (!backend) mem_free(m);
    return backend;
}
