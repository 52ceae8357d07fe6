// The mock's sessions.
#include "backend/mock_session.h"
#include "backend/transcript.h"
#include "base/file.h"
#include "base/mem.h"
#include <string.h>

enum { SESSION_LIMIT = 64 << 20 }; // bytes of a saved session

llm_status mock_session_add_turn(mock_session *session, message_list *turn, int words, llm_error *err)
{
    llm_status status = message_list_move(&session->transcript, turn, err);
    if (status == LLM_OK) session->words += words;
    return status;
}

llm_status mock_session_create(void *state, void **session, llm_error *err)
{
    (void)state;
    *session = mem_alloc_zero(1, sizeof(mock_session));
    return *session ? LLM_OK : error_no_memory(err, "a session");
}

void mock_session_free(void *state, void *user)
{
    mock_session *session = user;
    (void)state;
    message_list_free(&session->transcript);
    mem_free(session);
}

char *mock_session_messages(void *state, void *user, llm_error *err)
{
    const mock_session *session = user;
    (void)state;
    return transcript_json_copy(&session->transcript, err);
}

// One JSON object.
llm_status mock_session_save(void *state, void *user, const char *system_prompt, const char *path, llm_error *err)
{
    const mock_session *session = user;
    buf json = {0};
    (void)state;
    buf_printf(&json, "{\"mock_session\":1,\"words\":%d,\"messages\":", session->words);
    transcript_to_json(&session->transcript, &json);
    if (system_prompt) buf_append_string(&json, ",\"system_prompt\":");
    if (system_prompt) buf_append_json_string(&json, system_prompt, strlen(system_prompt));
    buf_append_char(&json, '}');
    llm_status status = json.failed ? error_no_memory(err, "a saved session") : file_write(path, json.data, json.length, err);
    buf_free(&json);
    return status;
}

static llm_status read_session(yyjson_val *root, mock_session *session, char **system_prompt, llm_error *err)
{
    int64_t version = 0, words = 0;
    const char *prompt = NULL;
    llm_status status = json_get_int(root, "mock_session", 0, &version, err);
    if (status == LLM_OK && version != 1) status = error_set(err, LLM_UNSUPPORTED_FORMAT, "this is not a saved session");
    if (status == LLM_OK) status = json_get_int(root, "words", 0, &words, err);
    if (status == LLM_OK && (words < 0 || words > INT32_MAX)) status = error_set(err, LLM_LOAD_FAILED, "\"words\" is out of range");
    if (status == LLM_OK) status = json_get_string(root, "system_prompt", NULL, &prompt, err);
    if (status != LLM_OK) return status;
    if (prompt && !(*system_prompt = mem_copy_string(prompt))) return error_no_memory(err, "the system prompt");
    session->words = (int)words;
    status = transcript_from_json(yyjson_obj_get(root, "messages"), &session->transcript, err);
    if (status == LLM_OK) return LLM_OK;
    mem_free(*system_prompt);
    *system_prompt = NULL;
    return status;
}

llm_status mock_session_load(void *state, void *user, const char *path, char **system_prompt, llm_error *err)
{
    mock_session *session = user, fresh = {0};
    yyjson_doc *doc;
    (void)state;
    llm_status status = json_read_file(path, SESSION_LIMIT, &doc, err);
    if (status == LLM_LOAD_FAILED) status = error_set(err, LLM_UNSUPPORTED_FORMAT, "%s is not a saved session", path);
    if (status != LLM_OK) return status;
    status = read_session(yyjson_doc_get_root(doc), &fresh, system_prompt, err);
    json_free(doc);
    if (status != LLM_OK) return error_prefix(err, "%s", path);
    message_list_free(&session->transcript);
    *session = fresh;
    return LLM_OK;
}
