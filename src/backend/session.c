// Transcript and ledger.
#include "backend/session.h"
#include "base/mem.h"

llm_status session_create(loaded_model *model, session *s, llm_error *err)
{
    *s = (session){0};
    return engine_seq_create(model->weights, &s->seq, err);
}

void session_reset(session *s) { message_list_clear(&s->transcript); }

void session_free(session *s)
{
    message_list_free(&s->transcript);
    engine_seq_free(s->seq);
    token_list_free(&s->ledger);
    *s = (session){0};
}

llm_status session_messages(const session *s, const char *system_prompt, llm_message **messages, int *count, llm_error *err)
{
    const message_list *transcript = &s->transcript;
    llm_message *all = *messages = mem_alloc_zero((size_t)transcript->count + 1, sizeof *all);
    *count = 0;
    if (!all) return error_no_memory(err, "a conversation");
    if (system_prompt) all[(*count)++] = (llm_message){.role = "system", .content = system_prompt};
    for (int i = 0; i < transcript->count; i++) all[(*count)++] = transcript->items[i];
    return LLM_OK;
}

int session_reuse(session *s, const token_list *tokens)
{
    size_t shared = 0;
    while (shared < s->ledger.count && shared + 1 < tokens->count && s->ledger.ids[shared] == tokens->ids[shared]) shared++;
    // A windowed layer may have dropped what lies before the cut: then everything is read again.
    if (engine_seq_trim(s->seq, (int)shared, NULL) != LLM_OK) {
        shared = 0;
        engine_seq_trim(s->seq, 0, NULL);
    }
    s->ledger.count = shared;
    return (int)shared;
}
