// The mock backend: echoes the last user text. Written against the public table, as any other would be.
#include "backend/mock_session.h"
#include "base/mem.h"
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

static size_t length_of_words(const char *text, int words)
{
    size_t length = 0, step;
    while (words-- > 0 && (step = next_word(text + length, strlen(text + length)))) length += step;
    return length;
}

static const char *last_user_text(const llm_request *request)
{
    if (request->kind == LLM_REQUEST_TOKENS) return "tokens";
    if (request->kind != LLM_REQUEST_MESSAGES) return request->text;
    for (int i = request->num_messages - 1; i >= 0; i--)
        if (!strcmp(request->messages[i].role, "user") && request->messages[i].content)
            return request->messages[i].content;
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

// Writes word by word; *words says how many were written.
static llm_status write_answer(const char *text, size_t length, int max_words, llm_stream_writer *writer,
                               int *words)
{
    llm_status status = LLM_OK;
    size_t step;
    for (*words = 0; *words < max_words && (step = next_word(text, length)); text += step, length -= step) {
        if ((status = llm_writer_text(writer, text, step)) != LLM_OK) return status;
        ++*words;
    }
    return status;
}

static llm_status write_info(const llm_request *request, int words, bool cut,
                             llm_stream_writer *writer, llm_error *err)
{
    int32_t *tokens = mem_alloc_zero((size_t)words, sizeof *tokens);
    if (!tokens) return error_no_memory(err, "the tokens of the answer");
    for (int i = 0; i < words; i++) tokens[i] = i;
    const mock_session *session = request->session;
    llm_chunk info = {.kind = LLM_CHUNK_INFO,
                      .finish_reason = cut ? LLM_FINISH_LENGTH : LLM_FINISH_STOP,
                      .tokens = tokens,
                      .num_tokens = words};
    info.stats.cached_prompt_tokens = session ? session->words : 0;
    info.stats.prompt_tokens = info.stats.cached_prompt_tokens + count_prompt_words(request);
    info.stats.generated_tokens = words;
    llm_status status = llm_writer_chunk(writer, &info);
    mem_free(tokens);
    return status;
}

// "echo: " and the text, up to the first stop string; owned.
static char *make_answer(const llm_request *request)
{
    const char *last = last_user_text(request);
    size_t size = strlen(last) + sizeof "echo: ";
    char *answer = mem_alloc(size);
    if (!answer) return NULL;
    memcpy(answer, "echo: ", 6);
    memcpy(answer + 6, last, size - 6);
    answer[length_before_stop(answer, request->config)] = 0;
    return answer;
}

static llm_status mock_generate(void *state, const llm_request *request, llm_stream_writer *writer,
                                llm_error *err)
{
    (void)state;
    int words;
    char *answer = make_answer(request);
    if (!answer) return error_no_memory(err, "the answer");
    llm_status status = write_answer(answer, strlen(answer), request->config->max_tokens, writer, &words);
    bool cut = status == LLM_OK && words < count_words(answer);
    if (cut) answer[length_of_words(answer, words)] = 0;
    if (status == LLM_OK || status == LLM_CANCELLED) {
        llm_status written = write_info(request, words, cut, writer, err);
        if (status == LLM_OK) status = written;
    }
    if (status == LLM_OK && request->session)
        status = mock_session_add_turn(request->session, request->text, answer, count_prompt_words(request) + words, err);
    mem_free(answer);
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
