// A chat: the transcript, one sequence of the engine, and the ledger: exactly the tokens that the sequence holds.
#ifndef BACKEND_SESSION_H
#define BACKEND_SESSION_H
#include "backend/loaded_model.h"
#include "backend/messages.h"

typedef struct session {
    engine_seq *seq;
    token_list ledger;
    message_list transcript; // without the system prompt
} session;

llm_status session_create(loaded_model *model, session *s, llm_error *err);
void session_free(session *s); // a zeroed struct is fine
void session_reset(session *s); // forgets the transcript; the sequence keeps what it may reuse

// The transcript with the system prompt (NULL: none) before it. *messages is owned (mem_free); its strings are borrowed.
llm_status session_messages(const session *s, const char *system_prompt, llm_message **messages, int *count, llm_error *err);

// Trims the sequence to the longest prefix that it shares with `tokens`, one token short of all of them, so
// that there is something to forward. Returns how many tokens are kept.
int session_reuse(session *s, const token_list *tokens);

#endif
