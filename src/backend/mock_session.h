// Sessions of the mock backend: a transcript and a count of words, kept as one JSON object.
#ifndef BACKEND_MOCK_SESSION_H
#define BACKEND_MOCK_SESSION_H
#include "backend/messages.h"

typedef struct mock_session {
    message_list transcript;
    int words; // of the transcript, and of the prompts that it was told
} mock_session;

// Empties `turn`. The words of prompt and answer are counted by the caller.
llm_status mock_session_add_turn(mock_session *session, message_list *turn, int words, llm_error *err);

// Slots of the table; they know nothing of `state`.
llm_status mock_session_create(void *state, void **session, llm_error *err);
void mock_session_free(void *state, void *session);
llm_status mock_session_save(void *state, void *session, const char *system_prompt, const char *path, llm_error *err);
llm_status mock_session_load(void *state, void *session, const char *path, char **system_prompt, llm_error *err);
char *mock_session_messages(void *state, void *session, llm_error *err);

#endif
